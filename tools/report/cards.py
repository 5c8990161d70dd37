"""Events as cards: the picture at which it began, from when to when, and whether it was right. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tools.report.lanes import Places, clock, span
from tools.report.markup import Html, tag
from tools.report.record import Course, Lane, Timeline, Told, Truth, moment

Pictures: TypeAlias = Mapping[tuple[str, float], str]
"""JPEG as data URI, by video and `moment`."""
_REASON = "stopped"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture that a card is to show."""

    video: str
    at_s: float
    """Seconds from the video's start."""
    is_told: bool = True
    """An event began with it, so that the video must have it. What should have been told may lie where nothing was filmed."""


@dataclass(frozen=True, slots=True)
class Card:
    """One event, or one that should have been."""

    key: str
    """Its id within the page."""
    video: str
    camera: str
    behavior: str
    at_s: float
    """When it began: whose picture is shown."""
    when: str
    badge: str
    """What to think of it; empty: nothing."""
    mood: str
    """`good`, `bad` or empty."""
    lines: tuple[str, ...] = ()


def shown(cards: Iterable[Card], pictures: Pictures | None) -> Html:
    """Show cards; without pictures where there are no videos to take them from, or nothing was filmed then."""
    return tag("ol", *(_card(card, pictures) for card in cards), class_="cards")


def of_timeline(timeline: Timeline, key: str, false: str) -> tuple[list[Card], Places]:
    """Give a camera's cards in order of time, and the id of each by behaviour, start and side.

    Args:
        timeline: of one run.
        key: what ids begin with.
        false: what an event is called that belongs to nothing true.
    """
    found: list[tuple[Lane, Course | None, Told | Truth]] = []
    for lane in timeline.lanes:
        found += [(lane, course, told) for course in lane.courses for told in course.told]
        found += [(lane, None, truth) for truth in lane.truth or () if truth.outcome == "missed"]
    cards: list[Card] = []
    places: dict[tuple[str, float, str], str] = {}
    for number, (lane, course, one) in enumerate(sorted(found, key=lambda each: (each[2].start_s, each[0].behavior)), 1):
        name = f"{key}-e{number}"
        cards.append(_of(one, lane, timeline, name, false))
        if course is not None:
            places[lane.behavior, moment(one.start_s), course.name] = name
    return cards, places


def _of(one: Told | Truth, lane: Lane, timeline: Timeline, key: str, false: str) -> Card:
    length_s = timeline.length_s
    if isinstance(one, Truth):
        when, badge, mood = span(one, length_s), "missed", "bad"
        lines: tuple[str, ...] = ("true, and not told",)
    else:
        when, lines = span(one, length_s), tuple(_lines(one, lane, length_s))
        badge, mood = {None: ("", ""), True: (false, "bad"), False: ("right", "good")}[one.is_false]
    return Card(key, timeline.video, timeline.camera, lane.behavior, one.start_s, when, badge, mood, lines)


def _lines(told: Told, lane: Lane, length_s: float) -> Iterable[str]:
    score = "" if told.score is None else f", P(yes) {told.score:.2f}"
    yield f"told {clock(told.at_s, length_s, 1)}{score}"
    end_s = length_s if told.end_s is None else told.end_s
    for one in lane.truth or ():
        if told.start_s < one.end_s and one.start_s < end_s:
            yield f"true {span(one, length_s)}"
    if told.reason not in {None, _REASON}:
        yield f"ended by {told.reason}"


def _card(card: Card, pictures: Pictures | None) -> Html:
    said = [tag("strong", card.behavior), *([tag("b", card.badge, class_=f"badge {card.mood}".strip())] if card.badge else [])]
    lines: Sequence[Html] = [tag("span", line) for line in card.lines]
    caption = tag("figcaption", tag("span", *said, class_="title"), tag("span", card.when, class_="when"), *lines)
    shown = None if pictures is None else pictures.get((card.video, moment(card.at_s)))
    if shown is None:
        return tag("li", tag("figure", caption), id=card.key)
    alt = f"{card.camera} at {clock(card.at_s, digits=1)}, where {card.behavior} begins"
    picture = tag("img", src=shown, alt=alt, decoding="async")
    return tag("li", tag("figure", picture, caption), id=card.key)
