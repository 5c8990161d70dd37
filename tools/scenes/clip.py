"""One scene in motion as a camera sends it: pictures, and from them a closed group of H.264 in MP4, in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from io import BytesIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scenes.render import View, render
from tools.scenes.rooms import HEIGHT, WIDTH
from tools.scenes.sampling import sample, seeded
from tools.scenes.video import ENCODER


def shots(key: tuple[int, ...], size: tuple[int, int], count: int, fps: float) -> Iterator[NDArray[np.uint8]]:
    """Render a drawn scene so many times, RGB uint8 (height, width, 3): the dog moves, the camera's noise is new each time.

    Args:
        key: draws the scene.
        size: width and height; a shape other than 4:3 squeezes the picture.
        count: pictures.
        fps: pictures per second, for the motion.
    """
    width, height = size
    choices = seeded(*key)
    room, moment = sample(choices)
    view = View.of(room, max(1.0, width / WIDTH, height / HEIGHT), moment.door_open)
    for number in range(count):
        dog = None if moment.dog is None else replace(moment.dog, phase_s=moment.dog.phase_s + number / fps)
        picture = render(view, replace(moment, dog=dog), "", choices)
        yield np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def closed_group(pictures: Sequence[NDArray[np.uint8]], rate: Fraction) -> bytes:
    """Encode RGB pictures of even sides as one closed group, `rate` of them a second."""
    return h264(pictures, "rgb24", rate, ENCODER | {"g": str(len(pictures))})


def h264(pictures: Sequence[NDArray[np.uint8]], channels: str, rate: Fraction | int, options: dict[str, str]) -> bytes:
    """Encode pictures of even sides, whose channels are `rgb24` or `bgr24`, as MP4 with these options of libx264."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=channels)))
        container.mux(stream.encode())
    return file.getvalue()
