"""Reads what truly happens in recorded videos: a CSV or JSON file of stretches, each of one behaviour in one video.

CSV: a header `video,behavior,start_s,end_s` and a line per stretch. JSON: a list of objects with these four keys. `video` is the
camera's name, the file's name or its path, as given or from the truth file's folder; times count from the video's start, and
`end_s` is the first moment without the behaviour. A video that no line names shows none of the behaviours.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from tools.errors import CommandError
from tools.scenes.script import Episode
from tools.scenes.truth_table import COLUMNS

_SLACK_S = 0.5
"""How far past the end a stretch may reach: people round, containers round their duration."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video that is judged."""

    camera: str
    path: str
    length_s: float | None
    """None where the file does not tell."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the file."""

    where: str
    """File and line, for messages."""
    video: str
    behavior: str
    start_s: float
    end_s: float


def read_truth(path: Path, videos: Sequence[Video], behaviors: Sequence[str]) -> dict[str, tuple[Episode, ...]]:
    """Read a truth file.

    Args:
        path: ends in .csv or .json.
        videos: those that are judged.
        behaviors: those that are asked.

    Returns:
        What happens in each video, by camera, in order of time; none for a video that the file does not name.

    Raises:
        CommandError: naming file, line and remedy: it cannot be read, names a video or behaviour that there is not, or a stretch
            that is empty, lies past its video's end or overlaps another one of the same behaviour.
    """
    lines: dict[tuple[str, str], list[_Line]] = defaultdict(list)
    for line in _lines(path):
        video = _video_of(line, videos, path.parent)
        _check(line, video, behaviors)
        lines[video.camera, line.behavior].append(line)
    truth: dict[str, list[Episode]] = {video.camera: [] for video in videos}
    for (camera, behavior), stretches in lines.items():
        stretches.sort(key=lambda line: (line.start_s, line.end_s))
        for earlier, later in pairwise(stretches):
            if later.start_s < earlier.end_s:
                msg = (
                    f"{later.where}: {behavior} from {later.start_s:g} s overlaps the stretch that ends at {earlier.end_s:g} s "
                    f"({earlier.where}): join them to one, or part them"
                )
                raise CommandError(msg)
        truth[camera] += (Episode(behavior, line.start_s, line.end_s) for line in stretches)
    return {camera: tuple(sorted(found, key=lambda one: (one.start_s, one.behavior))) for camera, found in truth.items()}


def _lines(path: Path) -> Iterator[_Line]:
    if path.suffix.lower() not in {".csv", ".json"}:
        msg = f"truth file {path}: give a file that ends in .csv or .json"
        raise CommandError(msg)
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        msg = f"truth file {path}: {getattr(error, 'strerror', None) or error}"
        raise CommandError(msg) from error
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
    for where, row in rows:
        yield _parsed(where, row)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        msg = f"{path}, line 1: no column {missing[0]!r}: begin the file with {','.join(COLUMNS)}"
        raise CommandError(msg)
    for row in reader:
        yield f"{path}, line {reader.line_num}", row


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        msg = f"{path} is no JSON: {error}"
        raise CommandError(msg) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"{path}: give a list of objects with the keys {', '.join(COLUMNS)}"
        raise CommandError(msg)
    for number, row in enumerate(rows, 1):
        yield f"{path}, entry {number}", row


def _parsed(where: str, row: Mapping[str, Any]) -> _Line:
    missing = [name for name in COLUMNS if row.get(name) in {None, ""}]
    if missing:
        msg = f"{where}: {missing[0]} is missing: give {', '.join(COLUMNS)}"
        raise CommandError(msg)
    try:
        start_s, end_s = float(row["start_s"]), float(row["end_s"])
    except (TypeError, ValueError) as error:
        msg = f"{where}: {error}: give start_s and end_s in seconds from the video's start, such as 12.5"
        raise CommandError(msg) from error
    return _Line(where, str(row["video"]).strip(), str(row["behavior"]).strip(), start_s, end_s)


def _video_of(line: _Line, videos: Sequence[Video], folder: Path) -> Video:
    def names(video: Video) -> set[str]:
        path = Path(video.path)
        return {video.camera, video.path, path.name, path.stem}

    found = [video for video in videos if line.video in names(video) or folder / line.video == Path(video.path)]
    exact = [video for video in found if line.video == video.camera or folder / line.video == Path(video.path)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    what = f"{len(found)} videos are called {line.video!r}" if found else f"no video is called {line.video!r}"
    cameras = ", ".join(video.camera for video in videos)
    msg = f"{line.where}: {what}: name one of the cameras {cameras}, or the file's path"
    raise CommandError(msg)


def _check(line: _Line, video: Video, behaviors: Sequence[str]) -> None:
    if line.behavior not in behaviors:
        close = get_close_matches(line.behavior, behaviors, 1)
        hint = f"do you mean {close[0]!r}?" if close else f"asked are {', '.join(behaviors)}"
        msg = f"{line.where}: nobody asks for behavior {line.behavior!r}: {hint}"
        raise CommandError(msg)
    if not 0 <= line.start_s < line.end_s < float("inf"):
        msg = f"{line.where}: from {line.start_s:g} s to {line.end_s:g} s is no stretch: need 0 <= start_s < end_s"
        raise CommandError(msg)
    if video.length_s is not None and line.end_s > video.length_s + _SLACK_S:
        msg = f"{line.where}: end_s = {line.end_s:g} lies past the end of {video.camera}, which lasts {video.length_s:g} s"
        raise CommandError(msg)
