"""Takes the pictures that a page shows out of the videos."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.errors import CommandError
from tools.recordings import Recording, pictures_at
from tools.report.cards import Pictures
from tools.report.record import moment

_SIZE = (288, 216)
"""At most: sharp on a phone of two columns, and about 10 kB."""
_QUALITY = 72


def take(moments: Iterable[tuple[str, float]], recordings: Sequence[Recording]) -> Pictures:
    """Give the picture at each moment.

    Args:
        moments: video and seconds from its start.
        recordings: whose cameras are the videos' names.

    Raises:
        CommandError: a video is not among them, cannot be read, or ends before such a moment.
    """
    wanted: dict[str, set[float]] = defaultdict(set)
    for video, at_s in moments:
        wanted[video].add(moment(at_s))
    files = {recording.camera: recording for recording in recordings}
    taken: dict[tuple[str, float], str] = {}
    for video, times_s in wanted.items():
        for at_s, picture in _of_video(video, times_s, files):
            taken[video, at_s] = encoded(picture)
    return taken


def encoded(picture_HW3: NDArray[np.uint8]) -> str:
    """Give a small JPEG of an RGB picture as a data URI."""
    picture, file = Image.fromarray(picture_HW3), BytesIO()
    picture.thumbnail(_SIZE)
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _of_video(video: str, times_s: set[float], files: Mapping[str, Recording]) -> list[tuple[float, NDArray[np.uint8]]]:
    recording = files.get(video)
    if recording is None:
        msg = f"no video is of {video}: give it as {video}=FILE (there are: {', '.join(sorted(files)) or 'none'})"
        raise CommandError(msg)
    problems: list[str] = []
    found = list(pictures_at(replace(recording, start_s=0.0, shift_s=0.0), times_s, problems.append))
    if problems:
        raise CommandError(problems[0])
    if missing := sorted(times_s - {at_s for at_s, _ in found}):
        msg = f"{recording.name} shows nothing at {missing[0]:.1f} s, where an event of {video} began: it is another video"
        raise CommandError(msg)
    return found
