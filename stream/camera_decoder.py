"""One camera's access units: its decoder, and how pictures that come out late become steps in the camera's line.

With B-frames a picture comes out some records after its own. So a record is done when its own picture is, and a camera's place
says from which keyframe a new owner must feed and which picture it need not ask again. Blocking: called in decoder threads.
"""

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from stream.clock import ClockRules, ClockState
from stream.decode import AccessUnitDecoder, DecodeLimits, Shown
from stream.partition import Step
from stream.sampling import Sampler
from stream.state_records import Cursor, DecoderPlace, Place
from stream.types import Frame, FramePacket


class Turn(Enum):
    """What is to be done with the next access unit."""

    FEED = auto()
    DUPLICATE = auto()
    """Its sequence number was there before."""
    NO_KEYFRAME = auto()
    """Nothing can be decoded before the next keyframe."""


@dataclass(slots=True)
class Pictures:
    """What came out of a decoder at one time."""

    sampler: Sampler
    """The clock after them, and what became of each."""
    frames: list[Frame] = field(default_factory=list)
    """The wanted ones."""
    steps: list[Step] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    """Offsets of records that were done before, or that no picture came of."""
    decode_only: int = 0
    undecodable: int = 0
    unusable: int = 0
    """Wanted ones that came out, but cannot be asked."""
    fault: str | None = None
    """Why, of the first one of its decoder."""


class CameraDecoder:
    """The decoder of one camera under one assignment."""

    def __init__(self, content_type: str, size: int, limits: DecodeLimits, restored: DecoderPlace | None) -> None:
        """Begin before a keyframe.

        Args:
            content_type: `video/h264` or `video/h265`.
            size: side of the model's square input, pixels.
            limits: what is refused before anything is decoded.
            restored: where the camera's last owner stood, if records are fed again from there.
        """
        self.content_type = content_type
        self._decoder = AccessUnitDecoder(content_type, size, limits)
        self._stream: str | None = None
        self._seq: int | None = None
        self._fed: dict[int, FramePacket] = {}
        """Records whose picture has not come out."""
        self._has_told = False
        """Of a picture that cannot be asked."""
        self.next_offset = 0
        """One past the last record that it took."""
        self._repeats_to: int | None = None
        """The record with whose picture the part ends that was done before."""
        if restored is not None and restored.shown_offset >= restored.keyframe_offset:
            self._repeats_to = restored.shown_offset

    @property
    def memory_bytes(self) -> int:
        """What the decoder holds, by its pictures' size."""
        return self._decoder.memory_bytes

    @property
    def holds_pictures(self) -> bool:
        """Whether a record waits for its picture to come out."""
        return bool(self._fed)

    def breaks_at(self, packet: FramePacket) -> bool:
        """Tell whether what lies in the decoder must come out before this record: nothing after it belongs to it."""
        if not self.next_offset:
            return False  # it took nothing yet
        if packet.content_type != self.content_type or packet.stream != self._stream:
            return True
        if packet.seq is None or self._seq is None:
            return False
        # a camera that names no stream and counts back has begun anew
        return packet.seq > self._seq + 1 or (packet.stream is None and packet.seq <= self._seq)

    def turn(self, packet: FramePacket) -> Turn:
        """Say what is to be done with a record, after `breaks_at` was heeded; it is the last one from here on."""
        repeated = packet.seq is not None and self._seq is not None and packet.stream == self._stream and packet.seq <= self._seq
        if repeated:
            return Turn.DUPLICATE
        self._stream, self._seq = packet.stream, packet.seq
        self.next_offset = packet.position.offset + 1
        if self._decoder.needs_keyframe and not self._decoder.is_keyframe(packet):
            return Turn.NO_KEYFRAME
        return Turn.FEED

    def feed(self, packet: FramePacket, clock: ClockState | None, rules: ClockRules) -> Pictures:
        """Decode one record.

        Raises:
            UnusableRecord: the bytes are no access unit; what lay in the decoder comes out by `drain`.
        """
        self._fed[packet.position.offset] = replace(packet, payload=b"")  # what is said of it, not its bytes
        pictures = Pictures(Sampler(clock, packet.stream, rules))
        try:
            fed = self._decoder.feed(packet, lambda offset, captured_at_s: self._wanted(pictures, offset, captured_at_s))
        except Exception:
            del self._fed[packet.position.offset]
            raise
        self._collect(pictures, fed.shown, fed.given_up)
        return pictures

    def drain(self, clock: ClockState | None, rules: ClockRules) -> Pictures:
        """Let everything out; the next picture needs a keyframe."""
        pictures = Pictures(Sampler(clock, self._stream, rules))
        fed = self._decoder.drain(lambda offset, captured_at_s: self._wanted(pictures, offset, captured_at_s))
        self._collect(pictures, fed.shown, fed.given_up)
        pictures.settled += sorted(self._fed)
        pictures.undecodable += len(self._fed)
        self._fed.clear()
        self._repeats_to = None
        return pictures

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def _wanted(self, pictures: Pictures, offset: int, captured_at_s: float) -> bool:
        if self._repeats_to is not None:
            if offset == self._repeats_to:
                self._repeats_to = None
            pictures.decode_only += 1
            pictures.settled.append(offset)
            return False
        return pictures.sampler.admit(captured_at_s)

    def _collect(self, pictures: Pictures, shown: tuple[Shown, ...], given_up: tuple[int, ...]) -> None:
        """Make a step of every picture that is new; `shown` is in order of presentation."""
        repeated = set(pictures.settled)
        packets = {one.offset: self._fed.pop(one.offset) for one in shown}
        for offset in given_up:
            del self._fed[offset]
        pictures.settled += given_up
        pictures.undecodable += len(given_up)
        clocks = iter(pictures.sampler.clocks)
        for index, one in enumerate(shown):
            if one.offset in repeated:
                continue
            clock, after = next(clocks), shown[index + 1 :]
            place = Place(self._cursor(after), clock, self._place(one, after))
            position = packets[one.offset].position
            wanted = one.pixels is not None
            pictures.steps.append(Step(place, position if wanted else None, (one.offset,)))
            if one.fault is not None:
                pictures.unusable += 1
                if not self._has_told:
                    pictures.fault, self._has_told = one.fault, True
            if one.pixels is not None:
                packet = packets[one.offset]
                frame = Frame(
                    position=position,
                    camera_id=packet.camera_id,
                    captured_at_s=one.captured_at_s,
                    pixels=one.pixels,
                    clock=clock,
                    traceparent=packet.traceparent,
                    arrived_at_s=packet.arrived_at_s,
                )
                pictures.frames.append(frame)

    def _cursor(self, after: tuple[Shown, ...]) -> Cursor:
        return Cursor(min([*self._fed, *(one.offset for one in after)], default=self.next_offset))

    def _place(self, one: Shown, after: tuple[Shown, ...]) -> DecoderPlace | None:
        """From where the picture after this one, and every later one, can be decoded."""
        keyframe_offset = after[0].keyframe_offset if after else self._decoder.keyframe_offset
        return None if keyframe_offset is None else DecoderPlace(keyframe_offset, one.offset)
