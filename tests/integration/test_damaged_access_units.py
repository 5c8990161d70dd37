"""Access units that are damaged, too large or none: refused or given up, and nothing else suffers for long."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.decode import DecodeLimits
from stream.errors import UnusableRecord
from tests.integration.annex_b import STREAMS, all_shown, decoder, digest, expected_from, fed, in_a_row, offsets, unbroken, units


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


@pytest.mark.parametrize("kind", [kind for kind in STREAMS if kind.startswith("H.264")])
def test_a_picture_that_ends_in_the_middle_is_not_asked(kind: str) -> None:
    """FFmpeg fills the rest in and says so; the record is given up."""
    packets = list(units(STREAMS[kind]))
    for bad in (4, 5, 10):
        half = packets[bad].payload[: len(packets[bad].payload) // 2]
        came = fed(decoder(packets), [*packets[:bad], replace(packets[bad], payload=half), *packets[bad + 1 :]])
        assert [offset for each in came for offset in each.given_up] == [bad]
        assert sorted([*offsets(came), bad]) == list(range(len(packets)))


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


WITHOUT_A_WAY_TO_RGB = {
    "H.264": ("H.264", "YCgCo"),
    "H.264 B-frames": ("H.264 B-frames", "YCgCo"),
    "H.265 B-frames": ("H.265 B-frames closed", "bt2020c"),
}


@pytest.mark.parametrize(("kind", "matrix"), WITHOUT_A_WAY_TO_RGB.values(), ids=WITHOUT_A_WAY_TO_RGB)
def test_pictures_that_cannot_be_converted_say_why_and_stop_nothing(kind: str, matrix: str) -> None:
    """Colours that swscale knows no way from: every picture comes out with its record, those that lie in the decoder, too."""
    stream = STREAMS[kind]
    packets = units(replace(stream, parameters=f"{stream.parameters}:colormatrix={matrix}"))
    came = fed(decoder(packets), packets)
    assert sorted(offsets(came)) == list(range(len(packets)))
    assert all(one.pixels is None and one.fault and "colour conversion" in one.fault for one in all_shown(came))
    unasked = [*(taking := decoder(packets)).feed(packets[0], lambda *_: False).shown, *taking.drain(lambda *_: False).shown]
    assert [one.fault for one in unasked] == [None]
