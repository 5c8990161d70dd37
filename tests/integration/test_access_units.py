"""Access units: every picture once, in order of presentation, with its own record, and none lost when another worker goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.camera_decoder import CameraDecoder, Pictures, Turn
from stream.clock import ClockRules, ClockState
from stream.decode import AccessUnitDecoder, DecodeLimits, Fed, Shown
from stream.errors import UnusableRecord
from stream.state_records import Cursor, Place
from stream.types import FramePacket
from tests.integration.annex_b import (
    H264_IDR,
    H264_PPS,
    H264_SEI,
    H264_SPS,
    SIZE,
    STREAMS,
    WITH_B_FRAMES,
    Stream,
    in_a_row,
    only,
    played,
    units,
    without,
    without_reordering_word,
)


EVERY_PICTURE = ClockRules(sample_fps=1000.0)


def decoder(packets: Sequence[FramePacket], limits: DecodeLimits = DecodeLimits()) -> AccessUnitDecoder:
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


def digest(pixels: NDArray[np.uint8]) -> str:
    """Of a picture."""
    return blake2b(pixels.tobytes(), digest_size=8).hexdigest()


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
    reorders = any(a.captured_at_s > b.captured_at_s for a, b in zip(packets, packets[1:], strict=False))
    assert (held > 0) == reorders or kind == "H.264 keyframes only"  # which does not say that it never reorders
    assert held <= 3


@pytest.mark.parametrize("kind", ["H.264 B-frames", "H.264 B-frames open", "H.264 four slices"])
def test_a_stream_that_does_not_say_how_far_it_reorders_is_shown_in_order(kind: str) -> None:
    """No picture is dropped or shown early while the decoder finds out, before a handover and after it."""
    packets, right = [without_reordering_word(one) for one in units(STREAMS[kind])], unbroken(STREAMS[kind])
    assert packets[0].payload != units(STREAMS[kind])[0].payload
    whole = Owner(packets).run(len(packets), drain=False)
    for done, place in enumerate(whole.places, start=1):
        assert whole.asked[:done] + Owner(packets, place).run(len(packets)).asked == right


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


@dataclass
class Owner:
    """A worker that has a camera: it decodes, asks, and writes down where the camera stands after each picture."""

    packets: Sequence[FramePacket]
    place: Place | None = None
    asked: list[tuple[int, str]] = field(default_factory=list)
    """Offset and hash of every picture, in the order of presentation."""
    places: list[Place] = field(default_factory=list)
    """Where the camera stands when that picture is done."""

    def run(self, end: int, *, drain: bool = True) -> "Owner":
        """Go on from where the camera stands up to a record."""
        place, clock = self.place, None if self.place is None else self.place.clock
        first = 0
        if place is not None:
            first = place.cursor.offset if place.decoder is None else place.decoder.keyframe_offset
        taking = CameraDecoder(self.packets[0].content_type, SIZE, DecodeLimits(), None if place is None else place.decoder)
        for packet in self.packets[first:end]:
            assert not taking.breaks_at(packet)
            if taking.turn(packet) is Turn.FEED:
                clock = self._take(taking.feed(packet, clock, EVERY_PICTURE), clock)
        if drain:
            clock = self._take(taking.drain(clock, EVERY_PICTURE), clock)
            if clock is not None:
                self.places[-1:] = [Place(Cursor(taking.next_offset), clock)] if self.places else []
        return self

    def _take(self, pictures: Pictures, clock: ClockState | None) -> ClockState | None:
        frames = {frame.position: frame for frame in pictures.frames}
        for step in pictures.steps:
            assert step.asked is not None
            self.asked.append((step.asked.offset, digest(frames[step.asked].pixels)))
            self.places.append(step.place)
        return pictures.sampler.state or clock


def unbroken(stream: Stream) -> list[tuple[int, str]]:
    """Offset and hash of every picture as a plain player shows them."""
    return [(one.offset, digest(one.pixels)) for one in played(stream)]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_worker_killed_at_any_packet_has_a_successor_that_asks_the_rest_alike(kind: str) -> None:
    """After every picture of the stream, in mid-GOP and across its borders: what is left is asked, once and to the bit."""
    packets, right = units(STREAMS[kind]), unbroken(STREAMS[kind])
    whole = Owner(packets).run(len(packets), drain=False)
    assert whole.asked == right[: len(whole.asked)]
    for done, place in enumerate(whole.places, start=1):
        assert Owner(packets, place).run(len(packets)).asked == right[done:], (done, place)


@pytest.mark.parametrize("kind", WITH_B_FRAMES)
def test_a_worker_killed_while_it_empties_a_decoder_leaves_nothing_out(kind: str) -> None:
    """The stream ends in mid-GOP, pictures come out all at once, and the answers of some of them are lost."""
    packets = units(STREAMS[kind])
    for end in range(8, 22):
        whole = Owner(packets).run(end)
        assert sorted(offset for offset, _ in whole.asked) == list(range(end))
        for done in range(max(1, end - 8), end):
            rest = Owner(packets, whole.places[done - 1]).run(end)
            assert rest.asked == whole.asked[done:], (end, done, whole.places[done - 1])


@given(st.sampled_from(sorted(STREAMS)), st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8)), max_size=5))
def test_whatever_kills_there_are_every_picture_is_done_exactly_once(kind: str, kills: list[tuple[int, int]]) -> None:
    """Each owner reads some records and dies with the answers of its last pictures not written; the next one goes on from there."""
    packets, right = units(STREAMS[kind]), unbroken(STREAMS[kind])
    place: Place | None = None
    done: list[tuple[int, str]] = []
    end = 0
    for more, lost in kills:
        end = min(end + more, len(packets))
        owner = Owner(packets, place).run(end, drain=False)
        written = max(0, len(owner.asked) - lost)
        done += owner.asked[:written]
        place = owner.places[written - 1] if written else place
    assert done + Owner(packets, place).run(len(packets)).asked == right


@pytest.mark.parametrize("kind", STREAMS)
def test_a_successor_reads_no_more_than_two_groups_of_pictures_again(kind: str) -> None:
    """The keyframe from which it feeds lies at most one group of pictures before the one of the picture that it goes on with."""
    packets = units(STREAMS[kind])
    entries = [packet.position.offset for packet in packets if decoder(packets).is_keyframe(packet)]
    if "gradual" in kind:
        entries = entries[:1]  # nowhere else is a decoder complete at once
    for (offset, _), place in zip(unbroken(STREAMS[kind]), Owner(packets).run(len(packets), drain=False).places, strict=False):
        before = [entry for entry in entries if entry <= offset]
        assert place.decoder is not None
        assert place.decoder.keyframe_offset in entries
        assert place.decoder.keyframe_offset >= before[-2:][0]


@pytest.mark.parametrize("kind", WITH_B_FRAMES)
def test_capture_times_play_no_part_in_decoding(kind: str) -> None:
    """A camera that stamps packets when it sends them, or whose clock jumps, is decoded and handed over alike."""
    packets = units(STREAMS[kind])
    stamped = [replace(one, captured_at_s=2e9 - one.captured_at_s + 7 * (number % 3)) for number, one in enumerate(packets)]
    shown, others = all_shown(fed(decoder(packets), packets)), all_shown(fed(decoder(packets), stamped))
    assert [(one.offset, one.keyframe_offset) for one in others] == [(one.offset, one.keyframe_offset) for one in shown]


def expected_from(kind: str, first: int) -> list[int]:
    """Records whose pictures are shown if decoding begins at a record: its own, and what is shown after it."""
    order = [one.offset for one in played(STREAMS[kind])]
    return [offset for offset in order[order.index(first) :] if offset >= first]


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


def test_parameter_sets_do_not_make_a_keyframe() -> None:
    """Some cameras send them with every picture: a successor that began there would show nothing."""
    packets = list(units(STREAMS["H.264 B-frames"]))
    parameters = only(packets[0], H264_SPS, H264_PPS)
    packets[1:] = [one if one.keyframe else replace(one, payload=parameters + one.payload) for one in packets[1:]]
    assert not decoder(packets).is_keyframe(replace(packets[5], keyframe=None))
    right = unbroken(STREAMS["H.264 B-frames"])
    for done, place in enumerate(Owner(packets).run(len(packets), drain=False).places, start=1):
        assert Owner(packets, place).run(len(packets)).asked == right[done:]


def test_a_picture_of_another_size_loses_none_before_it() -> None:
    """A camera that changes its resolution: the pictures that the decoder still held come out, each at the model's size."""
    small = STREAMS["H.264 B-frames"]
    large = replace(small, size=(160, 128))
    packets = in_a_row([*units(small)[:17], *units(large)])
    came = fed(decoder(packets), packets)
    assert sorted(offsets(came)) == list(range(len(packets)))
    assert offsets(came)[17:] == [one.offset + 17 for one in played(large)]
    assert {one.pixels.shape for one in all_shown(came) if one.pixels is not None} == {(SIZE, SIZE, 3)}


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


