"""What is remembered of a camera between two frames: a value that can be written, read back and carried on elsewhere.

How it changes is no business of this file (`stream.debounce`), nor how it looks on disk (`stream.state_codec`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stream.clock import ClockState
from stream.phases import Phase
from stream.types import Evidence


class Level(StrEnum):
    """What a known answer says."""

    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive known answers of one level, in steps of at most max_gap_s."""

    began_s: float
    """Capture time of its first frame."""
    last_s: float
    """Capture time of its last known answer."""
    evidence: Evidence | None
    """The first frame of a YES run; None for a NO run."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A behaviour that started and has not ended."""

    started_at_s: float
    severity: str
    """As the rule had it at the start: start and end of an episode carry the same."""
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class BehaviorState:
    """One behaviour of one camera."""

    phase: Phase = Phase.IDLE
    level: Level = Level.NO
    """Level of the last known answer."""
    run: Run | None = None
    """The run of that level; None before the first known answer and after an end."""
    episodes: int = 0
    """Episodes begun so far: the number of the last one. Survives the removal of the question, so no id ever repeats."""
    episode: Episode | None = None
    """The open episode; set exactly in the phases open and stopping."""
    cooldown_until_s: float | None = None
    """Event time before which no episode begins; set exactly in the phase cooldown."""


@dataclass(frozen=True, slots=True)
class CameraState:
    """One camera, as of its last accepted frame."""

    camera_id: str
    epoch_ms: int
    """Capture time of the first frame accepted in the life of this record, ms since the epoch: part of every event id."""
    clock: ClockState
    """The camera's clock right after the last accepted frame."""
    arrived_at_s: float
    """When that frame arrived, by its source's clock: silence is counted from it, also by a later owner."""
    lost: bool
    """The stream was lost and no frame was accepted since: it is lost once, and seen again by the next frame."""
    sightings: int
    """How often the camera was seen: on its first frame ever and on the first after each loss."""
    behaviors: Mapping[str, BehaviorState] = field(default_factory=dict)
    """By behaviour, in the order in which events of one frame are published."""
