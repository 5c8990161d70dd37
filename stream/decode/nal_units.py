"""Annex B of H.264 and H.265: where an access unit's NAL units lie and of what type they are, and their bits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

START_CODE = b"\x00\x00\x01"

H264, H265 = "video/h264", "video/h265"

SLICES: Mapping[str, range] = {H264: range(1, 6), H265: range(32)}
"""Types of NAL units that hold a part of a picture: ITU-T H.264, table 7-1; ITU-T H.265, table 7-1."""
SPS: Mapping[str, int] = {H264: 7, H265: 33}
"""Types of sequence parameter sets (same tables)."""

_MAX_HEADS = 1000
"""NAL units before the first slice: at the most 32 + 256 parameter sets, and messages; megabytes of them would take seconds."""


@dataclass(slots=True)
class Bits:
    """Reads a NAL unit's payload from its first bit on."""

    data: bytes
    """Without emulation prevention bytes."""
    at: int = 0
    """Bits that were read; past the end they are zeros."""

    def take(self, count: int) -> int:
        """Read u(n)."""
        value = 0
        for at in range(self.at, self.at + count):
            byte = self.data[at // 8] if at // 8 < len(self.data) else 0
            value = value << 1 | byte >> (7 - at % 8) & 1
        self.at += count
        return value

    def exp_golomb(self) -> int:
        """Read ue(v), of 32 bits at the most (ITU-T H.264, 9.1)."""
        zeros = 0
        while zeros < 32 and not self.take(1):  # noqa: PLR2004
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def begins_with_start_code(access_unit: bytes) -> bool:
    """Tell Annex B from other bytes (H.264 and H.265, B.1: nothing but zeros before the first start code)."""
    at = access_unit.find(START_CODE)
    return at >= 0 and not access_unit[:at].strip(b"\x00")


def types(content_type: str, access_unit: bytes) -> Iterator[tuple[int, int]]:
    """Give the type of each NAL unit up to the first slice, and where its header lies (H.264 7.3.1, H.265 7.3.1.2)."""
    at = access_unit.find(START_CODE) + len(START_CODE)
    for _ in range(_MAX_HEADS):
        if not len(START_CODE) <= at < len(access_unit):
            return
        kind = access_unit[at] & 0x1F if content_type == H264 else access_unit[at] >> 1 & 0x3F
        yield kind, at
        if kind in SLICES[content_type]:
            return
        at = access_unit.find(START_CODE, at) + len(START_CODE)


def payload(access_unit: bytes, at: int, longest: int) -> bytes:
    """Give what follows a NAL unit's header byte, without emulation prevention, of at most so many coded bytes (H.264 7.3.1)."""
    coded = access_unit[at + 1 : at + 1 + longest].partition(START_CODE)[0]
    return coded.replace(b"\x00\x00\x03", b"\x00\x00")
