"""One assigned partition: what is in flight of it, where its cameras stand, and what it has to deliver.

Pure. Ingest moves the clocks ahead, emit applies the answers behind it; a reassignment makes a new object, so nothing of an
older assignment can touch it. Each camera has a line of steps in its order of presentation: where the camera stands moves only at
the head of it, so that what a tick says of a camera is exactly what was done.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from stream import debounce
from stream.clock import ClockState
from stream.debounce import CameraState, DebounceRules
from stream.ledger import Ledger
from stream.ports import Assigned, Proof, Tick
from stream.state_records import CameraRecord, DecoderPlace, Place, QuestionRevision, RecordMark
from stream.ticks import Progress, parts
from stream.types import DeadLetter, Event, Observation, Position

PartitionKey: TypeAlias = tuple[str, int]
"""Topic and partition."""


class Standing(Enum):
    """What a record is to a partition that was taken up again."""

    NEW = auto()
    FED = auto()
    """An access unit that the decoder needs; what comes out of it may be done already."""
    DONE = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """One picture in its camera's line, or what else moves the camera on."""

    place: Place
    """Where the camera stands when this is done."""
    asked: Position | None = None
    """The picture whose answer it waits for; None: done as soon as all before it are."""
    settles: tuple[int, ...] = ()
    """Offsets whose records are done with it."""


