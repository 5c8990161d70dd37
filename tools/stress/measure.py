"""One run of the load test: pictures, the best bucket, the grid, the search for a rate; what is measured is kept as it comes."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifact import Manifest
from pipeline.engine import Engine
from pipeline.questions import QuestionSet
from tools.compile import scenes
from tools.stress.figures import TRIALS, BestBucket, Measured, saturation
from tools.stress.load import Bench, best_bucket, closed_loop
from tools.stress.open_loop import Load, highest_rate
from tools.stress.pictures import PICTURES, Pictures, choose

if TYPE_CHECKING:
    from pipeline.compile import Report

BOUND_BATCHES = 10
"""Default of what p99 must hold: so many times the best bucket's time."""
_WARM = 0.25
"""Part of a cell's window that passes before it."""
_EXTRA_S = 3.0
"""About how long the cost of a question is looked for, between so many rounds at least and at most."""
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 31


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    servers: tuple[int, ...]
    clients: tuple[int, ...]
    seconds: float
    """A cell's window."""
    is_open: bool
    """Whether to search for the highest rate of arrivals, too."""
    p99_s: float | None
    """What it must hold; None: `BOUND_BATCHES` times the best bucket's time."""
    seed: int


def pick_questions(engine: Engine, *, is_one: bool) -> int:
    """Have the engine ask all questions in a request, or only the first; say how many requests make a frame."""
    count = len(engine.questions.questions)
    if not is_one:
        return 1
    engine.ask(engine.prepare(QuestionSet(engine.questions.questions[:1])))
    return count


def pick_pictures(engine: Engine) -> Pictures:
    """Render pictures and take those that the model tells apart, by the tolerance of the artifact's precision.

    Raises:
        CommandError: it tells none apart.
    """
    return choose(engine, scenes(PICTURES, engine.image_size), tolerance(engine.artifact.manifest))


def tolerance(manifest: Manifest) -> float:
    """How far P(yes) and share may be off in the artifact's precision."""
    if manifest.parity is not None:
        return manifest.parity.limit
    from pipeline.compile import LIMITS  # takes transformers along

    return LIMITS[manifest.precision]


def extra_question_percent(engine: Engine, best: BestBucket) -> float | None:
    """Say what one more question costs, in percent of a frame with all: all questions against the first alone, best bucket.

    The median of the differences within a round, whose order alternates: neither drift nor a slow moment decides. Nobody else
    may be asking. None of one question, or where noise hides the cost.
    """
    whole = engine.questions
    count = len(whole.questions)
    if count == 1:
        return None
    sets = [engine.prepare(QuestionSet(whole.questions[:1])), engine.prepare(whole)]
    batch = np.zeros((best.bucket, engine.image_size, engine.image_size, 3), np.uint8)
    rounds = min(_MOST_ROUNDS, max(_LEAST_ROUNDS, round(_EXTRA_S / best.batch_s)))
    took_s: list[list[float]] = [[], []]
    for number in range(-1, rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            engine.ask(sets[which])
            begun_s = time.perf_counter()
            engine.answer(batch, best.bucket)
            took_s[which].append(time.perf_counter() - begun_s)
    engine.ask(sets[1])
    more_s = median(whole_s - one_s for one_s, whole_s in list(zip(*took_s, strict=True))[1:])
    percent = more_s / (count - 1) / median(took_s[1][1:]) * 100
    return round(percent, 3) if percent > 0 else None


class Run:
    """A run in progress."""

    def __init__(self, engine: Engine, pictures: Pictures, plan: Plan, requests_a_frame: int) -> None:
        """Time the buckets."""
        self._plan = plan
        best, self.largest_s = best_bucket(engine, pictures, requests_a_frame)
        self.engine = engine
        warm_s = max(_WARM * plan.seconds, 2 * self.largest_s)
        self._bench = Bench(engine, pictures, plan.seconds, warm_s, requests_a_frame)
        self._bound_s = plan.p99_s or BOUND_BATCHES * best.batch_s
        self.measured = Measured(best, requests_a_frame)

    @property
    def seconds(self) -> float:
        """A cell's window."""
        return self._plan.seconds

    def measure(self, report: "Report") -> None:
        """Fill `measured`, telling the seconds that are behind and the seconds in all.

        Raises:
            DeviceLost: the device failed.
        """
        with _quiet_collector():
            self._grid(report)
            if self._plan.is_open:
                self._open_loop(report)

    def _cells(self) -> list[tuple[int, int]]:
        return [(servers, clients) for servers in self._plan.servers for clients in self._plan.clients]

    def _grid_s(self) -> float:
        return len(self._cells()) * (self._bench.warm_s + self._bench.seconds)

    def _search_s(self) -> float:
        """Guess the time of the search from a rate that need not be known."""
        load = Load.of(self._bench, float("inf"), self._bound_s, (0, 0))
        return TRIALS * (load.window_s[1] + self._bound_s) if self._plan.is_open else 0.0

    def _grid(self, report: "Report") -> None:
        cells = self._cells()
        total_s = self._grid_s() + self._search_s()
        for number, (servers, clients) in enumerate(cells):
            report(f"{servers} servers, {clients} clients", round(number / len(cells) * self._grid_s()), round(total_s))
            self.measured.grid.append(closed_loop(self._bench, servers, clients))
        self.measured.is_grid_whole = True

    def _open_loop(self, report: "Report") -> None:
        saturated = saturation(self.measured.grid)
        assert saturated is not None
        behind_s = self._grid_s()

        def tell(rate_fps: float, trial_s: float) -> None:
            nonlocal behind_s
            total_s = max(behind_s + trial_s, self._grid_s() + self._search_s())
            report(f"arrivals at {rate_fps:.4g} frames/s", round(behind_s), round(total_s))
            behind_s += trial_s

        self.measured.open_loop = highest_rate(
            self._bench, saturated.servers, saturated.throughput_fps, self._bound_s, self._plan.seed, tell
        )


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Spare the garbage collector the model's objects: the load makes many of its own, and each full walk would stop all."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
