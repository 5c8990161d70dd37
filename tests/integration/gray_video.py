"""Videos of plain grey pictures, made on the spot, as a segment or as access units: each is told by its brightness."""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import numpy as np

SIDE = 32


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit, in decoding order."""

    payload: bytes
    shown: int
    """Number of its picture in order of presentation."""
    keyframe: bool


@cache
def segment(levels: tuple[int, ...], fps: Fraction) -> bytes:
    """Encode an MP4 of these brightnesses, 0 to 255, with one keyframe."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.gop_size = "yuv420p", len(levels) + 1
        stream.codec_context.options = {"threads": "1", "bf": "0", "qp": "10"}
        for level in levels:
            container.mux(stream.encode(_picture(level)))
        container.mux(stream.encode())
    return file.getvalue()


@cache
def units(levels: tuple[int, ...], codec: str = "libx264", gop: int = 8, b_frames: int = 2) -> tuple[Unit, ...]:
    """Encode access units of these brightnesses (Annex B, parameter sets in the keyframes)."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = SIDE
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 1000), Fraction(2)
    context.gop_size = gop
    context.options = {"threads": "1", "bf": str(b_frames), "qp": "10", "b_strategy": "0", "sc_threshold": "0"}
    packets = []
    for number, level in enumerate(levels):
        picture = _picture(level)
        picture.pts, picture.time_base = number * 500, Fraction(1, 1000)
        packets += context.encode(picture)
    packets += context.encode(None)
    return tuple(Unit(bytes(packet), (packet.pts or 0) // 500, packet.is_keyframe) for packet in packets)


def _picture(level: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), level, np.uint8), format="rgb24")
