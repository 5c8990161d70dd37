"""A partition's log as drawn data, the owners that work on it one after the other, and the store that outlives them.

What ingest does with a record stands here a second time, as short as it can be: clock, steps, letters, without a codec.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from stream.clock import ClockRules, event_time
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.partition import Partition, Standing, Step
from stream.ports import Assigned, Tick
from stream.sampling import Sampler
from stream.state_codec import decode_camera, decode_partition, encode_camera, encode_partition
from stream.state_records import CameraRecord, Cursor, PartitionRecord, Place, mark_of
from stream.types import Answer, DeadLetter, Event, Observation, Position, Record

TOPIC, NUMBER = "frames", 3
T0_S = 1_767_225_600.0
CLOCK = ClockRules(sample_fps=2.0, max_gap_s=2.0, max_jump_s=60.0)
FLIPPING = DebounceRule("flipping", 0.65, 0.35, start_after_s=0.0, stop_after_s=0.0, cooldown_s=0.0)
BARKING = DebounceRule("barking", 0.65, 0.35, start_after_s=1.0, stop_after_s=0.5, cooldown_s=2.0)
RULES = DebounceRules.of([FLIPPING, BARKING], max_gap_s=2.0, lost_after_s=10.0)


@dataclass(frozen=True, slots=True)
class Item:
    """One record of the log."""

    offset: int
    camera: str
    pictures: tuple[tuple[float, bool], ...]
    """Capture time after T0 and the answer of each picture, in order; none: it cannot be used."""
    stream: str | None = None

    @property
    def value(self) -> bytes:
        """Bytes that differ from record to record."""
        return repr(self).encode()

    def record(self, incarnation: int) -> Record:
        """As it was read."""
        return Record(TOPIC, NUMBER, self.offset, self.offset, self.camera.encode(), self.value, (), incarnation, T0_S)

    def observations(self, sampler: Sampler, incarnation: int) -> list[Observation]:
        """The pictures that a camera's clock wants, with their answers."""
        wanted = []
        for index, (after_s, yes) in enumerate(self.pictures):
            captured_at_s = event_time(T0_S + after_s)
            if sampler.admit(captured_at_s):
                answer = Answer(0.9 if yes else 0.1, 1.0)
                position = Position(TOPIC, NUMBER, self.offset, index, incarnation)
                clock = sampler.accepted[-1]
                answers = {"flipping": answer, "barking": answer}
                wanted.append(Observation(position, self.camera, captured_at_s, answers, clock, None, T0_S + self.offset))
        return wanted


@dataclass(slots=True)
class Store:
    """What is committed: the state as bytes, and all that was told."""

    partition: bytes = encode_partition(PartitionRecord(0, 0, "me"))
    """As the first owner marks it when it takes the partition up."""
    cameras: dict[str, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    letters: list[int] = field(default_factory=list)
    applied: list[tuple[str, int, int]] = field(default_factory=list)
    """Camera, offset and index of every answer that these events and states follow from."""
    owners: int = 0

    def assigned(self) -> Assigned:
        """Restore: the next owner's assignment."""
        self.owners += 1
        record = decode_partition(self.partition)
        return Assigned(
            TOPIC,
            NUMBER,
            self.owners,
            resume_offset=record.resume_offset,
            cameras={camera: decode_camera(data) for camera, data in self.cameras.items()},
            dead_lettered=frozenset(record.dead_lettered),
            last_record=record.last_record,
        )

    def commit(self, tick: Tick, applied: Sequence[tuple[str, int, int]]) -> None:
        """Take a tick with everything that led to it."""
        assert tick.resume_offset is not None
        self.partition = encode_partition(PartitionRecord(tick.resume_offset, 0, "me", tick.last_record, tick.dead_lettered))
        self.cameras |= {camera: encode_camera(each) for camera, each in tick.cameras.items()}
        for camera in tick.forgotten:
            del self.cameras[camera]
        self.events += tick.events
        self.letters += [letter.record.offset for letter in tick.dead_letters]
        self.applied += applied

    def camera_records(self) -> dict[str, CameraRecord]:
        """Every camera's record."""
        return {camera: decode_camera(data) for camera, data in self.cameras.items()}


@dataclass
class Owner:
    """A worker that took the partition up: ingest reads ahead, answers come behind, ticks are committed."""

    log: Sequence[Item]
    store: Store
    rules: DebounceRules = RULES

    def __post_init__(self) -> None:
        """Restore."""
        self.assigned = self.store.assigned()
        self.partition = Partition(self.assigned, dict.fromkeys(self.assigned.cameras, self.rules))
        resume_offset = self.assigned.resume_offset or 0
        self.unread = deque(item for item in self.log if item.offset >= resume_offset)
        self.asked: dict[str, deque[Observation]] = {}
        self.applied: list[tuple[str, int, int]] = []
        self.repeated = 0

    def read(self) -> None:
        """Take the next record, if there is one."""
        if not self.unread:
            return
        item, partition = self.unread.popleft(), self.partition
        record = item.record(self.assigned.incarnation)
        partition.ledger.open(mark_of(record.offset, record.timestamp_ms, record.key, record.value))
        if partition.standing(item.camera, item.offset) is Standing.DONE:
            self.repeated += 1
            partition.ledger.settle(item.offset)
        elif not item.pictures:
            partition.reject(DeadLetter(record, "decode", "corrupt", "damaged"))
        else:
            self._ask(item)

    def _ask(self, item: Item) -> None:
        sampler = Sampler(self.partition.clocks.get(item.camera), item.stream, CLOCK)
        known = self.assigned.cameras.get(item.camera)
        if known is not None and known.cursor.offset == item.offset and known.cursor.index:
            sampler.done_to_s = known.state.clock.last_s
        wanted = item.observations(sampler, self.assigned.incarnation)
        assert sampler.state is not None
        self.partition.clocks[item.camera] = sampler.state
        steps = [Step(Place(Cursor(item.offset, each.position.index + 1), each.clock), each.position) for each in wanted]
        last = Step(Place(Cursor(item.offset + 1), sampler.state), settles=(item.offset,))
        self.partition.enqueue(item.camera, [*steps, last])
        self.asked.setdefault(item.camera, deque()).extend(wanted)

    def answer(self, count: int, chance: random.Random) -> None:
        """Have the next pictures answered: of each camera in order, the cameras in any order."""
        for _ in range(count):
            lines = [line for line in self.asked.values() if line]
            if not lines:
                return
            observation = chance.choice(lines).popleft()
            self.partition.observe(observation, self.rules)
            self.applied.append((observation.camera_id, observation.position.offset, observation.position.index))

    def tick(self) -> Tick:
        """Commit what is done, or the next part of it."""
        tick = self.partition.take_tick()
        done = [each for each in self.applied if self._is_done(tick, *each)]
        self.store.commit(tick, done)
        self.applied = [each for each in self.applied if each not in done]
        return tick

    @staticmethod
    def _is_done(tick: Tick, camera: str, offset: int, index: int) -> bool:
        """Whether a tick says that an answer was applied."""
        return camera in tick.cameras and Cursor(offset, index) < tick.cameras[camera].cursor

    def finish(self) -> None:
        """Work off the whole log, one picture after the other, and stop in order."""
        self.answer(2**20, random.Random(0))
        while self.unread:
            self.read()
            self.answer(2**20, random.Random(0))
        while self.partition.due:
            self.tick()


def uninterrupted(log: Sequence[Item]) -> Store:
    """What one owner makes of the log that answers every picture as soon as it was read."""
    store = Store()
    Owner(log, store).finish()
    return store
