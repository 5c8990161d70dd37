"""Chooses a question's threshold for a stated rate of false alerts, by playing its debounce rule over what was observed."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Calibration
from stream.cameras import CameraRegistry
from stream.debounce import CameraState, DebounceRule, DebounceRules, observe
from stream.types import BehaviorEvent, Kind, Observation
from tools.calibrate.fit import TooLittle
from tools.evaluate.matching import match
from tools.scenes.script import Episode
from tools.sightings import Sighting

DAY_S = 86_400.0
SURE = 0.95
"""Confidence of the bound that a rate must hold; the interval that is told leaves 5 % at either end."""
_BLOCK_S = 3600.0
"""The bootstrap draws stretches of one recording up to this long: false alerts of one place and hour resemble each other."""
_DRAWS = 2000
_SEED = 1
_MOMENT_S = 1e-6
"""Event time counts in these: an alert lasts at least one."""
_GRID = tuple(round(1 / (1 + math.exp(-odds / 2)), 4) for odds in range(-8, 13))
"""Thresholds that are tried: even in log-odds, 0.018 to 0.998."""


@dataclass(frozen=True, slots=True)
class Given:
    """What holds beside the question's own thresholds."""

    rules: DebounceRules
    cameras: CameraRegistry
    """Their own thresholds stay."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What was observed, and what is true."""

    observations: Mapping[str, Sequence[Observation]]
    """By camera, in order; P(yes) as the model gives it."""
    truth: Mapping[str, Sequence[Episode]]
    """By camera; times from the recordings' start."""
    began_s: float
    """Event time of the recordings' start, seconds since the epoch."""
    lost_after_s: float
    """A gap longer than this was watched for so long only: nothing is told in it."""

    @property
    def blocks(self) -> dict[tuple[str, int], float]:
        """Seconds of every stretch of a recording that the bootstrap draws."""
        lasts_s: dict[tuple[str, int], float] = defaultdict(float)
        for camera, seen in self.observations.items():
            times_s = [one.captured_at_s - self.began_s for one in seen]
            for here_s, next_s in pairwise([*times_s, times_s[-1]]):  # the last one has its stretch, too
                lasts_s[camera, block_of(here_s)] += min(next_s - here_s, self.lost_after_s)
        return dict(lasts_s)

    @property
    def camera_days(self) -> float:
        """Time that was watched, all cameras together."""
        return sum(self.blocks.values()) / DAY_S


