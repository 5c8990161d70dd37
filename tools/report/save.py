"""Writes the page: of results that were read from files, or of what a command has just found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from tools.errors import CommandError
from tools.recordings import Recording
from tools.report.cards import Pictures
from tools.report.chapters import chapters, moments
from tools.report.page import page
from tools.report.results import Result, parse
from tools.report.thumbnails import take
from tools.screen import err


def save_report(path: Path, found: Mapping[str, Any], recordings: Sequence[Recording]) -> None:
    """Write the page of what one command has just found, as it writes it with --json.

    Raises:
        CommandError: a picture is not in the recordings, or the file cannot be written.
    """
    result = parse("what was found", dict(found))
    save_page("--report", path, [result], take(moments([result]), recordings))
    err.print(f"report: {escape(str(path))}", soft_wrap=True)


def save_page(option: str, path: Path, results: Sequence[Result], pictures: Pictures | None) -> None:
    """Write a page.

    Args:
        option: that named the file.
        path: the file.
        results: a chapter or more of each, in this order.
        pictures: where the events began; None without videos to take them from.

    Raises:
        CommandError: the file cannot be written.
    """
    try:
        text = page(chapters(results, pictures), has_pictures=pictures is not None)
        path.write_text(text, encoding="utf-8", errors="replace")  # a file's name may hold bytes that are no text
    except OSError as error:
        msg = f"{option} {path}: {error.strerror}"
        raise CommandError(msg) from error
