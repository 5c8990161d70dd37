"""Access units: every picture comes out once, in order of presentation, with its own record, and nothing waits for ever."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.integration.annex_b import (
    H264_PPS,
    H264_SPS,
    SIZE,
    STREAMS,
    WITH_B_FRAMES,
    all_shown,
    decoder,
    digest,
    expected_from,
    fed,
    in_a_row,
    offsets,
    only,
    played,
    played_from,
    thrown_away_before,
    unbroken,
    units,
    without,
    without_reordering_word,
)


@pytest.mark.parametrize("kind", STREAMS)
def test_every_picture_comes_once_in_order_with_its_record_and_pixels(kind: str) -> None:
    """As a plain player shows the stream, each picture with the offset and the capture time of the record that brought it."""
    stream = STREAMS[kind]
    packets, right = units(stream), played(stream)
    came = fed(decoder(packets), packets)
    shown = all_shown(came)
    assert [one.offset for one in shown] == [one.offset for one in right]
    assert sorted(one.offset for one in shown) == list(range(len(packets)))
    for one, player in zip(shown, right, strict=True):
        assert one.captured_at_s == packets[one.offset].captured_at_s
        assert one.pixels is not None
        assert one.pixels.shape == (SIZE, SIZE, 3)
        assert np.array_equal(one.pixels, player.pixels)
    assert [one.captured_at_s for one in shown] == sorted(one.captured_at_s for one in shown)
    assert all(each.given_up == () for each in came)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_picture_comes_out_as_soon_as_its_stream_allows(kind: str) -> None:
    """Without B-frames with its own record; with them after as many records as the stream reorders."""
    packets = units(STREAMS[kind])
    taking = decoder(packets)
    held = 0
    for packet in packets:
        taking.feed(packet, lambda *_: True)
        held = max(held, len(taking.pending))
    reorders = any(a.captured_at_s > b.captured_at_s for a, b in pairwise(packets))
    assert (held > 0) == reorders or kind == "H.264 keyframes only"  # which does not say that it never reorders
    assert held <= 3


def test_a_stream_whose_order_cannot_change_is_shown_at_once() -> None:
    """What says nothing about reordering, but counts pictures as they come, as many cameras without B-frames do."""
    packets = [without_reordering_word(one) for one in units(STREAMS["H.264"])]
    assert packets[0].payload != units(STREAMS["H.264"])[0].payload
    taking = decoder(packets)
    assert [[one.offset for one in taking.feed(packet, lambda *_: True).shown] for packet in packets] == [[n] for n in range(34)]


def test_only_wanted_pictures_are_converted() -> None:
    """Each picture is offered once with its record's offset and time, and `admit` has the last word."""
    packets = units(STREAMS["H.265 B-frames open"])
    offered: list[tuple[int, float]] = []

    def every_third(offset: int, captured_at_s: float) -> bool:
        offered.append((offset, captured_at_s))
        return len(offered) % 3 == 0

    taking = decoder(packets)
    shown = [one for packet in packets for one in taking.feed(packet, every_third).shown]
    shown += taking.drain(every_third).shown
    assert offered == [(one.offset, one.captured_at_s) for one in shown]
    assert [one.pixels is not None for one in shown] == [number % 3 == 0 for number in range(1, len(shown) + 1)]


@pytest.mark.parametrize("kind", WITH_B_FRAMES)
def test_capture_times_play_no_part_in_decoding(kind: str) -> None:
    """A camera that stamps packets when it sends them, or whose clock jumps, is decoded and handed over alike."""
    packets = units(STREAMS[kind])
    stamped = [replace(one, captured_at_s=2e9 - one.captured_at_s + 7 * (number % 3)) for number, one in enumerate(packets)]
    shown, others = all_shown(fed(decoder(packets), packets)), all_shown(fed(decoder(packets), stamped))
    assert [(one.offset, one.keyframe_offset) for one in others] == [(one.offset, one.keyframe_offset) for one in shown]


@pytest.mark.parametrize("kind", ["H.264 B-frames open", "H.265 B-frames open"])
def test_pictures_that_need_what_was_never_fed_are_given_up_not_asked(kind: str) -> None:
    """Decoding begins at an open group: pictures shown before its keyframe would be garbage."""
    packets = units(STREAMS[kind])
    right = dict(unbroken(STREAMS[kind]))
    first = [packet.position.offset for packet in packets if packet.keyframe][1]
    came = fed(decoder(packets), packets[first:])
    assert offsets(came) == expected_from(kind, first)
    assert all(one.pixels is not None and digest(one.pixels) == right[one.offset] for one in all_shown(came))
    missing = sorted(set(range(first, len(packets))) - set(offsets(came)))
    assert missing
    assert sorted(offset for each in came for offset in each.given_up) == missing
    assert max(offset for each in came[:-1] for offset in each.given_up) == max(missing)  # not only at the end


