"""Reads a recording's video packets, from its first keyframe to its end or the first damage, without decoding anything.

What is made of the packets is the caller's. What can be read of a damaged video is given; then one sentence says what is wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, TypeVar

import av
from av.container import InputContainer

from stream.clock import event_time
from stream.decode import DecodeLimits
from stream.decode.segments import VideoPacket
from stream.decode.truncation import cut_short
from tools.recordings.sources import Recording

OnProblem: TypeAlias = Callable[[str], None]
"""Takes one sentence that names a video and what is wrong with it."""

TRUSTED = DecodeLimits(max_frames_per_segment=10_000_000, max_segment_s=1e9)
"""For one's own videos: what is too large for a record can still be decoded here."""

_LIVE_TIMEOUT_S = (15.0, 15.0)
"""To open a stream, and to wait for its next packet."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Reading:
    """An open video, and what is found out about it on the way."""

    container: InputContainer
    stream: av.VideoStream
    began_s: float
    """Event time of its first keyframe."""
    until_s: float
    """Event time at which ends what was taken of it so far; whoever takes it says so."""
    live: bool
    """It may go on for ever."""
    unsuitable: str | None = None
    """Why nothing of it can be taken."""
    damage: str | None = None
    origin: int | None = None
    """Timestamp of the first keyframe."""

    @property
    def codec(self) -> str:
        """FFmpeg's name of the video's codec."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the source's timestamps."""
        assert self.stream.time_base is not None
        return self.stream.time_base

    def captured_at_s(self, packet: VideoPacket) -> float:
        """Event time of a packet that nobody rebased yet."""
        assert self.origin is not None
        return event_time(float(Fraction(self.began_s) + (pts_of(packet) - self.origin) * self.time_base))

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


def read(recording: Recording, on_problem: OnProblem, take: Callable[[Reading], Iterator[_T]]) -> Iterator[_T]:
    """Give what `take` makes of a recording, then say what was wrong with it, if anything was."""
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
        began_s = recording.began_s(container.metadata.get("creation_time"))
        reading = Reading(container, stream, began_s, began_s, recording.live)
        try:
            yield from take(reading)
        except av.FFmpegError as error:
            reading.damage = f"cannot be cut: {_words(error)}"
        _report(reading, recording, on_problem)


def length_s(recording: Recording) -> float | None:
    """Give a file's length as it says it, seconds; None if it says nothing or cannot be read."""
    try:
        with av.open(recording.url, mode="r") as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError, ValueError):
        return None


def pts_of(packet: VideoPacket) -> int:
    """Give the timestamp of a packet of a `Reading`, in the source's ticks."""
    assert packet.pts is not None  # what has none was sorted out
    return packet.pts


def _report(reading: Reading, recording: Recording, on_problem: OnProblem) -> None:
    if reading.unsuitable:
        on_problem(f"{recording.name} {reading.unsuitable}")
        return
    damage = reading.damage or _missing(reading, recording)
    if damage:
        on_problem(f"{recording.name} ends after {reading.until_s - reading.began_s:.1f} s: {damage}")


def _missing(reading: Reading, recording: Recording) -> str | None:
    """Say what the container promised and did not hold."""
    if reading.origin is None:
        return "there is no keyframe in it"
    file = Path(recording.url)
    if file.is_file():
        with file.open("rb") as opened:
            return "the file is shorter than it says" if cut_short(opened) else None
    return None


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
