"""What a worker holds while its device stands still, and when cameras need more decoders than it may keep; in virtual time."""

import asyncio
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.answers import Answers
from stream.access_units import DecoderLimits
from stream.intake import MAX_SIDE_BY_SIDE
from stream.ports import Assigned, Poll
from stream.types import Observation, Record
from stream.worker import Ports, Worker
from tests.integration.gray_video import segment, units
from tests.integration.handover_world import Kept
from tests.integration.worker_world import (
    ASSIGNED,
    BLACK,
    CONFIG,
    T0_S,
    BrightnessDevice,
    RememberingSink,
    ScriptedSource,
    Trial,
    here,
    record,
    world,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

T = TypeVar("T")

STALL_S = 300.0
PICTURES = 20
"""Of a segment: ten seconds."""
DECODER_BYTES = 17 * 32 * 32 * 3 // 2
"""Of a camera of `gray_video`."""
UNITS = units(tuple(range(0, 240, 20)), gop=8)
"""Twelve, and the second keyframe is the ninth."""
BEFORE, AFTER = UNITS[:5], UNITS[5:]
ALL = sorted(unit.shown for unit in UNITS)
WITH_A_GAP = sorted(unit.shown for unit in UNITS[:5]) + sorted(unit.shown for unit in UNITS[8:])
"""Pictures that are asked of a camera whose decoder is closed behind its fifth unit."""


@dataclass
class StallingDevice(BrightnessDevice):
    """Takes minutes for its first batch."""

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer late once, then at once."""
        await asyncio.sleep(0.0 if self.batches else STALL_S)
        return await super().__call__(pixels, n)


async def test_stalled_device_holds_the_pictures_of_one_portion() -> None:
    """A poll of 64 segments, 1280 pictures, and another behind it: those of eight are held, the rest waits as bytes."""
    video = segment(tuple(range(PICTURES)), Fraction(2))
    segments = [record(n, 10.0 * (n // 4), video, camera=f"camera {n % 4}") for n in range(72)]
    stage = world(Poll(records=tuple(segments[:64])), Poll(records=tuple(segments[64:])))
    stage.config = replace(CONFIG, intake=replace(CONFIG.intake, image_size=128))
    stage.device = StallingDevice()
    worker = stage.worker()
    tracemalloc.start()
    try:
        running = asyncio.ensure_future(worker.run())
        await asyncio.sleep(STALL_S - 1)
        assert (stage.source.polled, worker.counts.answered) == (2, 0)
        await running
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    picture_bytes = 128 * 128 * 3
    assert peak_bytes < 1.5 * MAX_SIDE_BY_SIDE * PICTURES * picture_bytes
    assert worker.counts.answered == 72 * PICTURES
    assert stage.sink.ticks[-1].resume_offset == 72


async def test_dead_letter_leaves_while_the_pictures_before_it_wait() -> None:
    """What cannot even be read is told before the portions that lie in front of it, and no tick passes a record that waits."""
    video = segment((10, 20), Fraction(2))
    records = [*(record(n, float(n), video) for n in range(20)), record(20, 20.0, b"nothing that anybody knows")]
    stage = world(Poll(records=tuple(records)))
    stage.device = StallingDevice()
    running = asyncio.ensure_future(stage.worker().run())
    await asyncio.sleep(STALL_S - 1)
    told = [letter.record.offset for tick in stage.sink.ticks for letter in tick.dead_letters]
    assert (told, {tick.resume_offset for tick in stage.sink.ticks if tick.dead_letters}) == ([20], {0})
    await running
    assert stage.sink.ticks[-1].resume_offset == 21


@dataclass
class Watched:
    """A worker whose cameras send access units, and what is seen of it."""

    polls: Sequence[Sequence[Record]]
    limits: DecoderLimits
    assigned: Assigned = ASSIGNED
    sink: RememberingSink = field(default_factory=RememberingSink)
    asked: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By camera, the numbers of its pictures."""
    most_decoders: int = 0
    worker: Worker = field(init=False)

    async def run(self) -> "Watched":
        """Read everything, deliver it, and be killed: nothing is lost, no decoder is emptied."""
        polls = [Poll(assigned=(self.assigned,)), *(Poll(records=tuple(records)) for records in self.polls)]
        ports = Ports(
            ScriptedSource(polls, bounded=False), self.sink, BrightnessDevice(), self._decode, Trial(), on_observation=self._hear
        )
        self.worker = Worker(ports, replace(CONFIG, intake=replace(CONFIG.intake, decoders=self.limits)))
        running = asyncio.ensure_future(self.worker.run())
        await asyncio.sleep(20.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self

    async def _decode(self, work: Callable[[], T]) -> T:
        self.most_decoders = max(self.most_decoders, len(self.worker._intake._units._decoders))
        return await here(work)

    def _hear(self, observation: Observation) -> None:
        self.asked[observation.camera_id].append(round((observation.captured_at_s - T0_S) * 2))


def log(*runs: tuple[str, bool]) -> list[list[Record]]:
    """Polls, each of a camera's first five units, or (True) of all that come after them."""
    polls: list[list[Record]] = []
    for camera, later in runs:
        first = sum(map(len, polls))
        chosen = AFTER if later else BEFORE
        polls.append([_unit(first + n, camera, 5 * later + n) for n in range(len(chosen))])
    return polls


def _unit(offset: int, camera: str, number: int) -> Record:
    unit = UNITS[number]
    plain = record(offset, unit.shown / 2, unit.payload, camera=camera)
    more = (("content-type", b"video/h264"), ("stream", camera.encode()), ("seq", b"%d" % number))
    return replace(plain, headers=(*plain.headers, *more))


IN_TURN = log(*((camera, later) for later in (False, True) for camera in "abc"))


async def test_least_recently_used_decoder_is_closed_for_another() -> None:
    """Three cameras in turn, two decoders: what lay in the closed one is asked, and its camera goes on at its next keyframe."""
    seen = await Watched(IN_TURN, DecoderLimits(max_decoders=2)).run()
    counts = seen.worker.counts
    assert (seen.most_decoders, counts.decoders_closed, counts.no_keyframe) == (2, 4, 9)
    # the last two pictures lie in the decoders that are open
    assert seen.asked["a"] == WITH_A_GAP
    assert all(seen.asked[camera] == WITH_A_GAP[: len(seen.asked[camera])] for camera in "bc")
    assert counts.decoded == counts.answered + counts.no_keyframe


@pytest.mark.parametrize("killed_after", range(1, 6))
async def test_successor_of_a_worker_that_closed_a_decoder_asks_the_rest(killed_after: int) -> None:
    """Whatever was closed before the kill, the two ask what one worker asks: no picture twice, no other one left out."""
    limits = DecoderLimits(max_decoders=2)
    whole = await Watched(IN_TURN, limits).run()
    first = await Watched(IN_TURN[:killed_after], limits).run()
    kept = Kept([each for records in IN_TURN for each in records])
    for tick in first.sink.ticks:
        kept.commit(tick)
    assigned, read_from = kept.restored(0, 2)
    rest = [[replace(each, incarnation=2) for each in records if each.offset >= read_from] for records in IN_TURN]
    second = await Watched([records for records in rest if records], limits, assigned).run()
    for camera in "abc":
        assert first.asked[camera] + second.asked[camera] == whole.asked[camera], camera


async def test_a_decoder_that_holds_up_its_partition_is_closed() -> None:
    """A camera dies in mid-group, its last picture in its decoder; others go on, and no proof tells of it."""
    others = [record(len(BEFORE) + number, number / 2, BLACK, camera="den") for number in range(22)]
    polls = [log(("a", False))[0], *([each] for each in others)]
    seen = await Watched(polls, DecoderLimits(max_behind=20)).run()
    assert seen.sink.ticks[-1].resume_offset == len(BEFORE) + len(others)
    assert seen.asked["a"] == sorted(unit.shown for unit in BEFORE)
    assert seen.worker.counts.decoders_closed == 1


async def test_decoders_are_closed_for_their_bytes() -> None:
    """Room for the pictures of two: the third one's size is known when the next poll comes, which closes the oldest."""
    seen = await Watched(IN_TURN, DecoderLimits(max_bytes=2 * DECODER_BYTES)).run()
    counts = seen.worker.counts
    assert (seen.most_decoders, counts.decoders_closed, counts.no_keyframe) == (3, 2, 3)
    assert seen.asked["a"] == ALL
    assert seen.asked["b"] == WITH_A_GAP[: len(seen.asked["b"])]
    assert seen.asked["c"] == ALL[: len(seen.asked["c"])]


@pytest.mark.parametrize(
    ("limits", "most", "closed"),
    [
        pytest.param(DecoderLimits(max_decoders=2), 2, 24, id="decoders"),
        pytest.param(DecoderLimits(max_bytes=2 * DECODER_BYTES), 2 + MAX_SIDE_BY_SIDE, 18, id="bytes"),
    ],
)
async def test_one_poll_of_many_cameras_keeps_the_bound(limits: DecoderLimits, most: int, closed: int) -> None:
    """Twenty cameras in one poll, then the last six: a portion's decoders fit, but for those whose size was not known before."""
    twenty = [_unit(n, f"camera {n:02}", 0) for n in range(20)]
    six = [_unit(20 + n, f"camera {n:02}", 1) for n in range(14, 20)]
    seen = await Watched([twenty, six], limits).run()
    assert (seen.most_decoders, seen.worker.counts.decoders_closed) == (most, closed)
