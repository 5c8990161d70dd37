"""The quarantine's trial with real children: real videos, real signals, and a record whose decoder really takes too long."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from stream.decode.trial import MAX_TRIES
from stream.errors import StreamError, UnusableRecord
from stream.types import FramePacket
from tests.integration.moving_pictures import Video, encoded, packet
from tests.integration.trial_world import REQUEST, ROOT, about, attempt_under, is_alive, trial, until

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def segment() -> FramePacket:
    """A healthy record, with which a decoder is busy long enough to be hit by a signal."""
    return packet(encoded(Video(frames=250, width=320, height=240)), "video/mp4")


@pytest.fixture(autouse=True)
def _only_linux() -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("looks at processes through /proc")


async def test_healthy_records_share_one_child_that_has_no_torch(segment: FramePacket) -> None:
    """Stills and segments survive, in one process that holds neither torch nor a core file's worth of rights."""
    async with trial() as tried:
        assert tried.pid is None
        await tried.attempt(segment, REQUEST)
        child = tried.pid
        await tried.attempt(packet(b"\xff\xd8\xff broken", "image/jpeg"), REQUEST)
        assert tried.pid == child
        assert child is not None
        assert "torch" not in about(child, "maps")
        limits = " ".join(about(child, "limits").split())
        assert "Max core file size 0 0 bytes" in limits
        assert f"Max address space {4 * 1024**3} {4 * 1024**3} bytes" in limits
    assert not is_alive(child)


@pytest.mark.parametrize("payload", [b"", b"\x00\x00\x00\x20ftypisom", encoded()[:4000]], ids=["empty", "no video", "truncated"])
async def test_unusable_record_gets_no_verdict(payload: bytes) -> None:
    """What a decoder refuses is no matter of life and death."""
    async with trial() as tried:
        await tried.attempt(packet(payload, "video/mp4"), REQUEST)


@pytest.mark.parametrize("faults", [("SIGSEGV", "SIGABRT"), ("SIGBUS", "SIGILL"), ("SIGFPE", "SIGFPE")], ids=" ".join)
async def test_record_under_which_two_children_die_kills_its_decoder(faults: tuple[str, str], segment: FramePacket) -> None:
    """Every fault of a program counts, twice; the next record is not concerned."""
    async with trial() as tried:
        with pytest.raises(UnusableRecord, match="video/mp4 dies of it") as caught:
            await attempt_under(tried, segment, *(signal.Signals[fault] for fault in faults))
        assert (caught.value.stage, caught.value.reason) == ("decode", "kills_decoder")
        assert await attempt_under(tried, segment) == 1


async def test_single_fault_is_no_verdict(segment: FramePacket) -> None:
    """The second child survives the record, so it is innocent."""
    async with trial() as tried:
        assert await attempt_under(tried, segment, signal.SIGSEGV) == 2


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
async def test_death_from_outside_never_counts(name: str, segment: FramePacket) -> None:
    """Killed more often than any fault may happen, a record survives in the end, also with one fault in between."""
    async with trial() as tried:
        killer = signal.Signals[name]
        assert await attempt_under(tried, segment, killer, signal.SIGSEGV, killer, killer) == 5


async def test_interrupt_from_the_terminal_is_the_parents_business(segment: FramePacket) -> None:
    """Ctrl-C reaches the whole group; the child goes on."""
    async with trial() as tried:
        assert await attempt_under(tried, segment, signal.SIGINT) == 1


async def test_child_that_is_always_killed_is_said(segment: FramePacket) -> None:
    """Where no child can live nothing is known about the record: the worker ends with a sentence, not with a verdict."""
    async with trial() as tried:
        with pytest.raises(StreamError, match=rf"ended {MAX_TRIES} times.*SIGKILL") as caught:
            await attempt_under(tried, segment, *[signal.SIGKILL] * MAX_TRIES)
        assert not isinstance(caught.value, UnusableRecord)


async def test_decoder_that_stands_still_twice_hangs(segment: FramePacket) -> None:
    """A stopped child is given up at the limit; once is no verdict, twice is one."""
    async with trial(2.0) as tried:
        assert await attempt_under(tried, segment, signal.SIGSTOP) == 2
        with pytest.raises(UnusableRecord, match=r"video/mp4 does not come back within 2 s") as caught:
            await attempt_under(tried, segment, signal.SIGSTOP, signal.SIGSTOP)
        assert (caught.value.stage, caught.value.reason) == ("decode", "hangs_decoder")


async def test_cancelled_attempt_takes_its_answer_along(segment: FramePacket) -> None:
    """The answer to a record that nobody waits for any more is not taken for the next record's."""
    async with trial() as tried:
        await tried.attempt(segment, REQUEST)
        child = tried.pid
        assert child is not None
        os.kill(child, signal.SIGSTOP)
        attempt = asyncio.ensure_future(tried.attempt(segment, REQUEST))
        await asyncio.sleep(0.1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        os.kill(child, signal.SIGCONT)
        await tried.attempt(segment, REQUEST)
        assert not is_alive(child)


async def test_child_dies_with_its_parent() -> None:
    """Killed without a chance to clean up, a parent leaves no child behind."""
    program = (
        "import asyncio, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from stream.decode import DecodeLimits, DecodeRequest\n"
        "from stream.decode.trial import Trial\n"
        "from tests.integration.moving_pictures import packet\n"
        "async def main():\n"
        "    tried = Trial()\n"
        "    await tried.attempt(packet(b'', 'image/jpeg'), DecodeRequest(32, 0.01, DecodeLimits()))\n"
        "    print(tried.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    await parent.wait()
    await until(lambda: not is_alive(child))
