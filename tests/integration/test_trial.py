"""The quarantine's trial with real children: real videos, real signals, and a record whose decoder really takes too long."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.decode import AccessUnitDecoder, DecodeLimits, DecodeRequest
from stream.decode.trial import MAX_TRIES, Trial
from stream.errors import StreamError, UnusableRecord
from stream.types import FramePacket
from tests.integration.moving_pictures import T0_S, Video, encoded, packet

pytestmark = pytest.mark.asyncio

REQUEST = DecodeRequest(size=32, interval_s=0.01, limits=DecodeLimits())
PATIENCE_S = 30.0
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def trial(time_limit_s: float = 20.0) -> AsyncIterator[Trial]:
    """A trial that is closed in the end."""
    one = Trial(time_limit_s)
    try:
        yield one
    finally:
        await one.close()


@pytest.fixture(scope="module")
def segment() -> FramePacket:
    """A healthy record, with which a decoder is busy long enough to be hit by a signal."""
    return packet(encoded(Video(frames=250, width=320, height=240)), "video/mp4")


async def attempt_under(tried: Trial, what: FramePacket, *signals: signal.Signals) -> int:
    """Attempt a record; each child that is asked gets the next signal at once, a stopped one goes on when it is ended.

    Returns:
        How many children were asked.
    """
    attempt = asyncio.ensure_future(tried.attempt(what, REQUEST))
    asked: list[int] = []
    while not attempt.done():
        await asyncio.sleep(0.001)
        if tried.pid is not None and tried.pid not in asked:
            asked.append(tried.pid)
            if len(asked) <= len(signals):
                os.kill(tried.pid, signals[len(asked) - 1])
    await attempt
    return len(asked)


async def until(done: Callable[[], object]) -> None:
    """Wait for something that comes by itself."""
    until_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


def about(pid: int, what: str) -> str:
    """What the kernel says of a process."""
    return Path(f"/proc/{pid}/{what}").read_text()


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        status = about(pid, "stat")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


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


# ---------------------------------------------------------------- access units


@dataclass(frozen=True, slots=True)
class Units:
    """Consecutive access units: two that cost little and one that takes long."""

    key: FramePacket
    light: FramePacket
    slow: FramePacket
    limit_s: float
    """Three quarters of what the slow one takes of a processor at the least, and many times what the others take."""


@pytest.fixture(scope="module")
def units() -> Units:
    """Encode them, and measure."""
    height, width = 2160, 3840
    flat = np.full((height, width, 3), 128, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    packets = tuple(
        replace(
            packet(unit, "video/h264", T0_S + number / 30),
            position=replace(packet(b"", "video/h264").position, offset=number),
            stream="one",
            seq=number,
        )
        for number, unit in enumerate(_encoded([flat, flat, noise]))
    )
    decoder = AccessUnitDecoder("video/h264", REQUEST.size, REQUEST.limits)
    taken_s = []
    for each in packets:
        before_s = time.process_time()
        decoder.feed(each, lambda _offset, _captured_at_s: True)
        taken_s.append(time.process_time() - before_s)
    assert taken_s[2] > 8 * max(taken_s[0], taken_s[1]), taken_s
    return Units(*packets, 0.75 * taken_s[2])


def _encoded(pictures: list[NDArray[np.uint8]]) -> list[bytes]:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width, codec.pix_fmt = *pictures[0].shape[:2], "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 30), Fraction(30)
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "qp": "1",
        "x264-params": "annexb=1:repeat-headers=1:cabac=1:scenecut=0:keyint=250",
    }
    units = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        units += [bytes(unit) for unit in codec.encode(frame)]
    return units + [bytes(unit) for unit in codec.encode(None)]


async def test_access_unit_is_decoded_with_what_came_before(units: Units) -> None:
    """In the middle of a group of pictures a new child is fed from the keyframe on: so the slow one is slow twice."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(units.light, REQUEST)
        with pytest.raises(UnusableRecord, match="video/h264 does not come back"):
            await tried.attempt(units.slow, REQUEST)


async def test_access_unit_without_a_beginning_is_passed(units: Units) -> None:
    """Before a camera's first keyframe, and after a record that was dead-lettered, there is nothing to decode with."""
    slow = replace(units.slow, seq=1)
    async with trial(units.limit_s) as tried:
        await tried.attempt(slow, REQUEST)
        await tried.attempt(units.key, REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(slow, REQUEST)
        assert await attempt_under(tried, slow) == 1


@pytest.mark.parametrize(
    "follows",
    [
        pytest.param({"seq": 0}, id="repeated"),
        pytest.param({"seq": 2}, id="after a gap"),
        pytest.param({"seq": 1, "stream": "two"}, id="of another stream"),
        pytest.param({"seq": 1, "content_type": "video/h265"}, id="of another type"),
        pytest.param({"seq": 1, "camera_id": "hall"}, id="of another camera"),
    ],
)
async def test_decoder_is_fed_only_what_continues_its_stream(units: Units, follows: dict[str, Any]) -> None:
    """What the worker would not feed to this decoder is not held against it, also by a child that has to begin again."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        assert await attempt_under(tried, replace(units.slow, **follows), signal.SIGKILL) == 2


async def test_still_ends_what_the_decoder_held(units: Units) -> None:
    """A camera that sends a still begins its access units anew."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(packet(encoded(), "video/mp4"), REQUEST)
        assert await attempt_under(tried, replace(units.slow, seq=1)) == 1


async def test_decoder_outlives_its_neighbours(units: Units) -> None:
    """The slow picture of one camera is tried with that camera's keyframe, whatever others send in between."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(replace(units.key, camera_id="hall"), REQUEST)
        await tried.attempt(replace(packet(encoded(), "video/mp4"), camera_id="yard"), REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(replace(units.slow, seq=1), REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(replace(units.slow, camera_id="hall", seq=1), REQUEST)
