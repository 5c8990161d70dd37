"""A camera's timeline: for each behaviour what is true, P(yes), and what was told, over one axis of time. Pure."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import floor
from typing import Protocol, TypeAlias

from tools.report.markup import Html, tag
from tools.report.plots import WIDTH, Tick, x
from tools.report.record import Course, Lane, Timeline, Trace, moment


class Span(Protocol):
    """What lasts, or has not ended."""

    @property
    def start_s(self) -> float:
        """Seconds from the recording's start."""

    @property
    def end_s(self) -> float | None:
        """None: it has not ended."""


Places: TypeAlias = Mapping[tuple[str, float, str], str]
"""Id of each event's card, by behaviour, start (`moment`) and the run's name."""

DASH = "\N{EN DASH}"

_CURVE, _BAR, _GAP = 28.0, 8.0, 3.0
"""Heights: of the answers, of a bar of events, between them."""
_MOST_STEPS = 6
_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MINUTE_S, _HOUR_S = 60, 3600
_BROKEN = 5
"""A step of so many usual ones is a stretch that nobody asked about: the curve stops."""
_LEAST = 3.0
"""Width of an event that is too short to be seen."""


def drawn(timeline: Timeline, places: Places) -> Html:
    """Draw a camera; an event that has a card leads to it."""
    ticks = time_ticks(timeline.length_s)
    rows = [_row(lane, timeline, ticks, places) for lane in timeline.lanes]
    words = (tag("span", tick.word, style=f"left:{tick.share * 100:.2f}%") for tick in ticks)
    axis = tag("div", tag("div", *words, class_="across", aria_hidden="true"), class_="axis")
    return tag("div", *rows, axis, tag("p", axis_title(timeline.length_s), class_="axis-title"), class_="lanes")


