"""What the worker exchanges with the world: a source that it polls and a sink that it delivers to.

How a source commits, restores or proves anything, and what a sink calls a transaction, is theirs; the worker never knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from stream.state_records import CameraRecord, QuestionRevision, RecordMark
from stream.types import DeadLetter, Event, Record


@dataclass(frozen=True, slots=True)
class Assigned:
    """A partition is ours from here on; its records follow in later polls, from `resume_offset` on."""

    topic: str
    partition: int
    incarnation: int
    """Counts the assignments of this process; larger is newer."""
    resume_offset: int | None = None
    """Every record below it is done; None where nothing is known."""
    cameras: Mapping[str, CameraRecord] = field(default_factory=dict)
    """Every camera as it was last delivered; empty where the sink keeps none."""
    dead_lettered: frozenset[int] = frozenset()
    """Offsets from `resume_offset` on whose dead letters are delivered."""
    last_record: RecordMark | None = None
    """The last record that was read below `resume_offset`."""
    read_below: int = 0
    """Records from here on were never read by an earlier owner."""
    suspect: bool = False
    """One of the records below it may have killed a worker: each is tried in a child process first."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A partition is no longer ours: what is in flight of it must be dropped, not delivered."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Draining:
    """A partition is about to be taken from us: no more of it is read; what is in flight may still be delivered, for a while."""

    topic: str
    partition: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Proof:
    """The source saw the end of a partition: at `asked_at_s` nothing more lay on it than was polled before this proof."""

    topic: str
    partition: int
    incarnation: int
    asked_at_s: float
    """When the end was asked for, by the clock that stamps the records' arrival: the source's own, seconds since the epoch."""
    live_since_s: float
    """Since when, by the same clock, such proofs came without a break (start, restore or outage end)."""


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll's outcome, in the order in which it must be taken: revoked, assigned, records, poison, draining, proofs."""

    revoked: tuple[Revoked, ...] = ()
    assigned: tuple[Assigned, ...] = ()
    records: tuple[Record, ...] = ()
    """In offset order within a partition."""
    poison: tuple[DeadLetter, ...] = ()
    """Records that the source itself could not read (a header key that is not UTF-8, a corrupt batch): stubs where not even
    their bytes could be saved. Each lies above all `records` of its partition in this poll."""
    draining: tuple[Draining, ...] = ()
    proofs: tuple[Proof, ...] = ()
    ended: bool = False
    """The source is bounded and this was its end."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one partition delivers at once or not at all, as far as the sink can: all that it has, or a part (`stream.ticks`)."""

    topic: str
    partition: int
    incarnation: int
    resume_offset: int | None
    """Every record below it is done: a restart may begin here. None: nothing was read yet."""
    last_record: RecordMark | None = None
    """The last record that was read below `resume_offset`."""
    events: tuple[Event, ...] = ()
    """In order per camera."""
    dead_letters: tuple[DeadLetter, ...] = ()
    dead_lettered: tuple[int, ...] = ()
    """Offsets from `resume_offset` on whose dead letters are delivered, with this tick's, ascending."""
    cameras: Mapping[str, CameraRecord] = field(default_factory=dict)
    """Cameras that changed since the last tick, as of these events: no other tick tells anything of theirs in between."""
    forgotten: tuple[str, ...] = ()
    """Cameras whose record is to be deleted."""
    final: bool = False
    """The last one of this assignment: nothing is in flight."""
    questions: QuestionRevision | None = None
    """What its answers were asked with; None: nothing else than what the sink was told at the start."""


class Source(Protocol):
    """Where records come from."""

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Wait at most `timeout_s` for something to do. Must not be cancelled; returns early when records are there.

        Args:
            timeout_s: longest wait.
            held: (topic, partition) of which nothing more is to be read for now: their deliveries lag behind.

        Raises:
            SourceLost: nothing can be read any more.
        """
        ...


class Sink(Protocol):
    """Where events go."""

    async def deliver(self, tick: Tick) -> bool:
        """Return True when all of the tick is acknowledged; False if its assignment is over, and none of it counts.

        Called again for the same partition only after it returned.

        Raises:
            StreamError: the worker can deliver nothing any more.
        """
        ...