@pytest.mark.parametrize("kind", STREAMS)
def test_decoding_begins_where_the_bytes_allow_it(kind: str) -> None:
    """Keyframes are told from the bytes, with and without the publisher's word."""
    packets = units(STREAMS[kind])
    asked = decoder(packets)
    says = [asked.is_keyframe(replace(packet, keyframe=None)) for packet in packets]
    assert says == [bool(packet.keyframe) for packet in packets]
    assert says == [asked.is_keyframe(replace(packet, keyframe=False)) for packet in packets]


def test_a_keyframe_without_parameter_sets_is_none() -> None:
    """A decoder that begins there knows no size: whoever says so, it waits for one that brings them."""
    bare = without(units(STREAMS["H.264"])[10], H264_SPS, H264_PPS)
    assert not decoder([bare]).is_keyframe(replace(bare, keyframe=True))


def test_parameter_sets_alone_make_no_keyframe() -> None:
    """Some cameras send them with every picture."""
    packets = units(STREAMS["H.264"])
    after = replace(packets[5], payload=only(packets[0], H264_SPS, H264_PPS) + packets[5].payload, keyframe=None)
    assert not decoder(packets).is_keyframe(after)
    assert decoder(packets).is_keyframe(replace(after, keyframe=True))  # what its bytes do not tell, its publisher may know


def test_a_picture_of_another_size_loses_none_before_it() -> None:
    """A camera that changes its resolution: the pictures that the decoder still held come out, each at the model's size."""
    small = STREAMS["H.264 B-frames"]
    large = replace(small, size=(160, 128))
    packets = in_a_row([*units(small)[:17], *units(large)])
    came = fed(decoder(packets), packets)
    assert sorted(offsets(came)) == list(range(len(packets)))
    assert offsets(came)[17:] == [one.offset + 17 for one in played(large)]
    assert {one.pixels.shape for one in all_shown(came) if one.pixels is not None} == {(SIZE, SIZE, 3)}


@pytest.mark.parametrize("kind", ["H.265 B-frames closed", "H.265 leading decodable"])
def test_no_picture_is_thrown_away_where_a_new_sequence_begins(kind: str) -> None:
    """An encoder may say that a player need not show what it still holds at a keyframe; an answer is wanted all the same."""
    packets = [thrown_away_before(one) if one.keyframe else one for one in units(STREAMS[kind])]
    assert [one.told for one in played_from(packets)] != unbroken(STREAMS[kind])
    came = fed(decoder(packets), packets)
    assert [(one.offset, digest(one.pixels)) for one in all_shown(came) if one.pixels is not None] == unbroken(STREAMS[kind])


def test_a_decoder_can_be_used_again_after_it_was_emptied() -> None:
    """It needs a keyframe then, and knows nothing of before."""
    packets = units(STREAMS["H.265 B-frames open"])
    taking = decoder(packets)
    assert taking.needs_keyframe
    assert taking.keyframe_offset is None
    first = fed(taking, packets[:15])
    assert taking.needs_keyframe
    assert taking.keyframe_offset is None
    assert taking.pending == ()
    assert sorted(offsets(first)) == list(range(15))
    again = fed(taking, packets[19:])
    assert offsets(again) == expected_from("H.265 B-frames open", 19)


def test_a_group_of_b_frames_may_be_as_long_as_encoders_make_it() -> None:
    """A picture that is shown 16 records later than it came is waited for."""
    stream = replace(STREAMS["H.264"], parameters="threads=1:keyint=60:scenecut=0:b-adapt=0:bframes=16:b-pyramid=none", frames=60)
    packets = units(stream)
    assert max(abs(one.offset - number) for number, one in enumerate(played(stream))) == 16
    assert offsets(fed(decoder(packets), packets)) == [one.offset for one in played(stream)]


def test_what_a_decoder_may_hold_is_told_by_its_pictures() -> None:
    """Nothing before the first, then 17 pictures of 1.5 bytes a pixel at least, although none has come out."""
    packets = units(STREAMS["H.264 B-frames"])
    taking = decoder(packets)
    assert taking.memory_bytes == 0
    assert not taking.feed(packets[0], lambda *_: True).shown
    assert 17 * 96 * 64 * 1.5 <= taking.memory_bytes <= 17 * 128 * 96 * 1.5
