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
from tools.report.cards import Pictures, Wanted
from tools.report.record import moment

_SIZE = (288, 216)
"""At most: sharp on a phone of two columns, and about 10 kB."""
_QUALITY = 72


def take(wanted: Iterable[Wanted], recordings: Sequence[Recording]) -> Pictures:
    """Take pictures, each encoded before the next is decoded: a day's events are gigabytes of them.

    Args:
        wanted: which ones.
        recordings: whose cameras are the videos' names.

    Returns:
        All that were filmed.

    Raises:
        CommandError: a video is not among them, cannot be read, or shows nothing where an event began.
    """
    by_video: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        by_video[one.video].append(one)
    files = {recording.camera: recording for recording in recordings}
    taken: dict[tuple[str, float], str] = {}
    for video, own in by_video.items():
        taken |= {(video, at_s): picture for at_s, picture in _of_video(video, own, files).items()}
    return taken


def encoded(picture_HW3: NDArray[np.uint8]) -> str:
    """Give a small JPEG of an RGB picture as a data URI."""
    picture, file = Image.fromarray(picture_HW3), BytesIO()
    picture.thumbnail(_SIZE)
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _of_video(video: str, wanted: Sequence[Wanted], files: Mapping[str, Recording]) -> dict[float, str]:
    recording = files.get(video)
    if recording is None:
        msg = f"no video is of {video}: give it as {video}=FILE (there are: {', '.join(sorted(files)) or 'none'})"
        raise CommandError(msg)
    problems: list[str] = []
    times_s = {moment(one.at_s) for one in wanted}
    shown = pictures_at(replace(recording, start_s=0.0, shift_s=0.0), times_s, problems.append)
    taken = {at_s: encoded(picture) for at_s, picture in shown}
    if missing := sorted({moment(one.at_s) for one in wanted if one.is_told} - taken.keys()):
        nothing = f"{recording.name} shows nothing at {missing[0]:.1f} s, where an event of {video} began: it is another video"
        raise CommandError(problems[0] if problems else nothing)
    return taken
