"""HTML by calls: every text is escaped on its way in, so that a camera called `<script>` is a name and nothing else. Pure."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup that is right as it is; any other `str` is text."""

    __slots__ = ()


Attribute: TypeAlias = str | float | bool | None
"""True stands without a value; False and None do not stand at all."""

_VOID = frozenset({"img", "link", "meta"})
"""Elements of HTML that have no end."""
_SHAPES = frozenset({"line", "path", "polyline", "rect"})
"""Elements of SVG that may close themselves."""


def tag(name: str, /, *inside: str, **attributes: Attribute) -> Html:
    """Give an element; `class_` and `aria_label` are the attributes class and aria-label."""
    said = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{said}>")
    if name in _SHAPES and not inside:
        return Html(f"<{name}{said}/>")
    return Html(f"<{name}{said}>{joined(inside)}</{name}>")


def joined(parts: Iterable[str]) -> Html:
    """Put parts one after the other."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """Give a table whose first column names its rows; one that is too wide for a screen scrolls by itself."""
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = (tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows)
    whole = tag("table", tag("thead", head), tag("tbody", *body), aria_label=caption)
    # the name stands outside of what scrolls, and what scrolls can be reached without a mouse
    scrolling = tag("div", whole, class_="wide", role="region", aria_label=caption, tabindex="0")
    return tag("figure", tag("figcaption", caption), scrolling, class_="figures")


def facts(rows: Iterable[tuple[str, str]]) -> Html:
    """Give names with what they are."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows), class_="facts")


def tiles(rows: Iterable[tuple[str, str, str]]) -> Html:
    """Give the figures that matter: a name, the figure, and `good`, `bad` or nothing for how to take it."""
    shown = (tag("div", tag("dt", name), tag("dd", value, class_=mood or None)) for name, value, mood in rows)
    return tag("dl", *shown, class_="tiles")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
