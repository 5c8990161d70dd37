"""The worker over the oracle's cameras, in memory: what it delivers is what the second implementation expects.

Real encoders, decoders, worker and state; only the broker is missing. A worker that is cut off leaves behind what it had
delivered, as after a kill, and the next one takes up from that.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.intake import IntakeConfig
from stream.ports import Assigned, Poll, Tick
from stream.state_records import CameraRecord
from stream.types import Record
from stream.worker import Ports, Worker, WorkerConfig
from tests.chaos.oracle_world import PARTITIONS, T0_S, alert, sent_number, stream_rules, taken
from tests.integration.worker_world import Trial
from tools.chaos.cameras import CameraStream, FrameRecord
from tools.chaos.check import Published, compare, state_differences
from tools.chaos.engine import OracleEngine, asked
from tools.chaos.expected import Replay
from tools.chaos.pictures import SIZE
from tools.chaos.records import sent
from tools.chaos.stored import neutral
from tools.chaos.truth import RULES, SAMPLE_FPS, UNITS, Camera, Form, Script

T = TypeVar("T")

SEVEN = Script(seed=11, base_s=T0_S, cameras=7)
CAMERAS = {camera.name: camera for camera in SEVEN.plan()}
LIVES = (150, 90, 130)
"""Pictures of each run of the publisher; between them some of the last records are not there."""
FIRST = 500
"""Number of the first picture: what the cameras' habits do lies behind it."""


def topic(seed: int) -> dict[int, list[Record]]:
    """All records by partition, as the publisher's runs leave them."""
    draw = random.Random(seed)
    partitions: dict[int, list[FrameRecord]] = {camera.partition: [] for camera in CAMERAS.values()}
    numbers = dict.fromkeys(CAMERAS.values(), FIRST)
    for life, pictures in enumerate(LIVES):
        is_last = life == len(LIVES) - 1
        run(partitions, numbers, pictures, f"run-{life}", is_last=is_last)
        if not is_last:
            for records in partitions.values():
                del records[len(records) - draw.randint(0, 6) :]
            for camera in numbers:
                own = [each for each in partitions[camera.partition] if each.key.decode() == camera.name]
                numbers[camera] = max(sent_number(each) + each.frames for each in own) - draw.randint(0, 5)
    return {number: [taken(each, offset) for offset, each in enumerate(each_of)] for number, each_of in partitions.items()}


def run(partitions: dict[int, list[FrameRecord]], numbers: dict[Camera, int], pictures: int, name: str, *, is_last: bool) -> None:
    """One run of the publisher; the last one ends in order."""
    streams = {camera: CameraStream(camera, f"{name}-{camera.number}") for camera in numbers}
    for _ in range(pictures):
        for camera, stream in streams.items():
            partitions[camera.partition] += stream.feed(numbers[camera])
            numbers[camera] += 1
    for camera, stream in streams.items():
        if is_last:
            partitions[camera.partition] += stream.finish()
        if is_last and camera.form in UNITS:
            still = CameraStream(replace(camera, form=Form.PNG), f"{name}-{camera.number}-end")
            partitions[camera.partition] += still.feed(numbers[camera])


@dataclass
class Delivered:
    """What the topics hold of all workers together."""

    published: list[Published] = field(default_factory=list)
    cameras: dict[int, dict[str, CameraRecord]] = field(default_factory=dict)
    last: dict[int, Tick] = field(default_factory=dict)

    def take(self, tick: Tick) -> None:
        """A tick, all of it or nothing."""
        for event in tick.events:
            told = replace(alert(event), questions=SEVEN.rules().questions)  # which the delivery adds
            self.published.append(Published(told, tick.partition, len(self.published)))
        self.cameras.setdefault(tick.partition, {}).update(tick.cameras)
        self.last[tick.partition] = tick

    def assigned(self, partition: int, incarnation: int) -> Assigned:
        """What the next owner of a partition restores."""
        last = self.last.get(partition)
        if last is None:
            return Assigned("frames", partition, incarnation)
        return Assigned(
            "frames",
            partition,
            incarnation,
            last.resume_offset,
            self.cameras[partition],
            frozenset(last.dead_lettered),
            last.last_record,
        )


