"""What a worker makes of SIGHUP where the reload fails in a way that nobody foresaw."""

import asyncio
import signal
from pathlib import Path
from typing import cast

import pytest

from stream.state_records import QuestionRevision
from tools.assembly import Attached
from tools.worker import _Hangups


class Reloading:
    """Fails once, then reloads."""

    def __init__(self) -> None:
        self.asked = 0
        self.reloaded = asyncio.Event()

    async def reload(self, questions: Path) -> QuestionRevision:  # noqa: ARG002
        """See `Attached`."""
        self.asked += 1
        if self.asked == 1:
            message = "the disk is on fire"
            raise OSError(message)
        self.reloaded.set()
        return QuestionRevision(2, "abc")


@pytest.mark.asyncio
async def test_a_reload_that_fails_in_any_way_is_told_and_the_next_sighup_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """The first SIGHUP came before the worker was at work."""
    here, before = Reloading(), signal.getsignal(signal.SIGHUP)
    heeding = asyncio.create_task(_Hangups(Path("pets.toml"), early=[signal.SIGHUP]).heed(cast("Attached", here)))
    try:
        async with asyncio.timeout(5.0):
            while "the disk is on fire" not in caplog.text:
                assert not heeding.done()
                await asyncio.sleep(0.01)
            signal.raise_signal(signal.SIGHUP)
            await here.reloaded.wait()
        assert not heeding.done()
    finally:
        heeding.cancel()
        await asyncio.gather(heeding, return_exceptions=True)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
