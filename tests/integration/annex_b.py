"""Access units made on the spot, one FramePacket each, and their NAL units to take apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from hashlib import blake2b

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.preprocess import fit
from stream.decode import AccessUnitDecoder, DecodeLimits, Fed, Shown
from stream.types import FramePacket, Position
from tests.integration.moving_pictures import T0_S, Video, scene

SIZE = 32
"""Of the model's input."""
LIMITS = DecodeLimits()
H264_SPS, H264_PPS = 7, 8

_QUIET_X265 = "log-level=none:pools=none:frame-threads=1:scenecut=0:b-adapt=0:keyint=10:min-keyint=10"
_X264 = "scenecut=0:b-adapt=0:threads=1:keyint=10:min-keyint=10"


@dataclass(frozen=True)
class Stream:
    """How a camera encodes."""

    codec: str = "libx264"
    parameters: str = f"{_X264}:bframes=0"
    frames: int = 34
    size: tuple[int, int] = (96, 64)
    extra: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def content_type(self) -> str:
        """Of its records."""
        return "video/h264" if self.codec == "libx264" else "video/h265"


STREAMS = {
    "H.264": Stream(),
    "H.264 B-frames": Stream(parameters=f"{_X264}:bframes=3:b-pyramid=normal:open-gop=0"),
    "H.264 B-frames open": Stream(parameters=f"{_X264}:bframes=3:b-pyramid=normal:open-gop=1"),
    "H.264 four slices": Stream(parameters=f"{_X264}:bframes=2:slices=4"),
    "H.264 interlaced": Stream(parameters=f"{_X264}:bframes=2:interlaced=1"),
    "H.264 gradual refresh": Stream(parameters=f"{_X264}:bframes=0:intra-refresh=1"),
    "H.264 keyframes only": Stream(parameters="threads=1:keyint=1:bframes=0", frames=12),
    "H.265": Stream("libx265", f"{_QUIET_X265}:bframes=0"),
    "H.265 B-frames closed": Stream("libx265", f"{_QUIET_X265}:bframes=3:open-gop=0"),
    "H.265 B-frames open": Stream("libx265", f"{_QUIET_X265}:bframes=3:open-gop=1"),
    "H.265 leading decodable": Stream("libx265", f"{_QUIET_X265}:bframes=3:open-gop=0:radl=2"),
    "H.265 keyframes only": Stream("libx265", "log-level=none:pools=none:frame-threads=1:keyint=1", frames=12),
}
WITH_B_FRAMES = [name for name in STREAMS if "B-frames" in name]


@cache
def units(stream: Stream) -> tuple[FramePacket, ...]:
    """Encode a stream; a record's capture time is that of its picture, 30 a second, its offset counts from 0."""
    context = av.CodecContext.create(stream.codec, "w")
    context.width, context.height = stream.size
    context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 30), Fraction(30)
    context.options = {stream.codec.removeprefix("lib") + "-params": stream.parameters, "preset": "veryfast", **stream.extra}
    packets = []
    for number, picture in enumerate(scene(Video(frames=stream.frames, width=stream.size[0], height=stream.size[1]))):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode(None)
    return tuple(
        FramePacket(
            position=Position("frames", 0, offset),
            camera_id="den",
            captured_at_s=round(T0_S + number_of(packet) / 30, 6),
            content_type=stream.content_type,
            payload=bytes(packet),
            stream="first",
            seq=offset,
            traceparent=None,
            arrived_at_s=T0_S,
            keyframe=packet.is_keyframe,
        )
        for offset, packet in enumerate(packets)
    )


def number_of(packet: "av.Packet[av.VideoStream]") -> int:
    """The picture's number in order of presentation."""
    assert packet.pts is not None
    return packet.pts


@dataclass(frozen=True, slots=True)
class Played:
    """A picture as a plain player shows it."""

    offset: int
    pixels: NDArray[np.uint8]

    @property
    def told(self) -> tuple[int, str]:
        """Offset and hash."""
        return self.offset, digest(self.pixels)


def digest(pixels: NDArray[np.uint8]) -> str:
    """Hash of a picture."""
    return blake2b(pixels.tobytes(), digest_size=8).hexdigest()


@cache
def played(stream: Stream) -> tuple[Played, ...]:
    """What a decoder with nothing set shows of a stream, in order of presentation."""
    return played_from(units(stream))