class Owner:
    """One worker's source and sink."""

    def __init__(self, records: dict[int, list[Record]], delivered: Delivered, incarnation: int, draw: random.Random) -> None:
        """Take up where the others left."""
        self.cut = asyncio.Event()
        self._records = records
        self._delivered = delivered
        self._incarnation = incarnation
        self._draw = draw
        self._assigned = [delivered.assigned(number, incarnation) for number in records]
        self._next = {each.partition: begin(each) for each in self._assigned}
        self._polls = 0
        self._most = draw.randint(3, 30)

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Some records of each partition."""
        del timeout_s, held
        self._polls += 1
        if self._polls == 1:
            return Poll(assigned=tuple(self._assigned))
        if self._polls > self._most:
            self.cut.set()
        taken: list[Record] = []
        for number, records in self._records.items():
            until = self._next[number] + self._draw.randint(0, 12)
            taken += [replace(each, incarnation=self._incarnation) for each in records[self._next[number] : until]]
            self._next[number] = min(until, len(records))
        is_end = all(self._next[number] == len(records) for number, records in self._records.items())
        return Poll(records=tuple(taken), ended=is_end)

    async def deliver(self, tick: Tick) -> bool:
        """At once, unless the worker is being cut off: then nothing of it may count."""
        if self.cut.is_set():
            await asyncio.Event().wait()
        self._delivered.take(tick)
        return True


def begin(assigned: Assigned) -> int:
    """Where a partition is read from: decoders may need earlier records than are to be done."""
    needed = [each.decoder.keyframe_offset for each in assigned.cameras.values() if each.decoder is not None]
    return min([assigned.resume_offset or 0, *needed])


async def here(work: Callable[[], T]) -> T:
    """Decode on this thread."""
    return work()


CONFIG = WorkerConfig(
    behaviors=tuple(rule.behavior for rule in RULES),
    debounce=stream_rules(SEVEN.rules()),
    intake=IntakeConfig(
        ClockRules(SAMPLE_FPS, SEVEN.rules().max_gap_s, SEVEN.rules().max_jump_s),
        CameraRegistry.parse({}),
        SIZE,
        lost_after_s=SEVEN.lost_after_s,
    ),
    buckets=(1, 2, 4, 8),
    max_wait_s=0.001,
    tick_s=0.01,
)


async def worked(records: dict[int, list[Record]], engine: OracleEngine, cuts: int, seed: int) -> tuple[Delivered, Worker]:
    """Let workers follow each other, the last of which comes to the end of the topic, where every camera is lost."""
    delivered, draw = Delivered(), random.Random(seed)
    for life in range(cuts):
        owner = Owner(records, delivered, life + 1, draw)
        worker = Worker(Ports(owner, owner, engine.infer, here, Trial()), CONFIG)
        running = asyncio.create_task(worker.run())
        cut = asyncio.create_task(owner.cut.wait())
        await asyncio.wait([running, cut], return_when=asyncio.FIRST_COMPLETED)
        assert not running.done(), "the topic is too short for so many cuts"
        running.cancel()
        await asyncio.wait([running])
    owner = Owner(records, delivered, cuts + 1, draw)
    owner._most = 10**9
    worker = Worker(Ports(owner, owner, engine.infer, here, Trial()), CONFIG)
    await worker.run()
    return delivered, worker


def replayed(records: dict[int, list[Record]]) -> Replay:
    """What was to be delivered."""
    replay = Replay(SEVEN.rules())
    for each_of in records.values():
        for record in each_of:
            one = sent(record, CAMERAS)
            assert one is not None
            replay.take(one)
    replay.finish(CAMERAS)
    return replay


@pytest.mark.asyncio
@pytest.mark.parametrize("cuts", [0, 6])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_workers_deliver_what_the_second_implementation_expects(seed: int, cuts: int, tmp_path: Path) -> None:
    """However many of them are cut off on the way; the states at the end are the replayed ones, too."""
    records, engine = topic(seed), OracleEngine(0.0, tmp_path / "stall", tmp_path / "journal")
    delivered, worker = await worked(records, engine, cuts, seed)
    replay = replayed(records)
    verdict = compare(replay.alerts, delivered.published, PARTITIONS)
    assert verdict.details == ()
    assert verdict.expected == verdict.published > 2000
    states = [neutral(each.state) for each_of in delivered.cameras.values() for each in each_of.values()]
    assert state_differences(replay, states) == []
    assert {number: tick.resume_offset for number, tick in delivered.last.items()} == {n: len(r) for n, r in records.items()}
    if cuts == 0:
        assert asked([engine.journal]).again_percent == 0
        counts = worker.counts
        assert counts.decoded == replay.totals["pictures"] + replay.totals["no_keyframe"] + replay.totals["duplicate"]
        for what in ("late", "clock", "no_keyframe", "duplicate"):
            assert getattr(counts, what) == replay.totals[what], what


def test_the_cameras_of_these_tests_have_all_their_habits() -> None:
    """Else the tests above say less than they seem to."""
    replay = replayed(topic(1))
    whys = Counter((each.type, each.reason) for alerts in replay.alerts.values() for each in alerts)
    assert {camera.form for camera in CAMERAS.values()} == set(Form)
    assert min(replay.totals[what] for what in ("late", "clock", "no_keyframe", "duplicate")) > 0, replay.totals
    assert whys["pawsight.behavior.ended", "clock_reset"] > 0, whys
    assert whys["pawsight.behavior.ended", "max_duration"] > 0, whys
    assert whys["pawsight.camera.lost", None] > len(CAMERAS), whys