@pytest.mark.parametrize("kind", ["H.264", "H.264 B-frames"])
def test_records_of_which_nothing_comes_are_given_up_without_another_keyframe(kind: str) -> None:
    """H.264 goes on without a word where pictures are missing, and shows few of the rest: they do not wait for ever."""
    whole = units(replace(STREAMS[kind], frames=150))
    packets = [whole[0], *(one for one in whole[20:] if not one.keyframe)]
    taking = decoder(packets)
    came = []
    for packet in packets:
        came.append(taking.feed(packet, lambda *_: True))
        assert len(taking.pending) <= 66
    given_up = [offset for each in came for offset in each.given_up]
    assert given_up == sorted(set(given_up))
    assert len(given_up) > 30


def test_a_group_of_b_frames_may_be_as_long_as_encoders_make_it() -> None:
    """A picture that is shown 16 records later than it came is waited for."""
    stream = replace(STREAMS["H.264"], parameters="threads=1:keyint=60:scenecut=0:b-adapt=0:bframes=16:b-pyramid=none", frames=60)
    packets = units(stream)
    assert max(abs(one.offset - number) for number, one in enumerate(played(stream))) == 16
    assert offsets(fed(decoder(packets), packets)) == [one.offset for one in played(stream)]


NO_ACCESS_UNITS = {
    "MP4's lengths": (lambda one: len(one).to_bytes(4, "big") + one[4:], "unreadable", "not a start code"),
    "nothing but zeros": (lambda _: bytes(100), "unreadable", "not a start code"),
    "JPEG": (lambda _: b"\xff\xd8\xff\xe0" + bytes(range(100)), "unreadable", "not a start code"),
    "no picture": (lambda _: b"\x00\x00\x00\x01\x0c\xff\x80", "no_picture", "parameter sets belong"),
    "a picture's head": (lambda one: one[:6], "corrupt", "Invalid data"),
}


