"""Cuts a video at keyframes into closed segments, without decoding or encoding anything.

The segments are MP4: its time scale can be the source's own, so that every timestamp stays exact (MPEG-TS has 1/90,000 s,
Matroska 1/1,000 s). Codecs that MP4 cannot hold go into Matroska, as VP8, whose home it is. Sound is left behind.
What can be read of a damaged video is given; then one sentence says what is wrong with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import av
from av.container import InputContainer

from stream.clock import event_time
from stream.decode import DecodeLimits, segments
from stream.decode.segments import VideoPacket
from stream.decode.truncation import cut_short
from stream.errors import UnusableRecord
from stream.types import FramePacket, Position
from tools.recordings.sources import Recording

OnProblem: TypeAlias = Callable[[str], None]
"""Takes one sentence that names a video and what is wrong with it."""

TRUSTED = DecodeLimits(max_frames_per_segment=10_000_000, max_segment_s=1e9)
"""For one's own videos: what is too large for a record can still be decoded here."""

_MP4_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video"})
_LIVE_TIMEOUT_S = (15.0, 15.0)
"""To open a stream, and to wait for its next packet."""

_NEARLY = Fraction(95, 100)
"""A keyframe this close to the wished length cuts, too: with 29.97 frames per second or milliseconds none lies on it."""


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


@dataclass(slots=True)
class _Reading:
    """A video's packets, and what is found out about it on the way."""

    container: InputContainer
    stream: av.VideoStream
    damage: str | None = None
    origin: int | None = None
    """Timestamp of the first keyframe."""

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the source's timestamps."""
        assert self.stream.time_base is not None
        return self.stream.time_base

    def captured_at_s(self, packet: VideoPacket, began_s: float) -> float:
        """Event time of a packet that nobody rebased yet."""
        assert self.origin is not None
        return event_time(float(Fraction(began_s) + (_pts(packet) - self.origin) * self.time_base))

    def __iter__(self) -> Iterator[VideoPacket]:
        """Give packets with timestamps from the first keyframe on, until the end or the first damage."""
        try:
            for packet in self.container.demux(self.stream):
                if not packet.size:
                    continue
                if packet.is_corrupt:
                    self.damage = "a picture is incomplete"
                    return
                if packet.pts is None:
                    self.damage = "its pictures have no timestamps; convert it: ffmpeg -i VIDEO -c:v libx264 NEW.mp4"
                    return
                if self.origin is None and packet.is_keyframe:
                    self.origin = packet.pts
                if self.origin is not None:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self.damage = _words(error)


def cuts(recording: Recording, segment_s: float, on_problem: OnProblem) -> Iterator[Cut]:
    """Cut a recording at the first keyframe after every `segment_s` seconds.

    Pictures shown before the keyframe that they follow (an open group) need the segment before: they are left out.
    """
    options = {"fflags": "+genpts", "ignore_editlist": "1"} | ({"rtsp_transport": "tcp"} if recording.live else {})
    try:
        container = av.open(recording.url, mode="r", options=options, timeout=_LIVE_TIMEOUT_S if recording.live else None)
    except (av.FFmpegError, OSError, ValueError) as error:
        on_problem(f"{recording.name} is no video that can be read: {_words(error)}")
        return
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None:
            on_problem(f"{recording.name} has no video in it")
            return
        yield from _cut(_Reading(container, stream), recording, segment_s, on_problem)


def length_s(recording: Recording) -> float | None:
    """Give a file's length as it says it, seconds; None if it says nothing or cannot be read."""
    try:
        with av.open(recording.url, mode="r") as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError, ValueError):
        return None


def _cut(reading: _Reading, recording: Recording, segment_s: float, on_problem: OnProblem) -> Iterator[Cut]:
    began_s = recording.began_s(reading.container.metadata.get("creation_time"))
    until_s = began_s
    try:
        for span, final in _spans(reading, Fraction(segment_s) * _NEARLY / reading.time_base):
            captured_at_s = reading.captured_at_s(span[0], began_s)
            cut: Cut | None = _segment(span, reading, captured_at_s)
            if (
                final and cut and not recording.live and not _decodable(cut)
            ):  # a picture that ends in the middle spoils no segment
                reading.damage = reading.damage or "the last picture is incomplete"
                cut = _segment(span[:-1], reading, captured_at_s) if len(span) > 1 else None
            if cut is not None:
                until_s = cut.until_s
                yield cut
    except av.FFmpegError as error:
        reading.damage = f"cannot be cut: {_words(error)}"
    damage = reading.damage or _missing(reading, recording)
    if damage:
        on_problem(f"{recording.name} ends after {until_s - began_s:.1f} s: {damage}")


def _spans(packets: Iterable[VideoPacket], least: Fraction) -> Iterator[tuple[list[VideoPacket], bool]]:
    """Gather packets from keyframe to keyframe, `least` ticks or more each; the last ones are marked."""
    span: list[VideoPacket] = []
    for packet in packets:
        after = _pts(packet) - _pts(span[0]) if span else 0
        if packet.is_keyframe and not (span and 0 <= after < least):  # time that jumps back cuts, too
            if span:
                yield span, False
            span = [packet]
        elif after >= 0:
            span.append(packet)
    if span:
        yield span, True


def _segment(span: Sequence[VideoPacket], reading: _Reading, captured_at_s: float) -> Cut:
    """Wrap packets into a file of their own, whose time begins with the keyframe."""
    content_type = "video/mp4" if reading.stream.codec_context.codec.canonical_name in _MP4_CODECS else "video/x-matroska"
    first, time_base = _pts(span[0]), span[0].time_base
    length_s = (segments.ends_at(span) - first) * time_base
    file = BytesIO()
    with av.open(file, mode="w", format=segments.FORMATS[content_type]) as container:
        stream = container.add_stream_from_template(reading.stream)
        stream.time_base = reading.stream.time_base
        for packet, decode_at in zip(span, _decoding_times(span), strict=True):
            packet.stream, packet.pts, packet.dts = stream, _pts(packet) - first, decode_at - first
            container.mux(packet)
    until_s = event_time(float(Fraction(captured_at_s) + length_s))
    return Cut(captured_at_s, until_s, len(span), content_type, file.getvalue())


def _decoding_times(span: Sequence[VideoPacket]) -> list[int]:
    """Give times in decoding order that are no later than any picture's own: not every container keeps them."""
    shown = [_pts(packet) for packet in span]
    in_order = sorted(shown)
    delay = max(ordered - own for ordered, own in zip(in_order, shown, strict=True))
    return [ordered - delay for ordered in in_order]


def packet_of(cut: Cut) -> FramePacket:
    """Give a segment as the worker would see it."""
    nowhere = Position("", 0, 0)
    return FramePacket(nowhere, "", cut.captured_at_s, cut.content_type, cut.payload, None, None, None, cut.captured_at_s)


def _decodable(cut: Cut) -> bool:
    try:
        with segments.opened(packet_of(cut), TRUSTED) as segment:
            return sum(1 for _ in segment.pictures(segment.packets)) > 0
    except UnusableRecord:
        return False


def _missing(reading: _Reading, recording: Recording) -> str | None:
    """Say what the container promised and did not hold."""
    if reading.origin is None:
        return "there is no keyframe in it"
    file = Path(recording.url)
    if file.is_file():
        with file.open("rb") as opened:
            return "the file is shorter than it says" if cut_short(opened) else None
    return None


def _pts(packet: VideoPacket) -> int:
    assert packet.pts is not None  # what has none was sorted out
    return packet.pts


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
