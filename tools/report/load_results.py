"""What `stress` writes, read back: its figures and its profile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from tools.report.record import Finite, Run

Measured: TypeAlias = Annotated[Finite, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the grid of `stress`."""

    servers: int
    clients: int
    throughput_fps: Measured
    p50_ms: Measured
    p99_ms: Measured
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
    throughput_fps: Finite


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """The highest rate that holds; p99 is None if none did."""

    rate_fps: Finite
    p99_ms: Finite | None
    bound_ms: Finite
    errors: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """So many cameras that were tried; None where nothing can be said."""

    cameras: int
    asked_fps: Finite
    held: bool
    lag_growth: Finite | None
    p50_ms: Finite | None
    p99_ms: Finite | None


@dataclass(frozen=True, slots=True)
class Through:
    """The most cameras that workers hold through Kafka; 0 if none did."""

    cameras: int
    fps: Finite
    p50_ms: Finite | None
    p99_ms: Finite | None
    cpu_s_per_1000_frames: Mapping[str, Finite] | None
    workers: int | None = None
    trials: tuple[Attempt, ...] = ()
    errors: int = 0
    conservation: Mapping[str, int] | None = None
    """What became of all that was published; None: interrupted before it was counted."""


@dataclass(frozen=True, slots=True)
class Load:
    """`stress --json`."""

    artifact: str
    machine: Mapping[str, Any]
    grid: tuple[Cell, ...]
    saturation: Saturation | None
    open_loop: OpenLoop | None
    run: Run | None = None
    """None where an earlier version wrote it."""
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
    throughput_fps: Finite
    p99_ms: Finite | None
    open_loop_fps: Finite | None
    cpu_s_per_1000_frames: Finite | None = None
