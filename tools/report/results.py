"""Reads back what `demo`, `evaluate`, `diff` and `stress` write as JSON; what is none of theirs is refused in a sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from tools.errors import CommandError
from tools.report.load_results import Load, Profile
from tools.report.record import Finite, Histogram, Run, Timeline

Counters: TypeAlias = Mapping[str, int]
"""`stream.counts.Counts` by name."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One seed of `demo`."""

    seed: int
    found: int
    missed: int
    invented: int
    late: int
    frames: Counters
    wall_s: Finite
    timelines: tuple[Timeline, ...]
    latency: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True)
class Broker:
    """Which Kafka it was."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Demo:
    """`demo --json`."""

    run: Run
    broker: Broker
    seeds: tuple[Performance, ...]


@dataclass(frozen=True, slots=True)
class Behavior:
    """One behaviour's figures; None where nothing can be said."""

    behavior: str
    episodes: int
    found: int
    events: int
    false: int
    splits: int
    merges: int
    precision: Finite | None
    recall: Finite | None
    f1: Finite | None
    delay_p50_s: Finite | None
    delay_p95_s: Finite | None
    end_delay_p50_s: Finite | None
    end_delay_p95_s: Finite | None
    frames: int
    true_frames: int
    unknown_frames: int
    average_precision: Finite | None
    roc_auc: Finite | None
    brier: Finite | None
    ece: Finite | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`evaluate --json`."""

    run: Run
    behaviors: tuple[Behavior, ...]
    episodes: int
    events: int
    found_percent: Finite | None
    false_percent: Finite | None
    false_per_camera_hour: Finite | None
    camera_hours: Finite
    frames: Counters
    timelines: tuple[Timeline, ...]
    latency: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One episode of one side."""

    camera: str
    behavior: str
    start_s: Finite
    at_s: Finite
    end_s: Finite | None
    ended_at_s: Finite | None
    score: Finite | None


@dataclass(frozen=True, slots=True)
class Shifted:
    """One episode of both sides."""

    before: Seen
    after: Seen


@dataclass(frozen=True, slots=True)
class Answered:
    """One behaviour's answers on both sides."""

    behavior: str
    frames: int
    differing: int
    flipped: int
    max_abs_dp: Finite
    mean_abs_dp: Finite


@dataclass(frozen=True, slots=True)
class Difference:
    """`diff --json`."""

    run: Run
    before: str
    after: str
    changed: bool
    same: int
    gained: tuple[Seen, ...]
    lost: tuple[Seen, ...]
    shifted: tuple[Shifted, ...]
    answers: tuple[Answered, ...]
    frames_only_before: int
    frames_only_after: int
    behaviors_only_before: tuple[str, ...]
    behaviors_only_after: tuple[str, ...]
    frames_before: Counters
    frames_after: Counters
    timelines: tuple[Timeline, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: an event is of a camera that has no timeline.
        """
        known = {timeline.camera for timeline in self.timelines}
        both = (side for one in self.shifted for side in (one.before, one.after))
        for one in (*self.gained, *self.lost, *both):
            if one.camera not in known:
                msg = f"an event of {one.camera}, of which there is no timeline"
                raise ValueError(msg)


Result: TypeAlias = Demo | Evaluation | Difference | Load | Profile

_KINDS: tuple[tuple[str, type[Result], frozenset[str]], ...] = (
    ("demo --json", Demo, frozenset({"broker", "seeds"})),
    ("evaluate --json", Evaluation, frozenset({"behaviors", "found_percent"})),
    ("diff --json", Difference, frozenset({"gained", "lost", "shifted"})),
    ("stress --json", Load, frozenset({"grid", "saturation"})),
    ("stress --profile", Profile, frozenset({"format", "throughput_fps"})),
)
"""What writes it, what it is, and the keys that it is known by."""
_REMEDY = "give what `--json` of tools/run demo, evaluate, diff or stress wrote"


def read(path: Path) -> Result:
    """Read a file that a command wrote.

    Raises:
        CommandError: naming the file: it cannot be read, is no JSON, or no result that a page can be made of.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror}: {_REMEDY}"
        raise CommandError(msg) from error
    except ValueError as error:  # of UTF-8, too
        msg = f"{path} is no JSON ({error}): {_REMEDY}"
        raise CommandError(msg) from error
    return parse(str(path), value)


def parse(name: str, value: Any) -> Result:
    """Take a document; `name` is what a complaint calls it.

    Raises:
        CommandError: it is none of ours, or a key is missing or not as it must be.
    """
    keys = value.keys() if isinstance(value, dict) else frozenset[str]()
    if {"broker", "episodes"} <= keys:  # a single seed stands at the top level
        value = {"broker": value["broker"], "run": value.get("run"), "seeds": [value]}
        keys = value.keys()
    known = next(((command, kind) for command, kind, known_by in _KINDS if known_by <= keys), None)
    if known is None:
        msg = f"{name} is no result of ours: {_REMEDY}"
        raise CommandError(msg)
    command, kind = known
    try:
        return TypeAdapter[Result](kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = ": ".join(part for part in (name, place, first["msg"]) if part)
        msg = f"{said}: not as `tools/run {command}` of this version writes it: run that again"
        raise CommandError(msg) from error