@pytest.mark.parametrize("kind", ["H.264 B-frames", "H.265 B-frames open"])
@pytest.mark.parametrize("bad", NO_ACCESS_UNITS)
def test_a_record_that_is_no_access_unit_is_refused_and_what_was_held_back_comes_out(kind: str, bad: str) -> None:
    """The record is to blame, not those before it; decoding needs a keyframe then."""
    packets = units(STREAMS[kind])
    spoil, reason, words = NO_ACCESS_UNITS[bad]
    if reason == "no_picture" and kind.startswith("H.265"):
        spoil = lambda _: b"\x00\x00\x01\x46\x01\x50"  # noqa: E731
    taking = decoder(packets)
    came = [taking.feed(packet, lambda *_: True) for packet in packets[:8]]
    with pytest.raises(UnusableRecord, match=words) as refused:
        taking.feed(replace(packets[8], payload=spoil(packets[8].payload)), lambda *_: True)
    assert (refused.value.stage, refused.value.reason) == ("decode", reason)
    assert taking.needs_keyframe
    assert sorted(offsets([*came, taking.drain(lambda *_: True)])) == list(range(8))
    with pytest.raises(UnusableRecord):
        decoder(packets).feed(replace(packets[0], payload=spoil(packets[8].payload)), lambda *_: True)


