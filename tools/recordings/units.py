"""Takes a video apart into access units as its camera's encoder gave them: one a picture, in decoding order, not encoded anew.

Only the packing changes, by FFmpeg's bitstream filters: start codes instead of lengths (Annex B of H.264 and H.265), and
parameter sets in front of every keyframe that has none, because a decoder that begins there has nothing else.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import av
from av.bitstream import BitStreamFilterContext

from stream.clock import event_time
from stream.decode import AccessUnitDecoder
from stream.decode.segments import VideoPacket
from stream.errors import UnusableRecord
from stream.types import FramePacket, Position
from stream.wire import UnitHead
from tools.recordings.cuts import Cutter
from tools.recordings.reading import TRUSTED, OnProblem, Reading, pts_of, read
from tools.recordings.sources import Recording

_CONTENT_TYPES: Mapping[str, str] = {"h264": "video/h264", "hevc": "video/h265"}

_START_CODE = b"\x00\x00\x01"
_H264_SPS, _H265_SPS = 7, 33
"""Type of a sequence parameter set (ITU-T H.264 and H.265, table 7-1 each)."""

_TRIED_SIZE = 16
"""Pixels: only whether a picture comes out is asked."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One access unit."""

    captured_at_s: float
    """Capture time of its own picture."""
    due_s: float
    """Event time at which a camera has captured its picture and every one before it in decoding order; never falls."""
    until_s: float
    """Event time at which the last picture so far ends."""
    content_type: str
    payload: bytes
    head: UnitHead


def units(recording: Recording, segment_s: float, on_problem: OnProblem) -> Iterator[Unit]:
    """Give a recording's access units from its first keyframe on; pictures shown before that one need earlier ones.

    Their capture times are to the microsecond those of the pictures of its segments of `segment_s` seconds, whose own time is
    rounded once more: the same events have the same ids.
    """
    return read(recording, on_problem, lambda reading: _take(reading, segment_s))


def _take(reading: Reading, segment_s: float) -> Iterator[Unit]:
    if reading.codec not in _CONTENT_TYPES:
        reading.unsuitable = f"is {reading.codec} video, but only H.264 and H.265 have access units: publish segments or stills"
        return
    taken = _units(reading, Cutter(reading, segment_s))
    yield from taken if reading.live else _whole(reading, taken)


def _units(reading: Reading, cutter: Cutter) -> Iterator[Unit]:
    annex_b = _AnnexB(reading)
    due_s, taken, keyframes = reading.began_s, 0, 0
    first, first_s = 0, reading.began_s
    for packet in reading:
        keyframe, pts = packet.is_keyframe, pts_of(packet)
        if cutter.begins_at(packet):
            first, first_s = pts, reading.captured_at_s(packet)
        captured_at_s = event_time(float(Fraction(first_s) + (pts - first) * reading.time_base))
        if not keyframes and _is_turned(reading, packet):
            reading.unsuitable = "is turned by its file, which access units cannot say: publish segments or stills"
            return
        keyframes += keyframe
        if keyframes == 1 and captured_at_s < reading.began_s:
            continue
        usual_s = (due_s - reading.began_s) / max(1, taken - 1)
        length_s = float((packet.duration or 0) * reading.time_base) or usual_s
        taken += 1
        due_s = max(due_s, captured_at_s)
        reading.until_s = max(reading.until_s, event_time(captured_at_s + length_s))
        head = UnitHead(keyframe, pts, reading.time_base)
        yield Unit(captured_at_s, due_s, reading.until_s, _CONTENT_TYPES[reading.codec], annex_b(packet), head)


def _whole(reading: Reading, taken: Iterable[Unit]) -> Iterator[Unit]:
    """Leave the last one out if no picture comes of it: not every container tells that its end is missing."""
    groups: deque[list[Unit]] = deque(maxlen=2)  # of an open group, a picture may need the one before
    last: Unit | None = None
    for unit in taken:
        if last is not None:
            yield last
        last = unit
        if unit.head.keyframe:
            groups.append([])
        groups[-1].append(unit)
    if last is None:
        return
    if _comes_out(list(chain(*groups))):
        yield last
    else:
        reading.damage = reading.damage or "the last picture is incomplete"


class _AnnexB:
    """Brings packets into Annex B, as a decoder needs them that was told nothing else."""

    def __init__(self, reading: Reading) -> None:
        filters = f"{reading.codec}_mp4toannexb"
        self._is_h264 = reading.codec == "h264"
        self._plain = BitStreamFilterContext(filters, reading.stream)
        self._with_sets = BitStreamFilterContext(f"{filters},dump_extra=freq=keyframe", reading.stream)

    def __call__(self, packet: VideoPacket) -> bytes:
        """Give the access unit; the packet is used up."""
        keyframe = av.Packet(bytes(packet)) if packet.is_keyframe else None
        data = b"".join(map(bytes, self._plain.filter(packet)))
        if keyframe is None or self._has_sets(data):
            return data
        keyframe.is_keyframe = True
        return b"".join(map(bytes, self._with_sets.filter(keyframe)))

    def _has_sets(self, data: bytes) -> bool:
        headers = (unit[0] for unit in data.split(_START_CODE)[1:] if unit)
        return any(header & 0x1F == _H264_SPS if self._is_h264 else header >> 1 & 0x3F == _H265_SPS for header in headers)


def _is_turned(reading: Reading, keyframe: VideoPacket) -> bool:
    """Tell whether the container has its pictures turned: only a decoded one says so."""
    decoder = reading.stream.codec_context
    return any(frame.rotation for frame in (*decoder.decode(keyframe), *decoder.decode(None)))


def _comes_out(taken: list[Unit]) -> bool:
    """Tell whether the last of these is decoded, as the worker would do it; the first is a keyframe."""
    decoder = AccessUnitDecoder(taken[0].content_type, _TRIED_SIZE, TRUSTED)
    try:
        fed = [decoder.feed(_packet(place, unit), lambda _offset, _captured_at_s: False) for place, unit in enumerate(taken)]
        fed.append(decoder.drain(lambda _offset, _captured_at_s: False))
    except UnusableRecord:
        return False
    return any(one.offset == len(taken) - 1 for each in fed for one in each.shown)


def _packet(place: int, unit: Unit) -> FramePacket:
    position = Position("", 0, place)
    told = unit.captured_at_s
    return FramePacket(position, "", told, unit.content_type, unit.payload, None, None, None, told, unit.head.keyframe)
