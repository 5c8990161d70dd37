"""SIGHUP in a worker of a chaos run: a reload that fails is found, and the next one is heeded."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tools.chaos import worker_process
from tools.chaos.ending import findings
from tools.chaos.run import Plan, told
from tools.chaos.scenarios.deploy import TWO
from tools.chaos.status import Files
from tools.chaos.truth import Script
from tools.chaos.worker_process import Told

pytestmark = pytest.mark.asyncio

SCRIPT = Script(seed=7, base_s=1_700_000_000)


class Turning:
    """A delivery whose first turn fails."""

    def __init__(self) -> None:
        """Begin."""
        self.turned: list[int] = []
        self.is_called = asyncio.Event()

    async def turn(self, worker: object, reload: Any) -> None:
        """Take other questions."""
        del worker
        self.turned.append(reload.questions.number)
        self.is_called.set()
        if len(self.turned) == 1:
            msg = "thresholds do not fit"
            raise ValueError(msg)


async def test_reload_that_fails_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The judgement reads it from the worker's log, and the worker heeds the next SIGHUP."""
    names = cast("Any", SimpleNamespace(frames="frames", alerts="alerts", group="chaos"))
    brokers = cast("Any", SimpleNamespace(bootstrap_servers="nowhere:1"))
    worker = Told(name="w1", folder=str(tmp_path), **told(Plan(7, faults=0), SCRIPT, names, brokers))
    TWO.write(Files(tmp_path, "w1"))
    hung_up, delivery = asyncio.Event(), Turning()
    heeding = asyncio.create_task(worker_process._heed(hung_up, cast("Any", None), cast("Any", delivery), worker))
    for _ in range(2):
        hung_up.set()
        await asyncio.wait_for(delivery.is_called.wait(), 10.0)
        delivery.is_called.clear()
    heeding.cancel()
    assert delivery.turned == [2, 2]
    (tmp_path / "w1.log").write_text(capsys.readouterr().out, encoding="utf-8")
    assert findings(tmp_path) == ["w1: at SIGHUP: ValueError('thresholds do not fit')"]