def played_from(packets: Sequence[FramePacket]) -> tuple[Played, ...]:
    """What it shows of records."""
    context = av.CodecContext.create("h264" if packets[0].content_type == "video/h264" else "hevc", "r")
    shown = []
    for one in (*packets, None):
        packet = None
        if one is not None:
            packet = av.Packet(one.payload)
            packet.pts = packet.dts = one.position.offset
        shown += [Played(frame.pts, fit(frame.to_ndarray(format="rgb24"), SIZE)) for frame in context.decode(packet)]
    return tuple(shown)


def unbroken(stream: Stream) -> list[tuple[int, str]]:
    """Offset and hash of every picture, as a plain player shows them."""
    return [one.told for one in played(stream)]


def expected_from(kind: str, first: int) -> list[int]:
    """Records whose pictures are shown if decoding begins at a record: its own, and what is shown after it."""
    order = [one.offset for one in played(STREAMS[kind])]
    return [offset for offset in order[order.index(first) :] if offset >= first]


def decoder(packets: Sequence[FramePacket], limits: DecodeLimits = LIMITS) -> AccessUnitDecoder:
    """One for these records."""
    return AccessUnitDecoder(packets[0].content_type, SIZE, limits)


def fed(taking: AccessUnitDecoder, packets: Sequence[FramePacket]) -> list[Fed]:
    """Feed records and want every picture; what came of each, and then of emptying the decoder."""
    return [*(taking.feed(packet, lambda *_: True) for packet in packets), taking.drain(lambda *_: True)]


def all_shown(came: Sequence[Fed]) -> list[Shown]:
    """In order."""
    return [one for each in came for one in each.shown]


def offsets(came: Sequence[Fed]) -> list[int]:
    """Records of the pictures that came out, in order."""
    return [one.offset for one in all_shown(came)]


def nal_units(payload: bytes) -> Iterator[bytes]:
    """Split Annex B; each with its start code."""
    begin = payload.find(b"\x00\x00\x01")
    while begin >= 0:
        end = payload.find(b"\x00\x00\x01", begin + 3)
        yield payload[begin : end if end >= 0 else len(payload)]
        begin = end


def without(packet: FramePacket, *kinds: int) -> FramePacket:
    """Take H.264 NAL units of some types out of a record."""
    kept = [unit for unit in nal_units(packet.payload) if unit[3] & 0x1F not in kinds]
    return replace(packet, payload=b"".join(kept))


def only(packet: FramePacket, *kinds: int) -> bytes:
    """H.264 NAL units of some types."""
    return b"".join(unit for unit in nal_units(packet.payload) if unit[3] & 0x1F in kinds)


def in_a_row(packets: Sequence[FramePacket], first: int = 0) -> list[FramePacket]:
    """Number records anew."""
    return [
        replace(one, position=replace(one.position, offset=offset), seq=offset) for offset, one in enumerate(packets, start=first)
    ]


def without_reordering_word(packet: FramePacket) -> FramePacket:
    """Take the VUI, and with it `bitstream_restriction`, out of an H.264 parameter set (ITU-T H.264, 7.3.2.1.1)."""
    parts = [_without_vui(unit) if unit[3] & 0x1F == H264_SPS else unit for unit in nal_units(packet.payload)]
    return replace(packet, payload=b"".join(parts))


def _without_vui(sps: bytes) -> bytes:
    bits = "".join(f"{byte:08b}" for byte in sps[4:].replace(b"\x00\x00\x03", b"\x00\x00"))
    at = 24  # profile, constraints, level

    def skip_numbers(count: int) -> None:
        nonlocal at
        for _ in range(count):
            zeros = bits.index("1", at) - at
            at += 2 * zeros + 1

    skip_numbers(1)
    if sps[4] == 100:
        skip_numbers(3)
        at += 2
    skip_numbers(1)
    skip_numbers(2 if bits[at] == "1" else 1)  # picture order count of type 0 says more than type 2
    skip_numbers(1)
    at += 1
    skip_numbers(2)
    assert bits[at : at + 3] == "110", "frames only, no cropping"
    ended = bits[: at + 3] + "01"  # no VUI, stop bit
    ended += "0" * (-len(ended) % 8)
    body = bytes(int(ended[begin : begin + 8], 2) for begin in range(0, len(ended), 8))
    assert b"\x00\x00" not in body
    return sps[:4] + body


def thrown_away_before(packet: FramePacket) -> FramePacket:
    """Set `no_output_of_prior_pics_flag` of an H.265 keyframe (ITU-T H.265, 7.3.6.1: the second bit of a slice)."""
    parts = []
    for unit in nal_units(packet.payload):
        is_keyframe = unit[3] >> 1 & 0x3F in range(16, 24)
        parts.append(unit[:5] + bytes([unit[5] | 0x40]) + unit[6:] if is_keyframe else unit)
    return replace(packet, payload=b"".join(parts))
