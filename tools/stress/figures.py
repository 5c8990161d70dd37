"""What `stress` measures and what follows from it: statistics, the saturation rule, the search for a rate, the JSON document.

Pure: no clock, no thread, no device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from tools.stress.kafka.figures import Through

SATURATED = 0.95
"""Part of the grid's best throughput at which a cell counts as saturated."""
START = 0.3
"""Part of the closed loop's saturation at which the open loop's ramp begins."""
_RAMP = 1.5
_CLOSE = 1.03
"""The search ends when the lowest rate that failed is within 3 % of the highest that held."""
_FARTHEST = 50.0
"""How far from its start, up or down, the ramp goes before it is given up."""
TRIALS = 9
"""About how many rates a search tries, for the time left."""

_LAG_S = 0.005


def nearest_rank(values: Sequence[float], percent: int) -> float:
    """Give the smallest of the values that at least `percent` of 100 of them do not exceed; NaN of none."""
    if not values:
        return float("nan")
    return sorted(values)[max(0, -(-percent * len(values) // 100) - 1)]


def span(answered_s: Sequence[float], begun_s: float, ended_s: float) -> tuple[float, float]:
    """Move a window's edges to the next answers, so that it holds whole batches and its rate is not off by parts of one.

    Args:
        answered_s: when answers came, any order; at least one of them at or after `ended_s`.
        begun_s: where the window should begin.
        ended_s: where it should end.

    Returns:
        First and last instant; what was answered after the first and up to the last belongs to the window.
    """
    return min(at_s for at_s in answered_s if at_s >= begun_s), min(at_s for at_s in answered_s if at_s >= ended_s)


@dataclass(frozen=True, slots=True)
class BestBucket:
    """The batch size that costs least per frame, asked alone."""

    bucket: int
    batch_s: float
    throughput_fps: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the closed loop's grid."""

    servers: int
    clients: int
    throughput_fps: float
    p50_ms: float
    p99_ms: float
    errors: int
    """Answers that do not belong to the request's picture."""
    cores_busy: float
    """Processor seconds of this whole process, clients included, per second."""

    @property
    def name(self) -> str:
        """`#server-#client`."""
        return f"{self.servers}-{self.clients}"

    @property
    def cpu_s_per_1000_frames(self) -> float:
        """Processor seconds that 1,000 frames cost."""
        return self.cores_busy / self.throughput_fps * 1000


def saturation(grid: Sequence[Cell]) -> Cell | None:
    """Find the cell with the fewest clients, then the fewest servers, that reaches 95 % of the best throughput; None of none."""
    best_fps = max((cell.throughput_fps for cell in grid), default=0.0)
    enough = [cell for cell in grid if cell.throughput_fps >= SATURATED * best_fps]
    return min(enough, key=lambda cell: (cell.clients, cell.servers), default=None)


@dataclass(frozen=True, slots=True)
class Trial:
    """How one rate of arrivals was borne."""

    p99_s: float
    """Infinite if more than 1 % was not answered within the bound; NaN if the trial was given up early."""
    is_held: bool
    errors: int
    lag_p99_s: float
    """How late the arrivals themselves were against their schedule; contained in the latencies."""


def holds(parts: Sequence[Sequence[float]], outstanding: int, rate_s: float, bound_s: float) -> bool:
    """Say whether a rate is borne: p99 within the bound in each part of the window, and no backlog at its end.

    Args:
        parts: latencies of each part's arrivals, seconds; infinite where no answer came.
        outstanding: requests without an answer at the window's end.
        rate_s: arrivals per second.
        bound_s: what p99 must hold. By Little's law more than rate x bound outstanding requests wait longer than it.
    """
    return outstanding <= max(1.0, rate_s * bound_s) and all(nearest_rank(part, 99) <= bound_s for part in parts if part)


class Search:
    """The highest rate that holds: a ramp by half as much again, then halving of what lies between on a logarithmic scale."""

    def __init__(self, start: float) -> None:
        """Begin at `start`, in any unit over 0."""
        assert start > 0, start
        self._start = start
        self.held: float | None = None
        """The highest rate that held."""
        self._failed: float | None = None

    def next(self) -> float | None:
        """Say which rate to try; None if the search is over."""
        if self.held is not None and self._failed is not None:
            return sqrt(self.held * self._failed) if self._failed > self.held * _CLOSE else None
        if self.held is not None:
            return self.held * _RAMP if self.held < self._start * _FARTHEST else None
        if self._failed is not None:
            return self._failed / _RAMP if self._failed > self._start / _FARTHEST else None
        return self._start

    def tell(self, rate: float, *, is_held: bool) -> None:
        """Take what a trial of the rate that `next` gave has shown."""
        if is_held:
            self.held = rate
        else:
            self._failed = rate


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """The highest rate of Poisson arrivals whose p99 holds."""

    rate_fps: float
    """0 if none was found that holds."""
    p99_ms: float | None
    bound_ms: float
    errors: int
    """Over all trials."""
    lag_p99_ms: float | None

    @property
    def warning(self) -> str | None:
        """A sentence if the arrivals were too late for the figure to be the device's alone."""
        if self.lag_p99_ms is None or self.lag_p99_ms <= _LAG_S * 1000:
            return None
        return (
            f"the arrivals themselves came {self.lag_p99_ms:.1f} ms late at p99, which counts as latency: "
            "this machine was too busy to keep their schedule"
        )


@dataclass(slots=True)
class Measured:
    """What a run has found so far: an interruption keeps it."""

    best: BestBucket
    requests_a_frame: int = 1
    """More than 1: each request asked one question only."""
    grid: list[Cell] = field(default_factory=list)
    is_grid_whole: bool = False
    extra_question_percent: float | None = None
    """What one more question costs, in percent of a frame with all of them."""
    open_loop: OpenLoop | None = None
    kafka: Through | None = None
    """None: not through Kafka, or not so far yet."""
    is_interrupted: bool = False

    @property
    def errors(self) -> int:
        """Answers that did not belong to their pictures, and what was lost or repeated on the way through Kafka."""
        return self._foreign + (self.kafka.errors if self.kafka else 0)

    @property
    def _foreign(self) -> int:
        return sum(cell.errors for cell in self.grid) + (self.open_loop.errors if self.open_loop else 0)

    @property
    def warnings(self) -> list[str]:
        """Sentences about how far the figures can be trusted."""
        found = [self.open_loop.warning if self.open_loop else None]
        if self.is_interrupted:
            found.append("interrupted: these are the figures of what was measured until then")
        if self._foreign:
            found.append(f"{self._foreign} answers did not belong to the pictures that were handed over")
        return [*(each for each in found if each is not None), *(self.kafka.warnings if self.kafka else ())]

    def document(self, artifact: str, machine: Mapping[str, Any]) -> dict[str, Any]:
        """Give the JSON document."""
        saturated, rate = saturation(self.grid), self.open_loop
        return {
            "artifact": artifact,
            "machine": dict(machine),
            "requests_per_frame": self.requests_a_frame,
            "best_bucket": {
                "bucket": self.best.bucket,
                "batch_ms": round(self.best.batch_s * 1000, 3),
                "throughput_fps": round(self.best.throughput_fps, 2),
            },
            "grid": [
                {
                    "servers": cell.servers,
                    "clients": cell.clients,
                    "throughput_fps": round(cell.throughput_fps, 2),
                    "p50_ms": round(cell.p50_ms, 3),
                    "p99_ms": round(cell.p99_ms, 3),
                    "errors": cell.errors,
                }
                for cell in self.grid
            ],
            "saturation": None
            if saturated is None
            else {
                "servers": saturated.servers,
                "clients": saturated.clients,
                "throughput_fps": round(saturated.throughput_fps, 2),
            },
            "open_loop": None
            if rate is None
            else {
                "rate_fps": round(rate.rate_fps, 2),
                "p99_ms": None if rate.p99_ms is None else round(rate.p99_ms, 3),
                "bound_ms": round(rate.bound_ms, 3),
                "errors": rate.errors,
            },
            "kafka": None if self.kafka is None else self.kafka.document(),
            "warnings": self.warnings,
        }
