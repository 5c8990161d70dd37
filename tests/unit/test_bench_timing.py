"""How the bench reads the clock: rounds interleaved, the first one not counted, drift without influence."""

from collections.abc import Callable

import pytest

from tools.bench import timing
from tools.bench.timing import medians, slope


class Clock:
    """Stands still but for the work."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now_s = 0.0
        self.done: list[str] = []

    def work(self, name: str, *lasts_s: float) -> Callable[[], None]:
        """Work that takes these times, one call after the other, the last for ever."""
        left = list(lasts_s)

        def call() -> None:
            self.done.append(name)
            self.now_s += left.pop(0) if len(left) > 1 else left[0]

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the bench reads."""
    stopped = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: stopped.now_s)
    return stopped


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress."""


def test_rounds_interleave_and_the_first_does_not_count(clock: Clock) -> None:
    """One slow call of three does not show in the median; neither does the warming."""
    took = medians({"a": clock.work("a", 100, 1, 9, 1), "b": clock.work("b", 2)}, 3, silent)
    assert took == {"a": 1, "b": 2}
    assert clock.done == ["a", "b"] * 4


def test_the_slope_is_a_part_of_the_lesser(clock: Clock) -> None:
    """1.1 s after 1.0 s is a tenth, and a machine that is slow once does not change it."""
    less, more = clock.work("less", 50, 1.0), clock.work("more", 60, 1.1, 8.0, 1.1)
    assert slope(less, more, 5, silent) == pytest.approx(0.1)


def test_the_order_of_a_pair_alternates(clock: Clock) -> None:
    """So that a machine which gets slower does not make the second of a pair look dear."""
    slope(clock.work("less", 1), clock.work("more", 1), 2, silent)
    assert clock.done == ["less", "more", "less", "more", "more", "less"]
