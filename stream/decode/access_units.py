"""H.264 and H.265 access units, one a record, with FFmpeg: a decoder per camera that lives on from record to record.

Which record a picture belongs to is never guessed: each packet carries its record's offset as its timestamp, which FFmpeg hands
on to the picture that was decoded from it, in whatever order pictures come out. The order of presentation is the stream's own
(its picture order counts); capture times play no part in decoding.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pipeline.preprocess import fit
from stream.decode.entry_points import EntryPoint, entry_point, has_parameters, has_picture, keeps_order
from stream.decode.nal_units import H264, H265, begins_with_start_code
from stream.decode.request import DecodeLimits, Fault, blaming_the_record, check_dimensions, refuse
from stream.decode.rgb import rgb
from stream.errors import UnusableRecord
from stream.types import FramePacket

AdmitShown: TypeAlias = Callable[[int, float], bool]
"""Told the offset and the capture time of a picture's record, says whether the picture is wanted."""

_DECODERS = {H264: "h264", H265: "hevc"}

_MAX_HELD = 17
"""Pictures that a decoder holds at the most (H.264 A.3.1, H.265 A.4.2: 16 in the buffer) and the one in work."""

_MAX_BEHIND = 64
"""Records after which no picture is waited for. No standard bounds how many pictures are shown before an earlier record's: it is
one less than the encoder's group of B-frames, 16 in x264 and x265, 32 in reference encoders."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture that came out, in order of presentation."""

    offset: int
    """Of the record that it belongs to."""
    captured_at_s: float
    """That record's capture time."""
    pixels: NDArray[np.uint8] | None
    """uint8 (S, S, 3) RGB at the model's size, if it was wanted."""
    keyframe_offset: int
    """From which record on a new owner must feed to go on with this picture: it and the one before it come out, and all later."""
    fault: str | None = None
    """Why there are no pixels, although it was wanted: there is no way from its colours to RGB."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What came of feeding one record, or of emptying the decoder."""

    shown: tuple[Shown, ...]
    given_up: tuple[int, ...]
    """Offsets of records of which no picture will come, ascending: damaged, undecodable, or none was in it."""


@dataclass(slots=True)
class _Pending:
    captured_at_s: float
    keyframe_offset: int
    behind: int = 0
    """How many records were fed after it."""


