"""Small videos made on the spot: a box that moves over a patterned wall, so that no two pictures are alike."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from numpy.typing import NDArray

from stream.types import FramePacket, Position

T0_S = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""

MUXERS = {"video/mp4": "mp4", "video/mp2t": "mpegts", "video/x-matroska": "matroska"}


@dataclass(frozen=True, slots=True)
class Video:
    """How a video is made."""

    frames: int = 30
    gop: int = 15
    width: int = 160
    height: int = 120
    fps: Fraction = Fraction(30)
    codec: str = "libx264"
    muxer: str = "mp4"
    codec_options: dict[str, str] = field(default_factory=dict)
    muxer_options: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    times_ms: Sequence[int] = ()
    """Timestamps of a variable frame rate."""
    turned: int = 0
    """Degrees in the container's display matrix."""


def scene(video: Video) -> Iterator[NDArray[np.uint8]]:
    """Its pictures before encoding, uint8 (H, W, 3)."""
    rng = np.random.default_rng(7)
    wall = np.kron(rng.integers(40, 216, (video.height // 8 + 1, video.width // 8 + 1, 3)), np.ones((8, 8, 1)))
    wall = wall[: video.height, : video.width].astype(np.uint8)
    for number in range(video.frames):
        picture = wall.copy()
        left = (number * 5) % max(1, video.width - 32)
        picture[16:48, left : left + 32] = (255, 8 * number % 256, 0)
        yield picture


def write(path: Path, video: Video = Video()) -> Path:
    """Encode a video to a file."""
    with av.open(str(path), "w", format=video.muxer, options=video.muxer_options) as container:
        container.metadata.update(video.metadata)
        stream = container.add_stream(video.codec, rate=video.fps)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
        stream.gop_size = video.gop
        stream.codec_context.options = {"threads": "1", **video.codec_options}
        if video.times_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        if video.turned:
            stream.set_display_rotation(video.turned)
        for number, picture in enumerate(scene(video)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if video.times_ms:
                frame.pts, frame.time_base = video.times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encoded(video: Video = Video()) -> bytes:
    """Encode a video."""
    with TemporaryDirectory() as folder:
        return write(Path(folder) / "video", video).read_bytes()


def from_packet(payload: bytes, muxer: str, first: int, earlier: int = 0) -> bytes:
    """The same video without its first packets, in the same container, with timestamps that many ticks earlier."""
    out = io.BytesIO()
    with av.open(io.BytesIO(payload), "r", format=muxer) as source, av.open(out, "w", format=muxer) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for part in list(source.demux(video=0))[first:-1]:
            part.stream, part.pts, part.dts = stream, part.pts - earlier, part.dts - earlier
            target.mux(part)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as a plain player shows it."""

    after_s: Fraction
    """Seconds after the first."""
    rgb: NDArray[np.uint8]


def play(file: Path) -> list[Seen]:
    """Decode a whole file in presentation order."""
    with av.open(str(file)) as container:
        frames = list(container.decode(video=0))
        base = container.streams.video[0].time_base
        return [Seen((frame.pts - frames[0].pts) * base, frame.to_ndarray(format="rgb24")) for frame in frames]


def packet(payload: bytes, content_type: str, captured_at_s: float = T0_S) -> FramePacket:
    """A usable record with this payload."""
    return FramePacket(Position("frames", 0, 5), "den", captured_at_s, content_type, payload, None, None, None, captured_at_s)
