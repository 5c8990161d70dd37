"""Charts that are right at every width, light and dark: lines in an SVG that stretches, words beside it that do not. Pure.

Colours are the style sheet's variables; marks keep their shape since strokes do not scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

from tools.report.histogram import nice_step
from tools.report.markup import Html, tag
from tools.report.record import Histogram

WIDTH, HEIGHT = 1000, 100
"""Of the coordinates inside; stretched to whatever there is."""
_TICKS = 4
_NEARLY = 1e-6


@dataclass(frozen=True, slots=True)
class Tick:
    """A word at a place on an axis."""

    share: float
    """From 0, left or below, to 1."""
    word: str


@dataclass(frozen=True, slots=True)
class Axes:
    """What stands around a chart."""

    across: Sequence[Tick]
    across_title: str
    up: Sequence[Tick]
    up_title: str
    turned: bool = False
    """Words below stand upright: there are many."""


def plot(axes: Axes, words: str, *marks: str) -> Html:
    """Give a chart; `words` say what it shows to those who cannot see it."""
    lines = (tag("line", x1=0, x2=WIDTH, y1=y(tick.share), y2=y(tick.share), class_="grid") for tick in axes.up)
    box = f"0 0 {WIDTH} {HEIGHT}"
    picture = tag("svg", *lines, *marks, viewBox=box, preserveAspectRatio="none", role="img", aria_label=words)
    return tag(
        "div",
        tag("p", axes.up_title, class_="up-title", aria_hidden="true"),
        tag("div", *(_word(tick, "bottom") for tick in axes.up), class_="up", aria_hidden="true"),
        picture,
        tag(
            "div",
            *(_word(tick, "left") for tick in axes.across),
            class_="across turned" if axes.turned else "across",
            aria_hidden="true",
        ),
        tag("p", axes.across_title, class_="across-title", aria_hidden="true"),
        class_="plot",
    )


def x(share: float) -> float:
    """Give a place across."""
    return round(share * WIDTH, 1)


def y(share: float) -> float:
    """Give a place up."""
    return round((1 - share) * HEIGHT, 1)


def bar(left: float, right: float, height: float, kind: str) -> Html:
    """Give a bar that stands on the ground; shares of the chart."""
    return tag(
        "rect", x=x(left), y=y(height), width=round(x(right) - x(left), 1), height=round(HEIGHT - y(height), 1), class_=kind
    )


def dots(places: Sequence[tuple[float, float]], kind: str) -> Html:
    """Give marks, each a line of no length with round ends: a circle would be stretched."""
    return tag("path", d="".join(f"M{x(across)} {y(up)}h0" for across, up in places), class_=f"dots {kind}")


def line(places: Sequence[tuple[float, float]], kind: str) -> Html:
    """Give a line through places; shares of the chart."""
    return tag("polyline", points=" ".join(f"{x(across)},{y(up)}" for across, up in places), class_=kind)


def scale(highest: float) -> tuple[float, list[Tick]]:
    """Give what an axis from 0 ends at, and its ticks."""
    step = nice_step(highest, _TICKS)
    count = max(1, -(-highest // step))
    return count * step, [Tick(place / count, f"{place * step:g}") for place in range(int(count) + 1)]


def spread(shown: Histogram) -> Html:
    """Draw a histogram."""
    top, up = scale(max(shown.bins))
    count = len(shown.bins)
    across = _rounds(shown.first_s, count * shown.step_s)
    bars = (bar((place + 0.06) / count, (place + 0.94) / count, held / top, "bar") for place, held in enumerate(shown.bins))
    figures = f"p50 {seconds(shown.p50_s)}, p95 {seconds(shown.p95_s)}, p99 {seconds(shown.p99_s)}"
    drawn = plot(Axes(across, "seconds", up, "how many"), f"Histogram. {shown.what}: {shown.count} values, {figures}.", *bars)
    told = tag("figcaption", tag("strong", shown.what), tag("span", f"{shown.count} values: {figures}"))
    return tag("figure", told, drawn, class_="spread")


def _rounds(first: float, span: float) -> list[Tick]:
    """Give the round numbers on an axis that need not begin at one."""
    step = nice_step(span, _TICKS + 2)
    begins, ends = ceil(first / step - _NEARLY), floor((first + span) / step + _NEARLY)
    return [Tick((place * step - first) / span, f"{place * step:.4g}") for place in range(begins, ends + 1)]


def seconds(value_s: float) -> str:
    """Give a length of time with three digits, in milliseconds under a tenth of a second."""
    return f"{value_s * 1000:.3g} ms" if 0 < abs(value_s) < 0.1 else f"{value_s:.3g} s"  # noqa: PLR2004  (0.05 s is harder to read)


def _word(tick: Tick, side: str) -> Html:
    return tag("span", tick.word, style=f"{side}:{tick.share * 100:.2f}%")