class Partition:
    """The worker's books of one partition under one assignment."""

    def __init__(self, assigned: Assigned, rules: Mapping[str, DebounceRules], questions: QuestionRevision | None = None) -> None:
        """Take up the partition where it was last delivered.

        Args:
            assigned: the partition, its incarnation and its cameras.
            rules: debounce rules by camera id, for the cameras of `assigned`.
            questions: what the answers are asked with; see `Tick`.
        """
        self.topic = assigned.topic
        self.number = assigned.partition
        self.incarnation = assigned.incarnation
        self.restored = assigned
        self.ledger = Ledger()
        self.clocks: dict[str, ClockState | None] = {camera: each.state.clock for camera, each in assigned.cameras.items()}
        self.arrivals_s: dict[str, float] = {}
        self._to_feed = {camera: each.decoder for camera, each in assigned.cameras.items() if each.decoder is not None}
        self._lines: dict[str, deque[Step]] = {}
        self._cameras = dict(assigned.cameras)
        self._events: list[Event] = []
        self._dead_letters: list[DeadLetter] = []
        self._dead_lettered = set(assigned.dead_lettered)
        self._dirty: set[str] = set()
        self._forgotten: set[str] = set()
        self._told = Progress(assigned.resume_offset, assigned.last_record, tuple(sorted(assigned.dead_lettered)))
        """As far as the last tick says."""
        self._questions = questions
        self._before: deque[Tick] = deque()
        """What was cut and not taken: parts of one tick, and what is left of earlier questions."""
        self._retain(rules)

    def ask(self, rules: Mapping[str, DebounceRules], questions: QuestionRevision) -> None:
        """Take other questions: behaviours that are gone end here. What came before leaves as a tick of its own.

        Args:
            rules: debounce rules by camera id, for every camera with a state.
            questions: what the answers are asked with from here on.
        """
        if self._changed:
            self._cut()
        self._questions = questions
        self._retain(rules)

    def standing(self, camera: str | None, offset: int, *, is_unit: bool = False) -> Standing:
        """Tell what a record is.

        Args:
            camera: whose it is; None: it names none.
            offset: of the record.
            is_unit: it is an access unit.
        """
        restored = self.restored
        known = None if camera is None else restored.cameras.get(camera)
        if is_unit and known is not None and known.decoder is not None and offset >= known.decoder.keyframe_offset:
            return Standing.FED
        done_below = restored.resume_offset or 0
        if known is not None:
            done_below = max(done_below, known.cursor.offset)
        return Standing.DONE if offset < done_below or offset in restored.dead_lettered else Standing.NEW

    def take_decoder_place(self, camera: str) -> DecoderPlace | None:
        """Give where the last owner's decoder stood, to the camera's first one; a later one has nothing to do with it."""
        return self._to_feed.pop(camera, None)

    def has_room_for(self, camera: str, limit: int) -> bool:
        """Whether a camera may be taken: known here, or one of at most `limit`."""
        return camera in self.clocks or len(self.clocks) < limit

    def enqueue(self, camera: str, steps: Iterable[Step]) -> None:
        """Put steps at the end of a camera's line; their records are open in the ledger."""
        self._lines.setdefault(camera, deque()).extend(steps)
        self._advance(camera)

    def observe(self, observation: Observation, rules: DebounceRules) -> None:
        """Apply one frame's answers: it is the first in its camera's line."""
        camera = observation.camera_id
        step = self._lines[camera].popleft()
        assert step.asked == observation.position, (step, observation.position)
        known = self._cameras.get(camera)
        state, events = debounce.observe(None if known is None else known.state, observation, rules)
        self._done(camera, state, step)
        self._events.extend(events)
        self._advance(camera)

    def reject(self, letter: DeadLetter) -> None:
        """Take a record that cannot be used; it leaves with the next tick."""
        self._dead_letters.append(letter)
        self._dead_lettered.add(letter.record.offset)
        self.ledger.settle(letter.record.offset)

    def lose_silent(self, proof: Proof, grace_s: float, rules: Mapping[str, DebounceRules]) -> None:
        """Lose the cameras that sent nothing for `lost_after_s` while the partition was proven live, and have nothing in flight.

        What others have in flight does not matter: on a busy partition that would keep a dead camera for ever.
        """
        for camera in sorted(self._quiet(proof, lambda camera: rules[camera].lost_after_s, is_lost=False)):
            silence = debounce.Silence(self.arrived_at_s(camera), proof.asked_at_s, proof.live_since_s, grace_s)
            if debounce.is_silent(self._cameras[camera].state, silence, rules[camera]):
                self.lose(camera, rules[camera])

    def lose(self, camera: str, rules: DebounceRules) -> None:
        """End what is open on a camera whose stream is over."""
        known = self._cameras[camera]
        state, events = debounce.lose(known.state, rules)
        if state is not known.state:
            self._stand(camera, replace(known, state=state, decoder=None))
        self._events.extend(events)

    def forget_silent(self, proof: Proof, forget_after_s: float) -> None:
        """Forget the cameras that were lost and sent nothing for so long, once a restart cannot meet a record of theirs again."""
        done_below = self.resume_offset or 0
        for camera in self._quiet(proof, lambda _: forget_after_s, is_lost=True):
            if self._cameras[camera].cursor.offset <= done_below:
                del self._cameras[camera]
                self.clocks.pop(camera, None)
                self.arrivals_s.pop(camera, None)
                self._lines.pop(camera, None)
                self._dirty.discard(camera)
                self._forgotten.add(camera)

    def drop_strangers(self, proof: Proof, silent_for_s: float) -> None:
        """Give free what keys take up of which no picture was ever observed, and that sent nothing for so long.

        Whoever publishes rubbish under ever new keys would keep new cameras out for good.
        """
        if len(self.clocks) > len(self._cameras):
            for camera in self.clocks.keys() - self._cameras.keys():
                silent_s = proof.asked_at_s - self.arrivals_s.get(camera, float("-inf"))
                if silent_s >= silent_for_s and not self._lines.get(camera):
                    del self.clocks[camera]
                    self.arrivals_s.pop(camera, None)
                    self._lines.pop(camera, None)

    def _quiet(self, proof: Proof, for_s: Callable[[str], float], *, is_lost: bool) -> list[str]:
        """Cameras that sent nothing for so long and have nothing in flight: a cheap look, at all of them once a second."""
        return [
            camera
            for camera, known in self._cameras.items()
            if known.state.lost is is_lost
            and not self._lines.get(camera)
            and proof.asked_at_s - self.arrived_at_s(camera) >= for_s(camera)
        ]

    def arrived_at_s(self, camera: str) -> float:
        """When anything of a camera with a state last arrived, by its source's clock."""
        stored_s = self._cameras[camera].state.arrived_at_s
        return max(stored_s, self.arrivals_s.get(camera, stored_s))

    @property
    def key(self) -> PartitionKey:
        """Which partition."""
        return self.topic, self.number

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras with a state, sorted."""
        return tuple(sorted(self._cameras))

    @property
    def resume_offset(self) -> int | None:
        """Every record below it is done; records that are read again for a decoder's sake do not set it back."""
        read, restored = self.ledger.resume_offset, self.restored.resume_offset
        return restored if read is None else max(read, restored or 0)

    @property
    def backlog(self) -> int:
        """Events and dead letters that wait for the next tick or in one that waits for its turn, which counts itself."""
        waiting = sum(1 + len(tick.events) + len(tick.dead_letters) for tick in self._before)
        return len(self._events) + len(self._dead_letters) + waiting

    @property
    def backlog_bytes(self) -> int:
        """Size of the dead letters that wait for the next tick."""
        before = [letter for tick in self._before for letter in tick.dead_letters]
        return sum(letter.record.size_bytes for letter in (*before, *self._dead_letters))

    @property
    def due(self) -> bool:
        """Something changed since the last tick."""
        return bool(self._before) or self._changed

    @property
    def _changed(self) -> bool:
        changed = self._events or self._dead_letters or self._dirty or self._forgotten
        return bool(changed) or self.resume_offset != self._told.resume_offset

    def take_tick(self, *, final: bool = False) -> Tick:
        """Take what is to be delivered next, a part of all that there is now if that is much: see `stream.ticks`.

        What happens from here on belongs to later ticks. Each follows from one set of questions: what is left of earlier ones
        comes first. Only the last one, after which nothing is left, is the final one.
        """
        if not self._before:
            self._cut(final=final)
        return self._before.popleft()

    def _cut(self, *, final: bool = False) -> None:
        """Swap out all that is to be delivered now."""
        resume_offset = self.resume_offset
        self._dead_lettered = {offset for offset in self._dead_lettered if resume_offset is None or offset >= resume_offset}
        tick = Tick(
            topic=self.topic,
            partition=self.number,
            incarnation=self.incarnation,
            resume_offset=resume_offset,
            last_record=self._last_record(),
            events=tuple(self._events),
            dead_letters=tuple(self._dead_letters),
            dead_lettered=tuple(sorted(self._dead_lettered)),
            cameras={camera: self._cameras[camera] for camera in sorted(self._dirty)},
            forgotten=tuple(sorted(self._forgotten)),
            final=final,
            questions=self._questions,
        )
        self._before.extend(parts(tick, self._told))
        self._events, self._dead_letters, self._dirty, self._forgotten = [], [], set(), set()
        self._told = Progress(resume_offset, tick.last_record, tick.dead_lettered)

    def _retain(self, rules: Mapping[str, DebounceRules]) -> None:
        """End what is open on behaviours that are not asked any more."""
        for camera, each in list(self._cameras.items()):
            state, events = debounce.retain(each.state, rules[camera])
            if state is not each.state:
                self._stand(camera, replace(each, state=state))
            self._events.extend(events)

    def _last_record(self) -> RecordMark | None:
        read, restored = self.ledger.last_done, self.restored.last_record
        if read is None or restored is None:
            return read or restored
        return max(read, restored, key=lambda mark: mark.offset)

    def _advance(self, camera: str) -> None:
        line = self._lines[camera]
        while line and line[0].asked is None:
            known = self._cameras.get(camera)
            self._done(camera, None if known is None else known.state, line.popleft())

    def _done(self, camera: str, state: CameraState | None, step: Step) -> None:
        if state is not None:
            self._stand(camera, CameraRecord(replace(state, clock=step.place.clock), step.place.cursor, step.place.decoder))
        for offset in step.settles:
            self.ledger.settle(offset)

    def _stand(self, camera: str, record: CameraRecord) -> None:
        self._cameras[camera] = record
        self._dirty.add(camera)
        self._forgotten.discard(camera)
