"""A camera's numbered pictures as payloads: stills, closed segments, or access units of one running encoder.

The encoders are set to look ahead little and to use one thread: a picture leaves soon, and many cameras share a core.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.chaos import pictures
from tools.chaos.truth import Camera, Form

SEGMENT_S = 1
"""Length of a segment, unless its pictures' times break off before."""
TIME_BASE = Fraction(1, 90_000)
"""Of access units, as RFC 6184 (5.1) has it."""

_JPEG_QUALITY = 85
_X264 = "scenecut=0:b-adapt=0:b-pyramid=normal:rc-lookahead=0:sync-lookahead=0:threads=1:open-gop=0"
_X265 = "scenecut=0:b-adapt=0:rc-lookahead=4:frame-threads=1:pools=none:open-gop=0:log-level=none"


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of one record."""

    first: int
    """Number of its first picture."""
    frames: int
    data: bytes
    keyframe: bool | None = None
    """Of an access unit; None for what stands alone."""


class Encoder(Protocol):
    """Takes a camera's pictures one after the other."""

    def feed(self, n: int) -> Sequence[Payload]:
        """Take the next picture; give what is ready."""
        ...

    def flush(self) -> Sequence[Payload]:
        """Give the rest; nothing is taken after it."""
        ...


def encoder(camera: Camera) -> Encoder:
    """Make the encoder of a camera's form."""
    match camera.form:
        case Form.PNG | Form.JPEG:
            return _Stills(camera)
        case Form.SEGMENTS:
            return _Segments(camera)
        case Form.H264 | Form.H265:
            return _Units(camera)


def _drawn(camera: Camera, n: int) -> NDArray[np.uint8]:
    return pictures.draw(pictures.Carried(camera.number, n, camera.codes(n)), *camera.size)


class _Stills:
    def __init__(self, camera: Camera) -> None:
        self._camera = camera

    def feed(self, n: int) -> Sequence[Payload]:
        file, picture = BytesIO(), Image.fromarray(_drawn(self._camera, n))
        if self._camera.form is Form.PNG:
            picture.save(file, "PNG", compress_level=1)
        else:
            picture.save(file, "JPEG", quality=_JPEG_QUALITY)
        return (Payload(n, 1, file.getvalue()),)

    def flush(self) -> Sequence[Payload]:
        return ()


class _Segments:
    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._held: list[int] = []

    def feed(self, n: int) -> Sequence[Payload]:
        camera = self._camera
        ready: list[Payload] = []
        if self._held and camera.shift_us(n) != camera.shift_us(self._held[0]):
            ready += self.flush()
        self._held.append(n)
        if len(self._held) == SEGMENT_S * camera.fps:
            ready += self.flush()
        return ready

    def flush(self) -> Sequence[Payload]:
        if not self._held:
            return ()
        numbers, self._held = self._held, []
        file = BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=self._camera.fps)
            _set(stream.codec_context, self._camera, gop=len(numbers))
            for place, n in enumerate(numbers):
                container.mux(stream.encode(_frame(_drawn(self._camera, n), place)))
            container.mux(stream.encode())
        return (Payload(numbers[0], len(numbers), file.getvalue()),)


class _Units:
    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._encoder = av.CodecContext.create("libx264" if camera.form is Form.H264 else "libx265", "w")
        _set(self._encoder, camera, gop=camera.gop)

    def feed(self, n: int) -> Sequence[Payload]:
        return self._payloads(_frame(_drawn(self._camera, n), n))

    def flush(self) -> Sequence[Payload]:
        return self._payloads(None)

    def _payloads(self, frame: av.VideoFrame | None) -> Sequence[Payload]:
        packets = self._encoder.encode(frame)
        return [Payload(_number(packet), 1, bytes(packet), packet.is_keyframe) for packet in packets]


def _set(context: av.VideoCodecContext, camera: Camera, gop: int) -> None:
    """Set an encoder up: closed groups of exactly this length, and no header outside the stream (Annex B with SPS and PPS)."""
    context.width, context.height = camera.size
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, camera.fps)
    context.framerate = Fraction(camera.fps)
    shape = f"keyint={gop}:min-keyint={gop}:bframes={camera.b_frames}"
    is_h265 = camera.form is Form.H265
    context.options = {
        "preset": "ultrafast" if is_h265 else "veryfast",
        "crf": "20",
        "x265-params" if is_h265 else "x264-params": f"{shape}:{_X265 if is_h265 else _X264}",
    }


def _frame(pixels: NDArray[np.uint8], pts: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts = pts
    return frame


def _number(packet: "av.Packet[av.VideoStream]") -> int:
    assert packet.pts is not None
    return packet.pts
