"""The page: one file that asks nothing of any network, needs no script, and is readable on a phone, light or dark. Pure."""

from collections.abc import Sequence
from pathlib import Path

from tools.report.chapters import Chapter
from tools.report.markup import Html, joined, tag

_STYLE = Path(__file__).with_name("style.css")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Has the browser refuse whatever is not in the file, whoever wrote it."""


def page(shown: Sequence[Chapter], *, has_pictures: bool) -> Html:
    """Give the whole document."""
    title = f"Pawsight: {', '.join(chapter.title for chapter in shown)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(_STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        tag("header", tag("h1", "Pawsight report"), *_contents(shown)),
        tag("main", *map(_chapter, shown)),
        _foot(has_pictures=has_pictures),
    )
    return joined([Html("<!DOCTYPE html>\n"), tag("html", head, body, lang="en"), "\n"])


def _contents(shown: Sequence[Chapter]) -> list[Html]:
    """Links to the chapters, where there are several."""
    if len(shown) == 1:
        return []
    links = (tag("li", tag("a", chapter.title, href=f"#{chapter.key}")) for chapter in shown)
    return [tag("nav", tag("ul", *links), aria_label="Contents")]


def _chapter(chapter: Chapter) -> Html:
    return tag("article", tag("h2", chapter.title), chapter.body, id=chapter.key)


def _foot(*, has_pictures: bool) -> Html:
    words = "Times in a recording count from its start. This file is complete in itself: it asks nothing of any network."
    if not has_pictures:
        words += " Pictures of where events began are left out: tools/run report takes them from --videos."
    return tag("footer", tag("p", words))
