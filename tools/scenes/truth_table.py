"""What happens in many videos as one CSV file, as `evaluate` reads it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.scenes.script import Episode

COLUMNS = ("video", "behavior", "start_s", "end_s")


def write_table(path: Path, truth: Mapping[str, Sequence[Episode]]) -> None:
    """Write a line for each episode; `truth` by the video's path from the table's folder."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((video, one.behavior, one.start_s, one.end_s) for video, found in truth.items() for one in found)