def block_of(at_s: float) -> int:
    """Number of the stretch that a time from the recording's start lies in."""
    return int(at_s // _BLOCK_S)


@dataclass(frozen=True, slots=True)
class Tried:
    """What a threshold does. An episode is found if an alert is told of it, and an alert is false if it is told of none."""

    start_above: float
    stop_below: float
    episodes: int
    found: int
    false: int
    per_day: float
    """False alerts per camera-day."""
    interval: tuple[float, float]
    """Of the same: its lower and upper bound, each wrong in 5 of 100 cases."""


class NoThreshold(Exception):
    """No threshold holds the rate; says why."""


def carried(rule: DebounceRule, calibration: Calibration) -> DebounceRule:
    """Give a rule thresholds on calibrated scores that mean what its own mean on the model's.

    Raises:
        TooLittle: the transform makes both thresholds one.
    """
    start_above, stop_below = _turn(calibration, (rule.start_above, rule.stop_below))
    if not stop_below < start_above:
        msg = f"its thresholds {rule.start_above:g} and {rule.stop_below:g} would both become {start_above:g}"
        raise TooLittle(msg)
    return replace(rule, start_above=start_above, stop_below=stop_below)


def _turn(calibration: Calibration | None, scores: Sequence[float]) -> list[float]:
    """To the last bit: a rounded threshold would part other scores than before."""
    given = np.array(scores, np.float32)
    return [float(score) for score in (given if calibration is None else calibration(given))]


def least_days(per_day: float) -> float:
    """Camera-days without any false alert that it takes to be `SURE` of a rate, and the other way round.

    The rule of three: -ln(0.05) / rate.
    """
    return -math.log(1 - SURE) / per_day


class Rehearsal:
    """One question's answers over all that was watched, to be debounced by one rule after the other."""

    def __init__(self, watched: Watched, behavior: str, calibration: Calibration | None, given: Given) -> None:
        """Turn the answers."""
        self._watched = watched
        self._calibration = calibration
        self._given = given
        self._seen = {camera: turned(seen, behavior, calibration) for camera, seen in watched.observations.items()}
        self._blocks = watched.blocks

    def sightings(self, rule: DebounceRule) -> list[Sighting]:
        """Debounce as the worker does; a camera's own thresholds stay.

        Raises:
            ValueError: they contradict the rule's.
        """
        found: list[Sighting] = []
        for camera, seen in self._seen.items():
            common = replace(self._given.rules, by_behavior={**self._given.rules.by_behavior, rule.behavior: rule})
            own = self._given.cameras.rules_for(camera, common)
            only = replace(own, by_behavior={rule.behavior: own.by_behavior[rule.behavior]})
            state: CameraState | None = None
            for observation in seen:
                state, events = observe(state, observation, only)
                for event in events:
                    if isinstance(event, BehaviorEvent):
                        _add(found, event, self._watched.began_s)
        return found

    def play(self, rule: DebounceRule) -> Tried:
        """Tell what a rule does.

        An alert's time counts until the rule could have ended it again, stop_after_s after it was told: at a threshold under the
        noise one alert would last for ever, and overlap whatever comes.

        Raises:
            ValueError: a camera's own thresholds contradict it.
        """
        told = [replace(one, end_s=one.at_s + max(rule.stop_after_s, _MOMENT_S)) for one in self.sightings(rule)]
        matched = match(self._watched.truth, told, {rule.behavior: rule.start_after_s})[0]
        false = Counter((one.camera, block_of(one.at_s)) for one in matched.false_sightings)
        days = np.array(list(self._blocks.values())) / DAY_S
        counts = np.array([false[block] for block in self._blocks])
        return Tried(
            rule.start_above,
            rule.stop_below,
            matched.episodes,
            matched.found,
            matched.false,
            matched.false / days.sum(),
            interval(counts, days),
        )

    def choose(self, rule: DebounceRule, per_day: float, report: Callable[[float], None]) -> Tried:
        """Find the threshold that finds most episodes of those that hold the rate; of equals the nearest to the rule's.

        A rate is held if the upper bound of what the recordings show is at most it. Thresholds are tried from the strictest down
        to the first that does not hold it: in such a fixed sequence all that came before hold it together with the confidence of
        one (Angelopoulos et al. 2021, "Learn then Test"), and choosing among them costs none of it. `stop_below` stays, or is
        half of a `start_above` that comes down to it.

        Args:
            rule: its thresholds on calibrated scores; the others are spaced evenly in the log-odds of the model's.
            per_day: false alerts per camera-day at most.
            report: told of every threshold tried.

        Raises:
            NoThreshold: the strictest does not hold it, or all contradict a camera's own thresholds.
        """
        held: list[Tried] = []
        refused = "every threshold contradicts a camera's own"
        for start_above in sorted({*_turn(self._calibration, _GRID), rule.start_above}, reverse=True):
            report(start_above)
            stop_below = rule.stop_below if rule.stop_below < start_above else start_above / 2
            try:
                one = self.play(replace(rule, start_above=start_above, stop_below=stop_below))
            except ValueError:
                continue  # a camera's own stop_below, say
            if one.interval[1] > per_day:
                days, bound = self._watched.camera_days, one.interval[1]
                refused = f"even {start_above:g} gives {one.false} in {days:.3g} camera-days, which may be {bound:.3g} a day"
                break
            held.append(one)
        if not held:
            raise NoThreshold(refused)
        return max(held, key=lambda one: (one.found, -abs(one.start_above - rule.start_above)))


def turned(seen: Sequence[Observation], behavior: str, calibration: Calibration | None) -> list[Observation]:
    """Keep one behaviour's answers, calibrated."""
    answers = [one.answers[behavior] for one in seen]
    p_yes = _turn(calibration, [answer.p_yes for answer in answers])
    return [
        replace(one, answers={behavior: replace(answer, p_yes=p)}) for one, answer, p in zip(seen, answers, p_yes, strict=True)
    ]


def _add(found: list[Sighting], event: BehaviorEvent, began_s: float) -> None:
    if event.kind is Kind.STARTED:
        found.append(
            Sighting(
                camera=event.camera_id,
                behavior=event.behavior,
                start_s=event.started_at_s - began_s,
                at_s=event.at_s - began_s,
                end_s=None,
                ended_at_s=None,
                reason=None,
            )
        )
        return
    assert event.stopped_at_s is not None  # an end has one
    found[-1] = replace(found[-1], end_s=event.stopped_at_s - began_s, ended_at_s=event.at_s - began_s, reason=event.reason)


def interval(false: NDArray[np.int_], days: NDArray[np.float64]) -> tuple[float, float]:
    """Bound a rate from below and above, each at `SURE`.

    The bootstrap over stretches sees that false alerts come in clusters, and says nothing where there are none or few; the exact
    bounds of a Poisson count (Garwood 1936) see that few events tell little. The wider of the two counts at either end.

    Args:
        false: (n,) false alerts of each stretch.
        days: (n,) its camera-days.
    """
    random = np.random.default_rng(_SEED)
    rates = []
    for _ in range(_DRAWS):
        drawn = random.integers(0, len(days), len(days))
        rates.append(false[drawn].sum() / max(days[drawn].sum(), 1 / DAY_S))  # stretches of a single frame have no length
    low, high = np.quantile(rates, [1 - SURE, SURE])
    count, total = int(false.sum()), float(days.sum())
    return min(float(low), _poisson_low(count) / total), max(float(high), poisson_high(count) / total)


def poisson_high(count: int) -> float:
    """The mean of which so few events or fewer come in 5 of 100 cases; 2.996 of none."""
    return _solve(lambda mean: _at_most(count, mean) - (1 - SURE), 0.0, count + 10 * math.sqrt(count + 1))


def _poisson_low(count: int) -> float:
    """The mean of which so many events or more come in 5 of 100 cases; 0 of none."""
    if count == 0:
        return 0.0
    return _solve(lambda mean: SURE - _at_most(count - 1, mean), float(count), 0.0)


def _at_most(count: int, mean: float) -> float:
    """Probability of at most `count` events where `mean` are expected."""
    if mean == 0:
        return 1.0
    return sum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _solve(function: Callable[[float], float], positive: float, negative: float) -> float:
    """Halve between a place where the function is over 0 and one where it is under, to the last bit."""
    for _ in range(100):
        middle = (positive + negative) / 2
        if function(middle) > 0:
            positive = middle
        else:
            negative = middle
    return (positive + negative) / 2
