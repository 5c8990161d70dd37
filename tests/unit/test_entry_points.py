"""Where decoding may begin, told from bytes as encoders and cameras write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.decode.entry_points import EntryPoint, entry_point, has_parameters, has_picture, keeps_order
from stream.decode.nal_units import Bits, begins_with_start_code

START = b"\x00\x00\x01"
DELIMITER = b"\x09\xf0"
BASELINE_TYPE_0 = bytes([0x67, 66, 0, 30, 0b1_1_1_1_010_0])
"""id 0, 16 frame numbers, pic_order_cnt_type 0."""
BASELINE_TYPE_2 = bytes([0x67, 66, 0, 30, 0b1_1_011_010])
HIGH_TYPE_2 = bytes([0x67, 100, 0, 30, 0b1_010_1_1_0_0, 0b1_011_1000])
HIGH_SCALING_LISTS = bytes([0x67, 100, 0, 30, 0b1_010_1_1_0_1, 0b1_011_1000])
HIGH_444_TYPE_2 = bytes([0x67, 244, 0, 30, 0b1_00100_0_1, 0b1_0_0_1_011_0])
IDR, SLICE = b"\x65\x88", b"\x41\x9a"
RECOVERED, RECOVERED_LATER = b"\x06\x06\x01\xc4\x80", b"\x06\x06\x01\x24\x80"
"""`recovery_frame_cnt` 0 and 3."""
LONG_TEXT = b"\x06\x05\xff\x0a" + b"x" * 265
ZEROS_WITHIN = b"\x06\x05\x04\x00\x00\x03\x01\x07\x06\x01\xc4\x80"
"""Four bytes of text, 00 00 01 07, kept from looking like a start code, and a recovery point behind them."""
H265_SPS, H265_SEI = b"\x42\x01\x01", b"\x4e\x01\x05"


def unit(*parts: bytes) -> bytes:
    """An access unit."""
    return b"".join(START + part for part in parts)


@pytest.mark.parametrize(
    ("parts", "entry"),
    [
        pytest.param([BASELINE_TYPE_2, IDR], EntryPoint.CLOSED, id="parameters and IDR"),
        pytest.param([DELIMITER, BASELINE_TYPE_2, b"\x68\xce", RECOVERED, IDR], EntryPoint.CLOSED, id="IDR with all before it"),
        pytest.param([IDR], EntryPoint.NONE, id="IDR without parameters"),
        pytest.param([BASELINE_TYPE_2, SLICE], EntryPoint.NONE, id="parameters before any picture"),
        pytest.param([SLICE, BASELINE_TYPE_2, IDR], EntryPoint.NONE, id="what follows the first slice"),
        pytest.param([BASELINE_TYPE_2, RECOVERED, SLICE], EntryPoint.OPEN, id="recovery point"),
        pytest.param([RECOVERED, SLICE], EntryPoint.NONE, id="recovery point without parameters"),
        pytest.param([BASELINE_TYPE_2, RECOVERED_LATER, SLICE], EntryPoint.LATE, id="gradual refresh"),
        pytest.param([BASELINE_TYPE_2, ZEROS_WITHIN, SLICE], EntryPoint.OPEN, id="recovery point behind escaped zeros"),
        pytest.param([BASELINE_TYPE_2, LONG_TEXT, RECOVERED, SLICE], EntryPoint.OPEN, id="recovery point behind a long message"),
        pytest.param([BASELINE_TYPE_2, b"\x06\x05\x02\x06\x01\x80", SLICE], EntryPoint.NONE, id="text that looks like one"),
        pytest.param([BASELINE_TYPE_2, b"\x06", SLICE], EntryPoint.NONE, id="empty message"),
        pytest.param([], EntryPoint.NONE, id="nothing"),
    ],
)
def test_h264_can_be_entered_where_a_new_decoder_has_all_it_needs(parts: list[bytes], entry: EntryPoint) -> None:
    """By parameter sets, IDR and recovery point; four-byte start codes and zeros around change nothing."""
    assert entry_point("video/h264", unit(*parts)) is entry
    assert entry_point("video/h264", b"\x00".join([b"", *(START + part for part in parts)])) is entry


@pytest.mark.parametrize(
    ("kind", "entry"),
    [(0, "NONE"), (1, "NONE"), (8, "NONE"), (16, "CLOSED"), (18, "CLOSED"), (19, "CLOSED"), (20, "CLOSED"), (21, "OPEN")],
)
def test_h265_can_be_entered_at_random_access_pictures_with_parameters(kind: int, entry: str) -> None:
    """BLA and IDR need nothing before them; what is shown before a CRA may."""
    slice_unit = bytes([kind << 1, 1, 0xAF])
    assert entry_point("video/h265", unit(H265_SPS, H265_SEI, slice_unit)) is EntryPoint[entry]
    assert entry_point("video/h265", unit(slice_unit)) is EntryPoint.NONE


@pytest.mark.parametrize(
    ("sps", "keeps"),
    [
        (BASELINE_TYPE_0, False),
        (BASELINE_TYPE_2, True),
        (HIGH_TYPE_2, True),
        (HIGH_444_TYPE_2, True),
        (HIGH_SCALING_LISTS, False),
        (b"\x67", False),
    ],
)
def test_only_pictures_counted_as_they_come_keep_their_order(sps: bytes, keeps: bool) -> None:  # noqa: FBT001
    """`pic_order_cnt_type` 2; where it is not to be found nothing is promised."""
    assert keeps_order("video/h264", unit(sps, IDR)) is keeps
    assert not keeps_order("video/h265", unit(sps, IDR))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x00\x00\x01\x65", True),
        (b"\x00\x00\x00\x01\x65", True),
        (bytes(20) + b"\x01\x65", True),
        (b"\x00\x00\x02\x65\x00\x00\x01", False),
        (b"\x00\x01\x65", False),
        (b"", False),
        (bytes(9), False),
    ],
)
def test_annex_b_begins_with_a_start_code(data: bytes, said: bool) -> None:  # noqa: FBT001
    """Zeros may stand before it, nothing else."""
    assert begins_with_start_code(data) is said


def test_heaps_of_units_are_not_all_looked_at() -> None:
    """A thousand stand before no real picture; megabytes of them must not hold a decoder thread."""
    assert has_picture("video/h264", unit(*[DELIMITER] * 400, SLICE))
    assert not has_picture("video/h264", unit(*[DELIMITER] * 1_000_000, SLICE))


@given(st.lists(st.integers(0, 2**31 - 1), max_size=8))
def test_numbers_are_read_as_they_are_written(numbers: list[int]) -> None:
    """Exp-Golomb codes one behind the other (ITU-T H.264, 9.1)."""
    bits = "".join(f"{number + 1:b}".zfill(2 * (number + 1).bit_length() - 1) for number in numbers)
    bits += "0" * (-len(bits) % 8)
    reader = Bits(bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)))
    assert [reader.exp_golomb() for _ in numbers] == numbers


@given(
    st.sampled_from(["video/h264", "video/h265"]), st.lists(st.sampled_from([START, BASELINE_TYPE_2[:3]]) | st.binary(max_size=9))
)
def test_any_bytes_are_judged(content_type: str, parts: list[bytes]) -> None:
    """Whatever a camera sends; and a keyframe has parameters and a picture."""
    data = b"".join(parts)
    keeps_order(content_type, data)
    if entry_point(content_type, data) is not EntryPoint.NONE:
        assert has_parameters(content_type, data)
