"""What a command shows: progress and sentences on standard error, figures on standard output or as JSON."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tools.errors import CommandError

err = Console(stderr=True, highlight=False)
"""Progress, notices and errors: never mixed into what a pipe reads."""

out = Console(highlight=False)
"""Tables and results for a person."""


def progress_bar() -> Progress:
    """A bar for work over 2 s; it leaves no trace when it is done."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err, transient=True
    )


_NUMBERS = re.compile(r"\[\n\s+(-?\d[^][{}\"]*?)\n\s+\]")
"""A list of numbers with each on a line of its own; no text of a JSON document holds a line break."""


@contextmanager
def steps_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for work that tells its steps: what is being done, steps done, steps in all."""
    with progress_bar() as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def write_json(target: str, value: Any) -> None:
    """Write `value` as one JSON document to the file `target`, or to standard output for `-`; lists of numbers as one line each.

    Raises:
        CommandError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    _write(target, _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")


def write_json_lines(target: str, values: Iterable[Any]) -> None:
    """Write one JSON document a line to the file `target`, or to standard output for `-`.

    Raises:
        CommandError: the file cannot be written.
    """
    _write(target, "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def _write(target: str, text: str) -> None:
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"--json {target}: {error.strerror}"
        raise CommandError(msg) from error


def event_line(event: Mapping[str, Any]) -> Text:
    """One alert as one line for a person."""
    data, kind = event["data"], event["type"].rsplit(".", 1)[-1]
    line = Text.assemble((data["at"][11:21], "dim"), "  ", f"{data['camera']:<14}")
    if "behavior" not in data:
        return line.append(f"camera {kind}", style="blue")
    line.append_text(behavior_text(f"{data['behavior']} {kind}", data["severity"]))
    if kind == "ended":
        line.append(f"  after {data['duration_s']:.1f} s ({data['reason']})", style="dim")
    elif data["score"] is not None:
        line.append(f"  P(yes) {data['score']:.2f}", style="dim")
    return line


def behavior_text(text: str, severity: str) -> Text:
    """A behaviour in the colour of its severity."""
    return Text(text, style="yellow" if severity == "warning" else "green")
