"""What `stress --through kafka` concludes: how many cameras hold, whose processor time it is, what became of all, the document.

Pure: no clock, no process, no broker.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, sqrt
from typing import Any

CLOSE = 1.05
"""The search ends when the lowest number that failed is within 5 % of the highest that held."""
TRIALS = 10
"""About how many trials a search takes, for the time left."""


class CameraSearch:
    """The highest number of cameras that is borne: doubling, then halving of what lies between on a logarithmic scale."""

    def __init__(self, start: int, most: int) -> None:
        """Begin at `start` and try no more than `most`."""
        assert 0 < start <= most, (start, most)
        self._start, self._most = start, most
        self.held: int | None = None
        """The highest number that held."""
        self._failed: int | None = None

    def next(self) -> int | None:
        """Say which number to try; None if the search is over."""
        if self.held is not None and self._failed is not None:
            is_over = self._failed - self.held <= 1 or self._failed <= self.held * CLOSE
            return None if is_over else min(max(self.held + 1, round(sqrt(self.held * self._failed))), self._failed - 1)
        if self.held is not None:
            return min(2 * self.held, self._most) if self.held < self._most else None
        if self._failed is not None:
            return self._failed // 2 or None
        return self._start

    def tell(self, cameras: int, *, is_held: bool) -> None:
        """Take what a trial of the number that `next` gave has shown."""
        if is_held:
            self.held = cameras
        else:
            self._failed = cameras


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """Processor time of the workers, seconds."""

    decode: float
    """Decoder threads, with what they start, and the child process in which suspicious records are tried."""
    device: float
    """All other threads but the first: those that hand batches to the device, and on a CPU the model itself."""
    transaction: float
    """The first thread: the event loop, which reads records, debounces answers and carries out transactions."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.decode + self.device + self.transaction

    def __add__(self, other: "CpuSeconds") -> "CpuSeconds":
        return CpuSeconds(self.decode + other.decode, self.device + other.device, self.transaction + other.transaction)

    def __sub__(self, other: "CpuSeconds") -> "CpuSeconds":
        return CpuSeconds(self.decode - other.decode, self.device - other.device, self.transaction - other.transaction)

    def per_1000(self, frames: int) -> dict[str, float]:
        """Seconds for 1,000 of so many frames."""
        return {name: round(value / frames * 1000, 3) for name, value in (*asdict(self).items(), ("total", self.total))}


def cpu_seconds(threads: Iterable[tuple[int, str, float]], pid: int, process_s: float, children_s: float) -> CpuSeconds:
    """Split a worker's processor time by its threads.

    Args:
        threads: id, name and seconds of each that lives.
        pid: the process, which is also the id of its first thread.
        process_s: of the whole process, threads that have ended as well; without its children.
        children_s: of its child processes, those that have ended as well.
    """
    told = list(threads)
    decode_s = sum(seconds for _, name, seconds in told if name.startswith("decode"))
    loop_s = sum(seconds for thread, _, seconds in told if thread == pid)
    return CpuSeconds(decode_s + children_s, process_s - decode_s - loop_s, loop_s)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one number of cameras was borne."""

    cameras: int
    asked_fps: float
    """Asked pictures per second of all cameras, by their schedule."""
    is_held: bool
    lag_rate: float
    """`Growth.rate`; infinite for a trial that was given up early."""
    p50_s: float
    p99_s: float
    """From a picture's scheduled capture to its commit; NaN for a trial that was given up early."""
    late_p99_s: float
    """How late the cameras themselves were against their schedule; contained in the latencies."""
    cpu: CpuSeconds | None
    """Of all workers within the window; None where the system does not tell."""
    frames: int
    """Asked pictures that were committed within the window."""
    cores: Mapping[str, float]
    """Cores that were busy with `workers`, `broker` and `cameras`."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of all that was published, over all trials; every pair must be equal."""

    records: int
    """Published."""
    committed: int
    """Below the partitions' resume offsets at the end."""
    read: int
    """Taken in, by the workers' own count."""
    dead_letters: int
    asked: int
    """Pictures, by the workers' own count."""
    due: int
    """Pictures that the cameras' clocks say are to be asked; all others of those published are sampled out."""

    @property
    def errors(self) -> int:
        """How many records and pictures are not accounted for."""
        lost = abs(self.records - self.committed) + abs(self.records - self.read)
        return lost + self.dead_letters + abs(self.due - self.asked)


