"""The pictures that a recording shows at given times. Decodes only the segments that hold one of them."""

from collections.abc import Iterable, Iterator

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stream.decode import segments
from stream.errors import UnusableRecord
from tools.recordings.cuts import Cut, cuts, packet_of
from tools.recordings.reading import TRUSTED, OnProblem
from tools.recordings.sources import Recording

_SEGMENT_S = 2.0
_NEARLY_S = 0.001
"""What writing a time as text may have cost it."""


def pictures_at(
    recording: Recording, times_s: Iterable[float], on_problem: OnProblem
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Give each time with the first picture from there on, in order; in a segment's last moments with the picture still shown.

    A time in a hole of the recording has the picture behind it; one behind the recording's end has none, and is left out.

    Args:
        recording: a file.
        times_s: event time, as the recording's start is said.
        on_problem: hears what could not be read.

    Returns:
        Times with uint8 (H, W, 3) RGB, upright.
    """
    left = sorted(set(times_s))
    for cut in cuts(recording, _SEGMENT_S, on_problem):
        here = [at_s for at_s in left if at_s < cut.until_s - _NEARLY_S]
        if here:
            try:
                yield from _shown(cut, here)
            except UnusableRecord as error:
                on_problem(f"{recording.name}: {cut.until_s - cut.captured_at_s:.1f} s are left out: {error}")
        left = [at_s for at_s in left if at_s not in here]
        if not left:
            return


def _shown(cut: Cut, times_s: list[float]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    reformatter, left = VideoReformatter(), list(times_s)
    with segments.opened(packet_of(cut), TRUSTED) as segment:
        for shown in segment.pictures(segment.packets):
            last = shown
            if left and shown.captured_at_s + _NEARLY_S >= left[0]:
                picture = shown.rgb(reformatter)
                while left and shown.captured_at_s + _NEARLY_S >= left[0]:
                    yield left.pop(0), picture
        for at_s in left:  # after the last picture began
            yield at_s, last.rgb(reformatter)