def time_ticks(length_s: float) -> list[Tick]:
    """Give an axis of time its words: at most seven, at steps that a clock has."""
    days_s = _STEPS_S[-1]
    many_s = days_s * -(-length_s // (_MOST_STEPS * days_s))
    step_s = next((step_s for step_s in _STEPS_S if length_s / step_s <= _MOST_STEPS), many_s)
    return [Tick(place * step_s / length_s, clock(place * step_s, length_s)) for place in range(floor(length_s / step_s) + 1)]


def clock(at_s: float, length_s: float = 0.0, digits: int = 0) -> str:
    """Write a time as minutes and seconds, with hours if the recording has any."""
    whole = round(at_s, digits)
    hours, rest_s = divmod(whole, _HOUR_S)
    minutes, left_s = divmod(rest_s, _MINUTE_S)
    tail = f"{left_s:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours:.0f}:{minutes:02.0f}:{tail}" if max(whole, length_s) >= _HOUR_S else f"{minutes:.0f}:{tail}"


def axis_title(length_s: float) -> str:
    """Say what the words of the axis count."""
    return ("hours, minutes" if length_s >= _HOUR_S else "minutes") + " and seconds from the recording's start"


def _row(lane: Lane, timeline: Timeline, ticks: list[Tick], places: Places) -> Html:
    length_s = timeline.length_s
    height = _CURVE + sum(_BAR + _GAP for _ in lane.courses)
    marks = [*_grid(ticks, height), *_truth(lane, length_s), _level(lane.start_above)]
    for place, course in enumerate(lane.courses):
        later = place > 0 or len(lane.courses) == 1
        if course.trace is not None:
            marks += [
                tag("polyline", points=points, class_="curve" if later else "curve before")
                for points in _curves(course.trace, length_s)
            ]
        top, kind = _CURVE + _GAP + place * (_BAR + _GAP), "event" if later else "event before"
        marks += _bars(course, length_s, top, kind, (lane.behavior, places))
    box = f"0 0 {WIDTH} {height:g}"
    words = words_of(lane, length_s)
    picture = tag("svg", *marks, viewBox=box, height=height, preserveAspectRatio="none", role="group", aria_label=words)
    name = tag("p", lane.behavior, tag("small", _summary(lane)), class_="behavior")
    return tag("div", name, picture, class_="lane")


def words_of(lane: Lane, length_s: float) -> str:
    """Say what a lane shows, for those who cannot see it."""
    told = []
    if lane.truth is not None:
        true = (f"{_stretch(one, length_s)}{' (missed)' if one.outcome == 'missed' else ''}" for one in lane.truth)
        told.append(f"true {', '.join(true) or 'never'}")
    for course in lane.courses:
        name = f"events {course.name}".strip()
        told.append(f"{name} {', '.join(_stretch(one, length_s) for one in course.told) or 'never'}")
    return f"{lane.behavior}: {'; '.join(told)}."


def _stretch(one: Span, length_s: float) -> str:
    return f"{clock(one.start_s, length_s)} to {'the end' if one.end_s is None else clock(one.end_s, length_s)}"


def _summary(lane: Lane) -> str:
    counts = [f"{len(course.told)} {course.name or 'told'}" for course in lane.courses]
    if lane.truth is not None:
        counts.insert(0, f"{len(lane.truth)} true")
    return " · ".join(counts)


def _grid(ticks: list[Tick], height: float) -> Iterator[Html]:
    for tick in ticks:
        yield tag("line", x1=x(tick.share), x2=x(tick.share), y1=0, y2=height, class_="grid")


def _level(start_above: float) -> Html:
    at = round(_CURVE * (1 - start_above), 1)
    return tag("line", x1=0, x2=WIDTH, y1=at, y2=at, class_="level")


def _truth(lane: Lane, length_s: float) -> Iterator[Html]:
    for one in lane.truth or ():
        left, right = x(max(0.0, one.start_s) / length_s), x(min(one.end_s, length_s) / length_s)
        kind = "true missed" if one.outcome == "missed" else "true"
        yield tag("rect", x=left, y=0, width=round(max(right - left, _LEAST), 1), height=_CURVE, class_=kind)


def _curves(trace: Trace, length_s: float) -> Iterator[str]:
    """Give the points of each stretch that was asked about without a break."""
    steps = sorted(later - earlier for earlier, later in pairwise(trace.at_s))
    usual_s = steps[len(steps) // 2] if steps else 0.0
    part: list[str] = []
    last_s = trace.at_s[0]
    for at_s, p_yes in zip(trace.at_s, trace.p_yes, strict=True):
        if at_s - last_s > _BROKEN * usual_s:
            yield " ".join(part)
            part = []
        part.append(f"{x(at_s / length_s):g},{_CURVE * (1 - p_yes):.1f}")
        last_s = at_s
    yield " ".join(part)


def _bars(course: Course, length_s: float, top: float, kind: str, of: tuple[str, Places]) -> Iterator[Html]:
    """Draw episodes, pale until they were told; `of` is the behaviour, and where its cards are."""
    behavior, places = of
    for one in course.told:
        ends_s = length_s if one.end_s is None else one.end_s
        left, told, right = (x(min(max(0.0, at_s), length_s) / length_s) for at_s in (one.start_s, min(one.at_s, ends_s), ends_s))
        words = span(one, length_s)
        early = tag("rect", x=left, y=top, width=round(told - left, 1), height=_BAR, class_=f"{kind} early")
        late = tag("rect", x=told, y=top, width=round(max(right - told, _LEAST), 1), height=_BAR, class_=kind)
        shape = tag("g", tag("title", words), early, late)
        place = places.get((behavior, moment(one.start_s), course.name))
        yield shape if place is None else tag("a", shape, href=f"#{place}", aria_label=f"{behavior} {words}")


def span(one: Span, length_s: float) -> str:
    """Write from when to when something lasted."""
    end = " on, not ended" if one.end_s is None else clock(one.end_s, length_s, 1)
    return f"{clock(one.start_s, length_s, 1)}{DASH}{end}"
