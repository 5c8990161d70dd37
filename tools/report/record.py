"""What `demo`, `evaluate` and `diff` write into their JSON for the page: what ran, a timeline of every camera, histograms.

Frozen values that `dataclasses.asdict` turns into JSON and pydantic reads back. Times are seconds from the start of a camera's
recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Finite: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]
"""JSON has no other numbers, though Python writes and reads them, and no page could be drawn of them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and when its answers become an event."""

    behavior: str
    ask: str
    start_above: Finite
    stop_below: Finite
    start_after_s: Finite
    stop_after_s: Finite


@dataclass(frozen=True, slots=True)
class Side:
    """A model on a device with its questions; `diff` has two."""

    name: str
    """Empty where there is only one."""
    device: str
    model: str
    precision: str
    artifact: str
    """SHA-256 that seals the artifact's manifest, and by it every file."""
    weights: str
    """SHA-256 of the checkpoint's weights."""
    versions: Mapping[str, str]
    """Of the packages that the artifact depends on."""
    questions: str
    """Fingerprint of the question set."""
    revision: int
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What ran."""

    command: str
    ended_at: str
    """RFC 3339."""
    commit: str
    python: str
    processor: str
    cores: int
    sides: tuple[Side, ...]


Outcome: TypeAlias = Literal["found", "missed", "not expected"]


@dataclass(frozen=True, slots=True)
class Truth:
    """A stretch in which the behaviour is true."""

    start_s: Finite
    end_s: Finite
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Told:
    """What the events told of one episode."""

    start_s: Finite
    at_s: Finite
    """When it was told."""
    end_s: Finite | None
    ended_at_s: Finite | None
    reason: str | None
    score: Finite | None
    """P(yes) of the frame that decided the start."""
    is_false: bool | None
    """It belongs to nothing true; None where the truth is not known."""


@dataclass(frozen=True, slots=True)
class Trace:
    """P(yes) over time; at least one answer."""

    at_s: tuple[Finite, ...]
    p_yes: tuple[Finite, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: no answer, or not as many times as answers.
        """
        if not self.at_s or len(self.at_s) != len(self.p_yes):
            msg = f"{len(self.at_s)} times and {len(self.p_yes)} answers: there must be as many, and one at least"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Course:
    """What one run made of a behaviour."""

    name: str
    """Of its side."""
    told: tuple[Told, ...]
    trace: Trace | None


@dataclass(frozen=True, slots=True)
class Lane:
    """One behaviour before one camera."""

    behavior: str
    start_above: Finite
    truth: tuple[Truth, ...] | None
    """None where it is not known."""
    courses: tuple[Course, ...]
    """One, or before and after."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """One camera."""

    camera: str
    video: str
    """What its recording is called among the videos: the camera, with the seed before it where several were performed."""
    length_s: Annotated[Finite, Field(gt=0)]
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Histogram:
    """How values are spread, seconds."""

    what: str
    count: int
    p50_s: Finite
    p95_s: Finite
    p99_s: Finite
    first_s: Finite
    """Lower edge of the first bin."""
    step_s: Annotated[Finite, Field(gt=0)]
    """Width of a bin."""
    bins: Annotated[tuple[int, ...], Field(min_length=1)]
    """How many values each holds."""


def moment(at_s: float) -> float:
    """Give the time by which an event and its picture are known, whatever subtraction did to the last digits."""
    return round(at_s, 3)
