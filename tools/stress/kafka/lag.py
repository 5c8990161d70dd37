"""Event-time lag: when records were committed, how far behind workers are, and whether that grows.

Pure: no clock, no process, no broker. Times are seconds on one clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf, isfinite
from statistics import fmean
from typing import TypeAlias

GROWS = 0.02
"""Lag that rises by more than this a second, on average over the partitions, grows. What a tick a second and the cameras' own
steps leave of a line through 12 seconds is under 0.01."""
FAR_BEHIND = 2.0
"""A partition whose lag rises within the window by more than so many of its parts is left behind, whatever the others do."""

Commits: TypeAlias = Sequence[tuple[float, int]]
"""Of one partition: when a commit was seen, and the offset below which everything is done then; both ascending."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A picture that the model is to be asked about."""

    captured_s: float
    """When it was to be captured."""
    committed_s: float
    """When the commit that holds it was seen; infinite if none was."""


def commit_times(first: int, end: int, commits: Commits) -> list[float]:
    """Say when each record of a partition was seen done: at the first commit whose resume offset lies behind it.

    Args:
        first: offset of the first record.
        end: offset after the last.
        commits: all of the partition's, those from before `first` as well.

    Returns:
        One time for each offset; infinite where no commit has come that far.
    """
    times: list[float] = []
    for seen_s, resume_offset in commits:
        times += [seen_s] * (min(resume_offset, end) - first - len(times))
    return times + [inf] * (end - first - len(times))


def highest_lags(asked: Iterable[Asked], begun_s: float, part_s: float, parts: int) -> list[float]:
    """Give the highest event-time lag within each part of a window, of one partition.

    The lag at a moment is that moment less the capture time of the newest picture that is committed by then: it rises with the
    clock and falls with each commit, so that its peaks lie right before commits. The highest of a part spares the line through
    the parts the teeth of that saw.

    Returns:
        One lag for each part; infinite while nothing is committed.
    """
    steps = sorted((each.committed_s, each.captured_s) for each in asked if isfinite(each.committed_s))
    newest_s = max((captured_s for _, captured_s in takewhile(lambda step: step[0] <= begun_s, steps)), default=-inf)
    ahead = [step for step in steps if step[0] > begun_s]
    lags: list[float] = []
    for part in range(1, parts + 1):
        until_s, highest_s = begun_s + part * part_s, -inf
        while ahead and ahead[0][0] <= until_s:
            at_s, captured_s = ahead.pop(0)
            highest_s = max(highest_s, at_s - newest_s)
            newest_s = max(newest_s, captured_s)
        lags.append(max(highest_s, until_s - newest_s))
    return lags


@dataclass(frozen=True, slots=True)
class Growth:
    """How event-time lag went within a window."""

    rate: float
    """Seconds by which it rises each second, on average over the partitions; infinite where nothing was committed."""
    most: float
    """That of the partition where it rises fastest."""

    def is_growing(self, parts: int) -> bool:
        """Apply the rule to a window of so many parts: over 2 % on average, or one partition left behind by two parts of it."""
        return self.rate > GROWS or self.most * (parts - 1) > FAR_BEHIND

    @property
    def is_clear(self) -> bool:
        """It grows so much that a second look would not show anything else."""
        return self.rate > 5 * GROWS


def growth(partitions: Sequence[Sequence[float]], part_s: float) -> Growth:
    """Fit a line by least squares to each partition's lags.

    Args:
        partitions: of each the `highest_lags` of the window's parts, at least two.
        part_s: length of a part.
    """
    rates = [_slope(lags) / part_s if all(map(isfinite, lags)) else inf for lags in partitions]
    return Growth(fmean(rates), max(rates))


def _slope(values: Sequence[float]) -> float:
    """Rise of the least-squares line from one value to the next."""
    places = range(len(values))
    middle, mean = fmean(places), fmean(values)
    return sum((place - middle) * (value - mean) for place, value in zip(places, values, strict=True)) / sum(
        (place - middle) ** 2 for place in places
    )
