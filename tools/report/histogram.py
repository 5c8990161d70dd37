"""Bins for a page: edges that a person would choose."""

from collections.abc import Sequence
from math import floor, log10

from tools.report.record import Histogram

MOST_BINS = 24
_STEPS = (1, 2, 5, 10)


def histogram(what: str, values_s: Sequence[float]) -> Histogram | None:
    """Spread values over bins of 1, 2 or 5 times a power of ten seconds; percentiles are nearest ranks. None of no value."""
    if not values_s:
        return None
    ordered = sorted(values_s)
    step_s = nice_step(ordered[-1] - ordered[0], MOST_BINS - 2)  # both ends may lie in the middle of a bin
    first = floor(ordered[0] / step_s)
    bins = [0] * (floor(ordered[-1] / step_s) - first + 1)
    for value_s in ordered:
        bins[floor(value_s / step_s) - first] += 1
    p50, p95, p99 = (ordered[max(0, -(-percent * len(ordered) // 100) - 1)] for percent in (50, 95, 99))
    return Histogram(what, len(ordered), round(p50, 6), round(p95, 6), round(p99, 6), first * step_s, step_s, tuple(bins))


def nice_step(span: float, most: int) -> float:
    """Give the smallest of 1, 2 or 5 times a power of ten of which at most `most` cover a span; 0.1 of no span."""
    if span <= 0:
        return 0.1
    power = 10.0 ** floor(log10(span / most))
    return next(power * factor for factor in _STEPS if power * factor * most >= span * (1 - 1e-9))
