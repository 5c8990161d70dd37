"""The open loop: arrivals come when they come, whether or not the last were answered, and latency counts from the schedule.

A closed loop's clients stop asking while the device is slow, and so leave out of their figures what would have waited most
(coordinated omission). Cameras do not stop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray

from tools.stress.figures import START, OpenLoop, Search, Trial, holds, nearest_rank
from tools.stress.load import Bench, Request, Servers, foreign, join

PARTS = 3
"""Parts of the stability window; p99 must hold in each."""
_FEW = 20
"""Arrivals that a part holds at least, on average."""
_LOST = 0.02
"""A trial is given up when so much of a part's arrivals is overdue: 1 % of one of two neighbouring parts at least."""
_LOOK_S = 0.02
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Load:
    """Arrivals of one trial."""

    rate_s: float
    """Requests per second, on average."""
    bound_s: float
    """What p99 must hold."""
    part_s: float
    warm_s: float
    seed: tuple[int, int]

    @classmethod
    def of(cls, bench: Bench, rate_s: float, bound_s: float, seed: tuple[int, int]) -> "Load":
        """Choose a window that can show the bound: two closed-loop windows, and parts no shorter than the bound."""
        part_s = max(2 * bench.seconds / PARTS, bound_s, _FEW / rate_s)
        return cls(rate_s, bound_s, part_s, max(bench.warm_s, bound_s), seed)

    @property
    def window_s(self) -> tuple[float, float]:
        """Begin and end of what counts, from the first moment on."""
        return self.warm_s, self.warm_s + PARTS * self.part_s

    def schedule(self) -> NDArray[np.float64]:
        """Draw Poisson arrivals, seconds from the first moment on, ascending.

        They go on for the bound's length behind the window, so that its last requests are not spared the load.
        """
        random = np.random.default_rng(self.seed)
        total_s = self.window_s[1] + self.bound_s
        return np.sort(random.uniform(0.0, total_s, random.poisson(self.rate_s * total_s)))


class _Arrivals:
    """One thread that hands requests over at absolute times, however slow the device is."""

    def __init__(self, pool: Servers, pictures: int, schedule: NDArray[np.float64]) -> None:
        self._pool = pool
        self._pictures = pictures
        self._schedule = schedule
        self._over = Event()
        self.begun_s = time.perf_counter()
        self.requests: list[Request] = []
        self.lags_s: list[float] = []
        self.answered: SimpleQueue[Request] = SimpleQueue()
        self._thread = Thread(target=self._run, name="arrivals", daemon=True)

    @property
    def outstanding(self) -> int:
        return len(self.requests) - self.answered.qsize()

    def start(self) -> None:
        self.begun_s = time.perf_counter()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        join([self._thread])

    def _run(self) -> None:
        for number, offset_s in enumerate(self._schedule.tolist()):
            due_s = self.begun_s + offset_s
            if (early_s := due_s - time.perf_counter()) > 0:
                self._over.wait(early_s)
            if self._over.is_set():
                return
            request = Request(number % self._pictures, due_s, self.answered)
            self.requests.append(request)
            self.lags_s.append(time.perf_counter() - due_s)
            self._pool.submit(request)


def trial(bench: Bench, servers: int, load: Load) -> Trial:
    """Let requests arrive at one rate and see whether it is borne.

    A request's latency is the time of its answer less that of its scheduled arrival. What is not answered by the bound after the
    window counts as infinitely late. A trial that can hold no more is given up at once.

    Raises:
        DeviceLost: the device failed.
    """
    with Servers(bench.engine, bench.pictures, servers) as pool:
        arrivals = _Arrivals(pool, len(bench.pictures.frames), load.schedule())
        try:
            arrivals.start()
            outstanding = _run(pool, arrivals, load)
        finally:
            arrivals.stop()
            pool.discard()
    answered = _drain(arrivals.answered)
    lag_s, errors = nearest_rank(arrivals.lags_s, 99), foreign(bench.pictures, answered)
    if outstanding is None:
        return Trial(float("nan"), is_held=False, errors=errors, lag_p99_s=lag_s)
    limit_s = arrivals.begun_s + load.window_s[1] + load.bound_s
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for request in arrivals.requests:
        part = int((request.begun_s - arrivals.begun_s - load.warm_s) // load.part_s)
        if 0 <= part < PARTS:
            is_late = request.answered_s > limit_s
            parts[part].append(float("inf") if is_late else request.answered_s - request.begun_s)
    p99_s = nearest_rank([each for part in parts for each in part], 99)
    return Trial(p99_s, holds(parts, outstanding, load.rate_s, load.bound_s), errors, lag_s)


def _run(pool: Servers, arrivals: _Arrivals, load: Load) -> int | None:
    """Wait for the end of a trial.

    Returns:
        Requests without an answer at the window's end; None if the trial was given up.
    """
    begin_s, end_s = (arrivals.begun_s + each for each in load.window_s)
    hopeless = load.rate_s * (load.bound_s + _LOST * load.part_s) + 1
    pool.wait(begin_s - time.perf_counter())
    while (left_s := end_s - time.perf_counter()) > 0:
        if arrivals.outstanding > hopeless:
            return None
        pool.wait(min(left_s, _LOOK_S))
    outstanding = arrivals.outstanding
    pool.wait(end_s + load.bound_s - time.perf_counter())
    return outstanding


def _drain(answered: "SimpleQueue[Request]") -> Sequence[Request]:
    found = []
    try:
        while True:
            found.append(answered.get_nowait())
    except Empty:
        return found


def highest_rate(
    bench: Bench, servers: int, saturated_fps: float, bound_s: float, seed: int, report: Callable[[float, float], None]
) -> OpenLoop:
    """Search for the highest rate that holds. A rate fails when it fails twice: one slow moment of a machine is no limit.

    Args:
        bench: what is asked.
        servers: server threads.
        saturated_fps: the closed loop's throughput; the ramp begins below it.
        bound_s: what p99 must hold.
        seed: draws the arrivals.
        report: told the rate that is tried, frames per second, and the seconds that the trial takes.

    Raises:
        DeviceLost: the device failed.
    """
    search = Search(START * saturated_fps)
    best: Trial | None = None
    errors = attempt = 0
    while (rate_fps := search.next()) is not None:
        for _ in range(_TRIES):
            attempt += 1
            load = Load.of(bench, rate_fps * bench.requests_a_frame, bound_s, (seed, attempt))
            report(rate_fps, load.window_s[1] + bound_s)
            found = trial(bench, servers, load)
            errors += found.errors
            if found.is_held:
                best = found
                break
        search.tell(rate_fps, is_held=found.is_held)
    return OpenLoop(
        rate_fps=search.held or 0.0,
        p99_ms=None if best is None else best.p99_s * 1000,
        bound_ms=bound_s * 1000,
        errors=errors,
        lag_p99_ms=None if best is None else best.lag_p99_s * 1000,
    )
