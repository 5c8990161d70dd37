"""Reads back what `demo`, `evaluate`, `diff` and `stress` write as JSON; what is none of theirs is refused in a sentence."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from tools.errors import CommandError
from tools.report.record import Histogram, Run, Timeline

Finite: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
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
    wall_s: float
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
    precision: float | None
    recall: float | None
    f1: float | None
    delay_p50_s: float | None
    delay_p95_s: float | None
    end_delay_p50_s: float | None
    end_delay_p95_s: float | None
    frames: int
    true_frames: int
    unknown_frames: int
    average_precision: float | None
    roc_auc: float | None
    brier: float | None
    ece: float | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """`evaluate --json`."""

    run: Run
    behaviors: tuple[Behavior, ...]
    episodes: int
    events: int
    found_percent: float | None
    false_percent: float | None
    false_per_camera_hour: float | None
    camera_hours: float
    frames: Counters
    timelines: tuple[Timeline, ...]
    latency: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One episode of one side."""

    camera: str
    behavior: str
    start_s: float
    at_s: float
    end_s: float | None
    ended_at_s: float | None
    score: float | None


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
    max_abs_dp: float
    mean_abs_dp: float


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


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the grid of `stress`."""

    servers: int
    clients: int
    throughput_fps: Finite
    p50_ms: Finite
    p99_ms: Finite
    errors: int

    @property
    def name(self) -> str:
        """`#server-#client`."""
        return f"{self.servers}-{self.clients}"


@dataclass(frozen=True, slots=True)
class Saturation:
    """The cell from which on more clients only wait longer."""

    servers: int
    clients: int
    throughput_fps: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """The highest rate that holds; p99 is None if none did."""

    rate_fps: float
    p99_ms: float | None
    bound_ms: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """So many cameras that were tried; None where nothing can be said."""

    cameras: int
    asked_fps: float
    held: bool
    lag_growth: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Through:
    """The most cameras that workers hold through Kafka; 0 if none did."""

    cameras: int
    fps: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_s_per_1000_frames: Mapping[str, float] | None
    workers: int | None = None
    trials: tuple[Attempt, ...] = ()
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """`stress --json`."""

    artifact: str
    machine: Mapping[str, Any]
    grid: tuple[Cell, ...]
    saturation: Saturation | None
    open_loop: OpenLoop | None
    kafka: Through | None = None
    warnings: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Profile:
    """`stress --profile`."""

    date: str
    machine: Mapping[str, Any]
    device: str
    precision: str
    artifact: str
    model: str
    questions: int
    questions_fingerprint: str
    throughput_fps: float
    p99_ms: float | None
    open_loop_fps: float | None
    cpu_s_per_1000_frames: float | None = None


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
        msg = f"{name}: {place}: {first['msg']}: not as `tools/run {command}` of this version writes it: run that again"
        raise CommandError(msg) from error