@dataclass(slots=True)
class Through:
    """What a run through Kafka has found so far: an interruption keeps it."""

    fps: float
    """Pictures per second of each camera."""
    form: str
    size: str
    workers: int
    partitions: int
    most: int
    """Cameras that were tried at most."""
    pairs: int
    """Of scenes that the cameras show."""
    told_apart: int
    """Pairs that the scores of one question at least tell apart: a score of the one under the name of the other is seen."""
    attempts: list[Attempt] = field(default_factory=list)
    alerts: int = 0
    """Committed alerts whose score was compared with their picture's."""
    foreign: int = 0
    """Those whose score is not their picture's."""
    kept: Kept | None = None
    """None: interrupted before the end."""

    @property
    def best(self) -> Attempt | None:
        """The highest number that held."""
        return max((each for each in self.attempts if each.is_held), key=lambda each: each.cameras, default=None)

    @property
    def errors(self) -> int:
        """Alerts of other pictures, and what is not accounted for."""
        return self.foreign + (self.kept.errors if self.kept else 0)

    @property
    def warnings(self) -> list[str]:
        """Sentences about how far the figures can be trusted."""
        found, best = [], self.best
        if self.foreign:
            found.append(f"{self.foreign} of {self.alerts} alerts have a score that is not their picture's")
        if self.kept is not None and self.kept.errors:
            found.append(f"not everything that was published is accounted for: {self.kept}")
        if best is not None and best.cameras == self.most:
            found.append(f"{self.most} cameras are as many as were to be tried: the limit lies higher")
        if best is not None and best.late_p99_s > _LATE_S:
            late = f"the cameras themselves were {best.late_p99_s * 1000:.0f} ms late at p99, which counts as latency"
            found.append(f"{late}: this machine was too busy to keep their schedule")
        limit = self._limit
        if limit is not None and limit.late_p99_s > _LATE_S:
            late = (
                f"at {limit.cameras}, which do not hold, the cameras themselves were {limit.late_p99_s * 1000:.0f} ms late at p99"
            )
            found.append(f"{late}: the limit may be what this machine can publish, and that of the workers lie higher")
        return found + self._unproven

    @property
    def _limit(self) -> Attempt | None:
        """The last trial of the lowest number above those that held."""
        failed = [each for each in self.attempts if self.best is None or each.cameras > self.best.cameras]
        return min(reversed(failed), key=lambda each: each.cameras, default=None)

    @property
    def _unproven(self) -> list[str]:
        """Sentences about what could not be seen, had it gone wrong."""
        if self.kept is not None and not self.alerts:
            return ["no alert came that could be compared with its picture: nothing shows that scores belong to their pictures"]
        if self.kept is not None and not self.told_apart:
            return ["the model's scores tell no scene from another: that of another camera's picture would not be seen"]
        return []

    def document(self) -> dict[str, Any]:
        """Give the JSON field `kafka`."""
        best = self.best
        return {
            "cameras": 0 if best is None else best.cameras,
            "fps": self.fps,
            "p50_ms": None if best is None else _ms(best.p50_s),
            "p99_ms": None if best is None else _ms(best.p99_s),
            "cpu_s_per_1000_frames": None if best is None or best.cpu is None else best.cpu.per_1000(best.frames),
            "asked_fps": 0 if best is None else round(best.asked_fps, 2),
            "as": self.form,
            "size": self.size,
            "workers": self.workers,
            "partitions": self.partitions,
            "cores_busy": None if best is None else {name: round(busy, 2) for name, busy in best.cores.items()},
            "trials": [_trial(each) for each in self.attempts],
            "alerts_checked": self.alerts,
            "foreign_alerts": self.foreign,
            "scene_pairs": self.pairs,
            "scene_pairs_told_apart": self.told_apart,
            "conservation": None if self.kept is None else asdict(self.kept),
            "errors": self.errors,
        }


_LATE_S = 0.05


def _trial(one: Attempt) -> dict[str, Any]:
    return {
        "cameras": one.cameras,
        "asked_fps": round(one.asked_fps, 2),
        "held": one.is_held,
        "lag_growth": round(one.lag_rate, 4) if isfinite(one.lag_rate) else None,
        "p50_ms": _ms(one.p50_s),
        "p99_ms": _ms(one.p99_s),
    }


def _ms(seconds: float) -> float | None:
    return round(seconds * 1000, 1) if isfinite(seconds) else None
