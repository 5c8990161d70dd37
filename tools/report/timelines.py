"""Joins truth, sightings and answers to the timelines of a record. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from stream.debounce_rules import DebounceRule
from stream.types import Observation
from tools.report.record import Course, Lane, Outcome, Timeline, Told, Trace, Truth
from tools.sightings import Sighting

MOST_POINTS = 800
"""Of a trace: about what a screen shows. Of more, the lowest and the highest of each stretch are kept, as no peak may be lost."""
_DIGITS = 3
_Points: TypeAlias = Sequence[tuple[float, float]]
"""Seconds from the start, and P(yes)."""


@dataclass(frozen=True, slots=True)
class Filmed:
    """A camera's recording."""

    camera: str
    video: str
    began_s: float
    """Capture time of its first picture, seconds since the epoch."""
    length_s: float | None
    """None: up to the last that is known of it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one run told of all cameras."""

    name: str
    """Of its side."""
    sightings: Sequence[Sighting]
    observations: Iterable[Observation]
    false: Collection[Sighting] | None = None
    """Those that belong to nothing true; None where the truth is not known."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A stretch of truth, judged."""

    camera: str
    behavior: str
    start_s: float
    end_s: float
    outcome: Outcome


def timelines(
    filmed: Sequence[Filmed], rules: Sequence[DebounceRule], runs: Sequence[Heard], happened: Sequence[Happened] | None = None
) -> tuple[Timeline, ...]:
    """Give each camera's timeline, with a lane for each rule.

    Args:
        filmed: the cameras, in the order of the result.
        rules: in the order of the lanes.
        runs: one, or before and after.
        happened: the truth about all cameras; None where it is not known.
    """
    began_s = {one.camera: one.began_s for one in filmed}
    points = [_points(run.observations, began_s) for run in runs]
    return tuple(_timeline(one, rules, list(zip(runs, points, strict=True)), happened) for one in filmed)


def thinned(points: _Points) -> list[tuple[float, float]]:
    """Keep at most about `MOST_POINTS`: of each of as many stretches the lowest and the highest, in order of time."""
    if len(points) <= MOST_POINTS:
        return list(points)
    stretch = -(-len(points) // (MOST_POINTS // 2))
    kept: list[tuple[float, float]] = []
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


_ByLane: TypeAlias = Mapping[tuple[str, str], _Points]
"""By camera and behaviour."""


def _points(observations: Iterable[Observation], began_s: Mapping[str, float]) -> _ByLane:
    by_lane: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for seen in observations:
        at_s = seen.captured_at_s - began_s[seen.camera_id]
        for behavior, answer in seen.answers.items():
            by_lane[seen.camera_id, behavior].append((at_s, answer.p_yes))
    return by_lane


def _timeline(
    filmed: Filmed,
    rules: Sequence[DebounceRule],
    runs: Sequence[tuple[Heard, _ByLane]],
    happened: Sequence[Happened] | None,
) -> Timeline:
    lanes = tuple(
        Lane(
            rule.behavior,
            rule.start_above,
            None if happened is None else _truth(happened, filmed.camera, rule.behavior),
            tuple(
                _course(run, points.get((filmed.camera, rule.behavior), ()), filmed.camera, rule.behavior) for run, points in runs
            ),
        )
        for rule in rules
    )
    return Timeline(filmed.camera, filmed.video, filmed.length_s or _known_s(lanes), lanes)


def _truth(happened: Sequence[Happened], camera: str, behavior: str) -> tuple[Truth, ...]:
    own = (one for one in happened if (one.camera, one.behavior) == (camera, behavior))
    return tuple(Truth(one.start_s, one.end_s, one.outcome) for one in own)


def _course(run: Heard, points: _Points, camera: str, behavior: str) -> Course:
    own = (one for one in run.sightings if (one.camera, one.behavior) == (camera, behavior))
    return Course(run.name, tuple(_told(one, run.false) for one in own), _trace(thinned(points)))


def _trace(points: _Points) -> Trace | None:
    if not points:
        return None
    return Trace(tuple(round(at_s, _DIGITS) for at_s, _ in points), tuple(round(p_yes, _DIGITS) for _, p_yes in points))


def _told(one: Sighting, false: Collection[Sighting] | None) -> Told:
    return Told(
        start_s=_rounded(one.start_s),
        at_s=_rounded(one.at_s),
        end_s=None if one.end_s is None else _rounded(one.end_s),
        ended_at_s=None if one.ended_at_s is None else _rounded(one.ended_at_s),
        reason=one.reason,
        score=one.score,
        is_false=None if false is None else one in false,
    )


def _rounded(seconds: float) -> float:
    """Whole microseconds: what is left of the epoch's seconds has digits that mean nothing."""
    return round(seconds, 6)


def _known_s(lanes: Sequence[Lane]) -> float:
    """Give the last moment that anything is known of; a second of nothing."""
    courses = [course for lane in lanes for course in lane.courses]
    told = chain.from_iterable(course.told for course in courses)
    times = [
        *(one.end_s for lane in lanes for one in lane.truth or ()),
        *(course.trace.at_s[-1] for course in courses if course.trace),
        *(one.ended_at_s or one.at_s for one in told),
    ]
    return max(times, default=1.0)
