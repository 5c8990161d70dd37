"""Where the decoding of H.264 and H.265 may begin, told from the bytes of an access unit.

A decoder that was made a moment ago must be able to begin there, so a record counts only if it brings its parameter sets along.
Looks at headers up to the first slice, never at pictures.
"""

from enum import IntEnum

from stream.decode.nal_units import H264, H265, SLICES, SPS, Bits, payload, types

_HEAD_BYTES = 64
"""How much of a unit is looked at: a recovery point stands among an SEI unit's first messages."""

_H264_IDR, _H264_SEI = 5, 6
"""ITU-T H.264, table 7-1."""
_RECOVERY_POINT = 6
"""SEI message, ITU-T H.264, D.1.1."""
_H265_IRAP, _H265_CRA = range(16, 24), 21
"""ITU-T H.265, table 7-1."""

_ORDER_OF_DECODING = 2
"""`pic_order_cnt_type`, ITU-T H.264, 8.2.1.3."""
_WITH_CHROMA_FORMAT = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
"""`profile_idc`s whose parameter sets say more, ITU-T H.264, 7.3.2.1.1."""


class EntryPoint(IntEnum):
    """What a decoder shows if it begins with a record."""

    NONE = 0
    """Nothing, before a later record."""
    LATE = 1
    """Pictures are missing at first: the stream refreshes itself little by little."""
    OPEN = 2
    """This record's picture and all that are shown after it; those shown before it may need earlier records."""
    CLOSED = 3
    """Everything from here on, and no earlier record's picture is shown after this one's."""


def has_picture(content_type: str, access_unit: bytes) -> bool:
    """Whether there is a slice in it."""
    return any(kind in SLICES[content_type] for kind, _ in types(content_type, access_unit))


def has_parameters(content_type: str, access_unit: bytes) -> bool:
    """Whether a sequence parameter set stands before the first slice."""
    return any(kind == SPS[content_type] for kind, _ in types(content_type, access_unit))


def entry_point(content_type: str, access_unit: bytes) -> EntryPoint:
    """Tell how decoding can begin with an access unit.

    Args:
        content_type: `video/h264` or `video/h265`.
        access_unit: Annex B.
    """
    if not has_parameters(content_type, access_unit):
        return EntryPoint.NONE
    return _h264(access_unit) if content_type == H264 else _h265(access_unit)


def keeps_order(content_type: str, access_unit: bytes) -> bool:
    """Whether an H.264 parameter set in it says that pictures are shown in the order in which they come.

    Those of H.265 always say how far pictures are reordered, and FFmpeg heeds it; H.264 may leave it open.
    """
    if content_type != H264:
        return False
    return any(
        kind == SPS[H264] and _picture_order(access_unit, at) == _ORDER_OF_DECODING for kind, at in types(H264, access_unit)
    )


def _h264(access_unit: bytes) -> EntryPoint:
    found = EntryPoint.NONE
    for kind, at in types(H264, access_unit):
        if kind == _H264_IDR:
            return EntryPoint.CLOSED
        if kind == _H264_SEI:
            pictures = _pictures_to_recovery(payload(access_unit, at, _HEAD_BYTES))
            if pictures is not None:
                found = EntryPoint.LATE if pictures else EntryPoint.OPEN
    return found


def _h265(access_unit: bytes) -> EntryPoint:
    kinds = [kind for kind, _ in types(H265, access_unit)]
    if kinds[-1] not in _H265_IRAP:
        return EntryPoint.NONE
    return EntryPoint.OPEN if kinds[-1] == _H265_CRA else EntryPoint.CLOSED


def _pictures_to_recovery(sei: bytes) -> int | None:
    """Give `recovery_frame_cnt` of a recovery point; None if this is none (ITU-T H.264, 7.3.2.3.1, D.1.8)."""
    while sei:
        message, sei = _extended(sei)
        size, sei = _extended(sei)
        if message == _RECOVERY_POINT:
            return Bits(sei[:size]).exp_golomb()
        sei = sei[size:]
    return None


def _extended(sei: bytes) -> tuple[int, bytes]:
    """Read the type or the size of an SEI message, a sum over bytes of 255 and one below; give it and what follows."""
    more = len(sei) - len(sei.lstrip(b"\xff"))
    return 255 * more + (sei[more] if more < len(sei) else 0), sei[more + 1 :]


def _picture_order(access_unit: bytes, at: int) -> int | None:
    """Give `pic_order_cnt_type`; None where scaling lists stand before it (ITU-T H.264, 7.3.2.1.1)."""
    bits = Bits(payload(access_unit, at, _HEAD_BYTES))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.exp_golomb()  # id
    if profile in _WITH_CHROMA_FORMAT:
        if bits.exp_golomb() == 3:  # noqa: PLR2004  (4:4:4 says one bit more)
            bits.take(1)
        bits.exp_golomb()  # bit depths
        bits.exp_golomb()
        bits.take(1)
        if bits.take(1):
            return None
    bits.exp_golomb()  # frame numbers
    return bits.exp_golomb()
