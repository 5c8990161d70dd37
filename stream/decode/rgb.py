"""A picture of FFmpeg's as RGB, upright."""

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from stream.decode.request import Fault, blaming_the_record

_QUARTER_TURN = 90


def rgb(frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """Convert to uint8 (H, W, 3) RGB, turned by the quarter turns that container or stream ask for.

    Raises:
        UnusableRecord: there is no way from its colours to RGB.
    """
    with blaming_the_record(Fault.CORRUPT, "colour conversion"):
        pixels = np.asarray(reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)
        turns, rest = divmod(frame.rotation, _QUARTER_TURN)
    return np.rot90(pixels, turns) if turns and not rest else pixels
