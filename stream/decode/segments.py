"""Video segments (MP4, MPEG-TS, Matroska) with FFmpeg: from memory, limits first, keyframes only where they suffice.

A segment stands alone: it begins with a keyframe, and pictures that would need the segment before (the leading pictures of an
open group, shown before that keyframe) are left out. The capture time in the record is that of the keyframe; every picture's
follows from the difference of timestamps, in exact fractions. A rotation by quarter turns in the container is applied, as with
stills; edit lists are not, as only differences of timestamps count.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.preprocess import fit
from stream.clock import event_time
from stream.decode.request import (
    Admit,
    Decoded,
    DecodeLimits,
    DecodeRequest,
    Fault,
    Picture,
    blaming_the_record,
    check_dimensions,
    refuse,
)
from stream.decode.rgb import rgb
from stream.decode.truncation import cut_short
from stream.types import FramePacket

FORMATS: Mapping[str, str] = {"video/mp4": "mp4", "video/mp2t": "mpegts", "video/x-matroska": "matroska"}
"""FFmpeg's demuxer of each content type, named so that the bytes cannot choose another (a playlist, a network stream)."""

VideoPacket: TypeAlias = "av.Packet[av.VideoStream]"


@dataclass(frozen=True, slots=True)
class Shown:
    """A decoded picture, not yet converted."""

    index: int
    """Place among all pictures of the segment, in presentation order."""
    captured_at_s: float
    frame: av.VideoFrame

    def rgb(self, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        """Convert to uint8 (H, W, 3) RGB, upright."""
        return rgb(self.frame, reformatter)


@dataclass(frozen=True, slots=True)
class Segment:
    """An open segment: its packets are read, none is decoded."""

    stream: av.VideoStream
    packets: Sequence[VideoPacket]
    """In decoding order, the keyframe first; without the leading pictures of an open group."""
    left_out: int
    """How many leading pictures there were."""
    captured_at_s: float
    limits: DecodeLimits

    def needed(self, interval_s: float) -> Sequence[VideoPacket]:
        """Give the packets to decode: the keyframes alone if no stretch without one, up to the end, is over the interval.

        They make a segment of their own: an other picture's packet would only be parsed and thrown away (libav `skip_frame`).
        """
        assert self.stream.time_base is not None
        if any(packet.pts is None for packet in self.packets):
            return self.packets
        keyframes = [packet for packet in self.packets if packet.is_keyframe]
        marks: list[Fraction | int] = [
            *sorted(packet.pts for packet in keyframes if packet.pts is not None),
            ends_at(self.packets),
        ]
        longest_s = max(later - earlier for earlier, later in pairwise(marks)) * Fraction(self.stream.time_base)
        return keyframes if event_time(float(longest_s)) <= event_time(interval_s) else self.packets

    def pictures(self, packets: Sequence[VideoPacket]) -> Iterator[Shown]:
        """Decode packets of this segment; call once.

        Raises:
            UnusableRecord: a picture is damaged or has no time, or there is none.
        """
        decoder = self.stream.codec_context
        decoder.thread_count = 1  # the worker decodes cameras side by side
        decoder.options = _decoder_limit(self.limits)  # the size may change on the way
        if (
            decoder.codec.canonical_name != "h264"
        ):  # H.264's flags damaged frames by itself; as an error it also refuses recovery points
            decoder.options |= {"err_detect": "explode"}
        order = sorted(packet.pts for packet in self.packets if packet.pts is not None)
        index = -1
        for packet in (*packets, None):
            with blaming_the_record(Fault.CORRUPT, "damaged video"):
                frames = decoder.decode(packet)
            for frame in frames:
                if frame.is_corrupt:
                    raise refuse(Fault.CORRUPT, f"damaged video: picture {index + 1} has errors")
                captured_at_s = self._captured_at_s(frame)
                index = max(index + 1, bisect_left(order, frame.pts or 0))
                yield Shown(index, captured_at_s, frame)
        if index < 0:
            raise refuse(Fault.NO_PICTURE, "no picture can be decoded")

    def _captured_at_s(self, frame: av.VideoFrame) -> float:
        """Event time of a picture; one whose time does not advance is the camera's clock to judge."""
        first, time_base = self.packets[0].pts, self.stream.time_base
        assert first is not None
        assert time_base is not None
        if frame.pts is None:
            raise refuse(Fault.NO_PTS, "a picture has no timestamp")
        after_s = (frame.pts - first) * time_base
        if not 0 <= after_s <= self.limits.max_segment_s:
            span = f"allowed are 0 to {self.limits.max_segment_s:g} s"
            raise refuse(Fault.TOO_LONG, f"a picture lies {float(after_s):g} s after the first, {span}")
        return event_time(float(Fraction(self.captured_at_s) + after_s))


def decode(packet: FramePacket, request: DecodeRequest, admit: Admit) -> Decoded:
    """Decode a segment, or its keyframes only; converts and resizes what is admitted."""
    pictures: list[Picture] = []
    decoded = 0
    reformatter = VideoReformatter()
    with opened(packet, request.limits) as segment:
        needed = segment.needed(request.interval_s)
        for shown in segment.pictures(needed):
            decoded += 1
            if admit(shown.captured_at_s):
                pixels = fit(shown.rgb(reformatter), request.size)
                pictures.append(Picture(shown.index, shown.captured_at_s, pixels))
        skipped = segment.left_out + len(segment.packets) - len(needed)
    return Decoded(tuple(pictures), decoded, skipped)


def ends_at(packets: Sequence[VideoPacket]) -> Fraction:
    """Give the end of the last shown picture, in the packets' time base; its duration is guessed if the container has none."""
    times = [packet.pts for packet in packets if packet.pts is not None]
    usual_step = Fraction(max(times) - min(times), max(1, len(times) - 1))
    longest = max(packet.duration or 0 for packet in packets)
    return max(times) + (Fraction(longest) if longest else usual_step)


@contextmanager
def opened(packet: FramePacket, limits: DecodeLimits) -> Iterator[Segment]:
    """Open a segment and read its packets.

    Raises:
        UnusableRecord: it is broken, over a limit, or does not begin with a keyframe.
    """
    file = BytesIO(packet.payload)
    if cut_short(file):
        raise refuse(Fault.TRUNCATED, f"{packet.content_type} of {len(packet.payload)} bytes ends before its declared end")
    file.seek(0)
    options = {"ignore_editlist": "1", **_decoder_limit(limits)}  # probing decodes a picture, too
    with blaming_the_record(Fault.UNREADABLE, f"not {packet.content_type}"):
        container = av.open(file, mode="r", format=FORMATS[packet.content_type], options=options)
    with container:
        yield _read(container, packet, limits)


def _read(container: InputContainer, packet: FramePacket, limits: DecodeLimits) -> Segment:
    """Take the packets of the first video stream."""
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        raise refuse(Fault.NO_VIDEO, f"no video that can be decoded in {packet.content_type}")
    check_dimensions(stream.codec_context.width, stream.codec_context.height, limits)
    packets: list[VideoPacket] = []
    with blaming_the_record(Fault.CORRUPT, packet.content_type):
        for part in container.demux(stream):
            if part.is_corrupt:
                raise refuse(Fault.TRUNCATED, f"picture {len(packets)} of the segment is incomplete")
            if part.size:  # the demuxer ends with an empty packet
                packets.append(part)
            if len(packets) > limits.max_frames_per_segment:
                break
    if len(packets) > limits.max_frames_per_segment:
        raise refuse(Fault.TOO_MANY_FRAMES, f"more than {limits.max_frames_per_segment} pictures: cut shorter segments")
    if not packets or not packets[0].is_keyframe:
        raise refuse(Fault.NO_KEYFRAME, "the segment does not begin with a keyframe: cut it at one")
    first = packets[0].pts
    if first is None:
        raise refuse(Fault.NO_PTS, "the first picture has no timestamp")
    standing = [part for part in packets if part.pts is None or part.pts >= first]
    return Segment(stream, standing, len(packets) - len(standing), packet.captured_at_s, limits)


def _decoder_limit(limits: DecodeLimits) -> dict[str, str]:
    """FFmpeg's own guard: coarser than ours, as it counts the padding to whole blocks."""
    return {"max_pixels": str(2 * limits.max_pixels)}
