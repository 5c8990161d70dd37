"""One assigned partition: what is in flight of it, where its cameras stand, and what it has to deliver.

Pure. Ingest moves the clocks ahead, emit applies the answers behind it; a reassignment makes a new object, so nothing of an
older assignment can touch it.
"""

from collections import Counter
from collections.abc import Mapping

from stream import debounce
from stream.clock import ClockState
from stream.debounce import CameraState, DebounceRules
from stream.ledger import Ledger
from stream.ports import Assigned, Proof, Tick
from stream.types import DeadLetter, Event, Observation


class Partition:
    """The worker's books of one partition under one assignment."""

    def __init__(self, assigned: Assigned, rules: Mapping[str, DebounceRules]) -> None:
        """Take up the partition where it was last delivered.

        Args:
            assigned: the partition, its incarnation and its cameras' states.
            rules: debounce rules by camera id, for the cameras of `assigned`.
        """
        self.topic = assigned.topic
        self.number = assigned.partition
        self.incarnation = assigned.incarnation
        self.ledger = Ledger(assigned.incarnation)
        self.clocks: dict[str, ClockState | None] = {camera: state.clock for camera, state in assigned.cameras.items()}
        self.arrivals_s: dict[str, float] = {}
        self._in_flight: Counter[str] = Counter()
        self._cameras = dict(assigned.cameras)
        self._events: list[Event] = []
        self._dead_letters: list[DeadLetter] = []
        self._dirty: set[str] = set()
        self._delivered_offset: int | None = None
        for camera in assigned.cameras:
            self._apply(camera, debounce.retain(self._cameras[camera], rules[camera]))

    def open(self, offset: int, camera: str | None, frames: int, *, held: bool = False) -> None:
        """Open a record with so many sampled frames of a camera in the ledger; `held` as there."""
        self.ledger.open(offset, frames, held=held)
        if camera is not None:
            self._in_flight[camera] += frames

    def observe(self, observation: Observation, rules: DebounceRules) -> None:
        """Apply one frame's answers and close its position."""
        camera = observation.camera_id
        self._apply(camera, debounce.observe(self._cameras.get(camera), observation, rules))
        self.ledger.close(observation.position)
        self._in_flight[camera] -= 1

    def reject(self, letter: DeadLetter) -> None:
        """Take a record that cannot be used; it leaves with the next tick."""
        self._dead_letters.append(letter)
        self.ledger.settle(letter.record.offset)

    def lose_silent(self, proof: Proof, grace_s: float, rules: Mapping[str, DebounceRules]) -> None:
        """Lose the cameras that sent nothing for `lost_after_s` while the partition was proven live, and have nothing in flight.

        What others have in flight does not matter: on a busy partition that would keep a dead camera for ever.
        """
        for camera in sorted(self._cameras):
            if self._in_flight[camera]:
                continue
            state = self._cameras[camera]
            arrived_at_s = max(state.arrived_at_s, self.arrivals_s.get(camera, state.arrived_at_s))
            silence = debounce.Silence(arrived_at_s, proof.asked_at_s, proof.live_since_s, grace_s)
            if debounce.is_silent(state, silence, rules[camera]):
                self.lose(camera, rules[camera])

    def lose(self, camera: str, rules: DebounceRules) -> None:
        """End what is open on a camera whose stream is over."""
        self._apply(camera, debounce.lose(self._cameras[camera], rules))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras with a state, sorted."""
        return tuple(sorted(self._cameras))

    @property
    def urgent(self) -> bool:
        """Something waits that a subscriber should see now."""
        return bool(self._events or self._dead_letters)

    @property
    def due(self) -> bool:
        """Something changed since the last tick."""
        return self.urgent or bool(self._dirty) or self.ledger.resume_offset != self._delivered_offset

    def take_tick(self) -> Tick:
        """Swap out all that is to be delivered now; what happens from here on belongs to the next tick."""
        tick = Tick(
            topic=self.topic,
            partition=self.number,
            incarnation=self.incarnation,
            resume_offset=self.ledger.resume_offset,
            events=tuple(self._events),
            dead_letters=tuple(self._dead_letters),
            cameras={camera: self._cameras[camera] for camera in sorted(self._dirty)},
        )
        self._events, self._dead_letters, self._dirty = [], [], set()
        self._delivered_offset = tick.resume_offset
        return tick

    def _apply(self, camera: str, outcome: tuple[CameraState, tuple[Event, ...]]) -> None:
        state, events = outcome
        if state is not self._cameras.get(camera):
            self._cameras[camera] = state
            self._dirty.add(camera)
        self._events.extend(events)