class AccessUnitDecoder:
    """One camera's decoder. Blocking; not to be used from two threads at once."""

    def __init__(self, content_type: str, size: int, limits: DecodeLimits) -> None:
        """Begin before a keyframe.

        Args:
            content_type: `video/h264` or `video/h265`.
            size: side of the model's square input, pixels.
            limits: of a picture.
        """
        self._content_type = content_type
        self._size = size
        self._limits = limits
        self._keeps_order = False
        self._codec = self._opened()
        self._reformatter = VideoReformatter()
        self._decoded: list[av.VideoFrame] = []
        """Out of the decoder, but not yet shown."""
        self._pending: dict[int, _Pending] = {}
        """By offset, in the order in which they were fed."""
        self._key: int | None = None
        self._key_before: int | None = None
        """While pictures may come that are shown before the keyframe that they follow: the keyframe that they need."""
        self._picture_bytes = 0

    @property
    def needs_keyframe(self) -> bool:
        """Whether nothing but a keyframe can be decoded now."""
        return self._key is None

    @property
    def keyframe_offset(self) -> int | None:
        """From where a new owner must feed so that the last picture shown, all that wait, and all later ones come out.

        None before the first keyframe.
        """
        if self._key is None:
            return None
        return min([*(pending.keyframe_offset for pending in self._pending.values()), self._needed])

    @property
    def pending(self) -> tuple[int, ...]:
        """Offsets of the records whose picture has not come out, ascending."""
        return tuple(self._pending)

    @property
    def memory_bytes(self) -> int:
        """What it holds at the most, by the size of its pictures."""
        return self._picture_bytes * _MAX_HELD

    def is_keyframe(self, packet: FramePacket) -> bool:
        """Tell whether decoding can begin with this record: by its bytes; its publisher's word counts where they are silent."""
        if entry_point(self._content_type, packet.payload):
            return True
        return bool(packet.keyframe) and has_parameters(self._content_type, packet.payload)

    def feed(self, packet: FramePacket, admit: AdmitShown) -> Fed:
        """Decode one record; the first one must be a keyframe.

        Args:
            packet: a record of this camera, later than those before.
            admit: called once per picture that comes out, in order of presentation; only what it wants is converted.

        Raises:
            UnusableRecord: the bytes cannot be decoded, or a picture is over the limits. Only `drain` is left then.
        """
        try:
            self._check(packet)
            self._enter(packet)
            self._decode(packet)
        except UnusableRecord:
            self._key = self._key_before = None
            raise
        for pending in self._pending.values():
            pending.behind += 1
        self._pending[packet.position.offset] = _Pending(packet.captured_at_s, self._needed)
        return Fed(self._show(admit), self._give_up())

    def drain(self, admit: AdmitShown) -> Fed:
        """Let everything out; a keyframe is needed afterwards."""
        self._empty()
        self._key = self._key_before = None
        shown = self._show(admit)
        left = tuple(self._pending)
        self._pending.clear()
        return Fed(shown, left)

    def close(self) -> None:
        """Free the decoder."""
        del self._codec

    @property
    def _needed(self) -> int:
        """The keyframe that the next record needs."""
        assert self._key is not None
        return self._key if self._key_before is None else self._key_before

    def _check(self, packet: FramePacket) -> None:
        if not begins_with_start_code(packet.payload):
            raise refuse(Fault.UNREADABLE, f"not {packet.content_type}: begins with {packet.payload[:8]!r}, not a start code")
        if not has_picture(self._content_type, packet.payload):
            raise refuse(Fault.NO_PICTURE, "no picture in it: parameter sets belong into the record of their keyframe")

    def _enter(self, packet: FramePacket) -> None:
        """Note a keyframe before it is decoded."""
        offset, entry = packet.position.offset, entry_point(self._content_type, packet.payload)
        if self._key is not None and entry is EntryPoint.OPEN:
            self._key, self._key_before = offset, self._key
        elif self._key is None or entry is EntryPoint.CLOSED:
            if self._key is not None:
                self._empty()  # a decoder may drop what it holds when a new sequence begins
            self._key, self._key_before = offset, None
            if keeps_order(self._content_type, packet.payload) != self._keeps_order:
                self._keeps_order = not self._keeps_order
                self._codec = self._opened()

    def _opened(self) -> av.VideoCodecContext:
        codec = av.CodecContext.create(_DECODERS[self._content_type], "r")
        assert isinstance(codec, av.VideoCodecContext)
        codec.thread_count = 1  # threads over pictures would hold pictures back; the worker decodes cameras side by side
        codec.options = {"max_pixels": str(2 * self._limits.max_pixels)}
        if self._content_type == H265:
            codec.options |= {"err_detect": "explode"}  # H.264's flags damaged pictures by itself
        elif not self._keeps_order:
            codec.options |= {"strict": "1"}  # where a stream says nothing of reordering: expect the worst, do not find out
        return codec

    def _decode(self, packet: FramePacket) -> None:
        unit = av.Packet(packet.payload)
        unit.pts = unit.dts = packet.position.offset
        with blaming_the_record(Fault.CORRUPT, f"not {packet.content_type}"):
            self._decoded += self._codec.decode(unit)
        if self._codec.width:
            check_dimensions(self._codec.width, self._codec.height, self._limits)
        if self._codec.format is not None:  # told before a picture comes out: a stream may fill the decoder and show none
            bits = self._codec.format.padded_bits_per_pixel
            self._picture_bytes = self._codec.coded_width * self._codec.coded_height * bits // 8

    def _empty(self) -> None:
        """Take out what the decoder holds back, and make it ready for a keyframe."""
        with suppress(av.FFmpegError):  # it broke at its last record: what it held is gone
            self._decoded += self._codec.decode(None)
        self._codec.flush_buffers()

    def _show(self, admit: AdmitShown) -> tuple[Shown, ...]:
        shown = []
        frames, self._decoded = self._decoded, []
        for frame in frames:
            offset = frame.pts
            if offset is None or offset not in self._pending or frame.is_corrupt:
                continue  # a damaged picture stays pending, and is given up in its time
            pending = self._pending.pop(offset)
            pixels, fault = self._pixels(frame) if admit(offset, pending.captured_at_s) else (None, None)
            shown.append(Shown(offset, pending.captured_at_s, pixels, pending.keyframe_offset, fault))
            self._pass(offset)
        return tuple(shown)

    def _pixels(self, frame: av.VideoFrame) -> tuple[NDArray[np.uint8] | None, str | None]:
        """Convert a picture, or say why not; raised here it would take the others with it, in an empty decoder too."""
        try:
            return fit(rgb(frame, self._reformatter), self._size), None
        except UnusableRecord as error:
            return None, str(error)

    def _pass(self, offset: int) -> None:
        """Note that a picture came out: after the keyframe's, none comes that is shown before it."""
        if self._key is not None and offset >= self._key and self._key not in self._pending:
            self._key_before = None

    def _give_up(self) -> tuple[int, ...]:
        """Leave the records alone of which no picture can come any more."""
        passed = self._key if self._key_before is None else None  # what was fed before this keyframe is shown before it
        given_up = [
            offset
            for offset, pending in self._pending.items()
            if pending.behind > _MAX_BEHIND or (passed is not None and offset < passed)
        ]
        for offset in given_up:
            del self._pending[offset]
        return tuple(given_up)