def test_the_size_of_a_picture_is_limited() -> None:
    """A picture over the limits is refused with its own record, wherever it stands; those before it come out."""
    small, large = STREAMS["H.264 B-frames"], replace(STREAMS["H.264 B-frames"], size=(128, 64))
    packets = in_a_row([*units(small)[:14], *units(large)])
    for limits in (DecodeLimits(max_pixels=96 * 64), DecodeLimits(max_side=100)):
        taking = decoder(packets, limits)
        came = [taking.feed(packet, lambda *_: True) for packet in packets[:14]]
        with pytest.raises(UnusableRecord, match="allowed are") as refused:
            taking.feed(packets[14], lambda *_: True)
        assert refused.value.reason == "too_many_pixels"
        assert taking.needs_keyframe
        assert sorted(offsets([*came, taking.drain(lambda *_: True)])) == list(range(14))
    with pytest.raises(UnusableRecord):
        decoder(packets, DecodeLimits(max_pixels=1000)).feed(packets[0], lambda *_: True)


def test_what_a_decoder_may_hold_is_told_by_its_pictures() -> None:
    """Nothing before the first, then 17 pictures of 1.5 bytes a pixel at least."""
    packets = units(STREAMS["H.264"])
    taking = decoder(packets)
    assert taking.memory_bytes == 0
    taking.feed(packets[0], lambda *_: True)
    assert 17 * 96 * 64 * 1.5 <= taking.memory_bytes <= 17 * 128 * 96 * 1.5


def damaged(payload: bytes) -> Iterator[bytes]:
    """A record cut short, and with bytes changed in its slices."""
    yield payload[: len(payload) // 2]
    yield payload[:-1]
    middle = len(payload) * 2 // 3
    yield payload[:middle] + bytes(255 - byte for byte in payload[middle : middle + 4]) + payload[middle + 4 :]


@pytest.mark.parametrize("kind", STREAMS)
def test_a_damaged_record_costs_its_group_of_pictures_at_most(kind: str) -> None:
    """Refused, given up or shown, but every record once, in order; from the next keyframe on all is as if nothing had been."""
    packets = list(units(STREAMS[kind]))
    right = dict(unbroken(STREAMS[kind]))
    entries = [packet.position.offset for packet in packets if decoder(packets).is_keyframe(packet)]
    for bad in (4, 10, 13)[: 3 if len(packets) > 13 else 1]:
        after = next(entry for entry in entries if entry > bad)
        for payload in damaged(packets[bad].payload):
            came, broke = [], False
            taking = decoder(packets)
            for packet in [*packets[:bad], replace(packets[bad], payload=payload), *packets[bad + 1 :]]:
                if taking.needs_keyframe and not taking.is_keyframe(packet):
                    continue
                try:
                    came.append(taking.feed(packet, lambda *_: True))
                except UnusableRecord:
                    broke = True
                    came.append(taking.drain(lambda *_: True))
            came.append(taking.drain(lambda *_: True))
            outcomes = offsets(came) + [offset for each in came for offset in each.given_up]
            assert len(outcomes) == len(set(outcomes))
            assert broke or sorted(outcomes) == list(range(len(packets)))
            if "gradual" not in kind:
                sound = [one for one in all_shown(came) if one.offset in expected_from(kind, after)]
                assert [one.offset for one in sound] == expected_from(kind, after)
                assert all(one.pixels is not None and digest(one.pixels) == right[one.offset] for one in sound)


@given(
    kind=st.sampled_from(sorted(STREAMS)),
    where=st.lists(st.tuples(st.integers(0, 33), st.floats(0, 1), st.binary(max_size=6)), min_size=1, max_size=4),
)
def test_no_bytes_break_more_than_their_record(kind: str, where: list[tuple[int, float, bytes]]) -> None:
    """Whatever a camera sends: pictures at most once, in records that were fed, or an UnusableRecord."""
    packets = list(units(STREAMS[kind]))
    for number, part, put in where:
        packet = packets[number % len(packets)]
        at = int(part * len(packet.payload))
        packets[packet.position.offset] = replace(packet, payload=packet.payload[:at] + put + packet.payload[at + len(put) :])
    taking, seen = decoder(packets), []
    for packet in packets:
        if taking.needs_keyframe and not taking.is_keyframe(packet):
            continue
        try:
            came = taking.feed(packet, lambda *_: True)
        except UnusableRecord:
            came = taking.drain(lambda *_: True)
        seen += [*came.given_up, *(one.offset for one in came.shown)]
    came = taking.drain(lambda *_: True)
    seen += [*came.given_up, *(one.offset for one in came.shown)]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(len(packets)))
