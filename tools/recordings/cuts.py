"""Cuts a video at keyframes into closed segments, without decoding or encoding anything.

The segments are MP4: its time scale can be the source's own, so that every timestamp stays exact (MPEG-TS has 1/90,000 s,
Matroska 1/1,000 s). Codecs that MP4 cannot hold go into Matroska, as VP8, whose home it is. Sound is left behind.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av

from stream.clock import event_time
from stream.decode import segments
from stream.decode.segments import VideoPacket
from stream.errors import UnusableRecord
from stream.types import FramePacket, Position
from tools.recordings.reading import TRUSTED, OnProblem, Reading, pts_of, read
from tools.recordings.sources import Recording

_MP4_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"})

_NEARLY = Fraction(95, 100)
"""A keyframe this close to the wished length cuts, too: with 29.97 frames per second or milliseconds none lies on it."""

_REPEATABLE = {"fflags": "+bitexact"}
"""No drawn numbers (Matroska's ids) and no library versions: whoever cuts again gets the same bytes."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One closed segment."""

    captured_at_s: float
    """Capture time of its first picture."""
    until_s: float
    """Event time at which its last picture ends."""
    frames: int
    content_type: str
    payload: bytes


class Cutter:
    """Says where a recording's segments begin: at the first keyframe after every `segment_s` seconds."""

    def __init__(self, reading: Reading, segment_s: float) -> None:
        """Begin before a recording's first packet, which is a keyframe."""
        self._least = Fraction(segment_s) * _NEARLY / reading.time_base
        self._first: int | None = None

    def begins_at(self, packet: VideoPacket) -> bool:
        """Tell whether a new segment begins with the next packet; time that jumps back cuts, too."""
        pts = pts_of(packet)
        if not packet.is_keyframe or (self._first is not None and 0 <= pts - self._first < self._least):
            return False
        self._first = pts
        return True


def cuts(recording: Recording, segment_s: float, on_problem: OnProblem) -> Iterator[Cut]:
    """Cut a recording at the first keyframe after every `segment_s` seconds.

    Pictures shown before the keyframe that they follow (an open group) need the segment before: they are left out.
    """
    return read(recording, on_problem, lambda reading: _cut(reading, segment_s))


def packet_of(cut: Cut) -> FramePacket:
    """Give a segment as the worker would see it."""
    nowhere = Position("", 0, 0)
    return FramePacket(nowhere, "", cut.captured_at_s, cut.content_type, cut.payload, None, None, None, cut.captured_at_s)


def _cut(reading: Reading, segment_s: float) -> Iterator[Cut]:
    for span, final in _spans(reading, Cutter(reading, segment_s)):
        captured_at_s = reading.captured_at_s(span[0])
        cut: Cut | None = _segment(span, reading, captured_at_s)
        if final and cut and not reading.live and not _decodable(cut):  # a picture that ends in the middle spoils no segment
            reading.damage = reading.damage or "the last picture is incomplete"
            cut = _segment(span[:-1], reading, captured_at_s) if len(span) > 1 else None
        if cut is not None:
            reading.until_s = cut.until_s
            yield cut


def _spans(packets: Iterable[VideoPacket], cutter: Cutter) -> Iterator[tuple[list[VideoPacket], bool]]:
    """Gather each segment's packets; the last ones are marked."""
    span: list[VideoPacket] = []
    for packet in packets:
        if cutter.begins_at(packet):
            if span:
                yield span, False
            span = [packet]
        elif pts_of(packet) >= pts_of(span[0]):
            span.append(packet)
    if span:
        yield span, True


def _segment(span: Sequence[VideoPacket], reading: Reading, captured_at_s: float) -> Cut:
    """Wrap packets into a file of their own, whose time begins with the keyframe."""
    content_type = "video/mp4" if reading.codec in _MP4_CODECS else "video/x-matroska"
    first, time_base = pts_of(span[0]), span[0].time_base
    length_s = (segments.ends_at(span) - first) * time_base
    file = BytesIO()
    with av.open(file, mode="w", format=segments.FORMATS[content_type], options=_REPEATABLE) as container:
        stream = container.add_stream_from_template(reading.stream)
        stream.time_base = reading.stream.time_base
        for packet, decode_at in zip(span, _decoding_times(span), strict=True):
            packet.stream, packet.pts, packet.dts = stream, pts_of(packet) - first, decode_at - first
            container.mux(packet)
    until_s = event_time(float(Fraction(captured_at_s) + length_s))
    return Cut(captured_at_s, until_s, len(span), content_type, file.getvalue())


def _decoding_times(span: Sequence[VideoPacket]) -> list[int]:
    """Give times in decoding order that are no later than any picture's own: not every container keeps them."""
    shown = [pts_of(packet) for packet in span]
    in_order = sorted(shown)
    delay = max(ordered - own for ordered, own in zip(in_order, shown, strict=True))
    return [ordered - delay for ordered in in_order]


def _decodable(cut: Cut) -> bool:
    try:
        with segments.opened(packet_of(cut), TRUSTED) as segment:
            return sum(1 for _ in segment.pictures(segment.packets)) > 0
    except UnusableRecord:
        return False
