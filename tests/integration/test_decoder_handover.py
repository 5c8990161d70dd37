"""A worker that dies with pictures inside its decoder: its successor asks what is left, once and to the bit."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.camera_decoder import CameraDecoder, Pictures, Turn
from stream.clock import ClockRules, ClockState
from stream.decode import AccessUnitDecoder, DecodeLimits
from stream.state_records import Cursor, Place
from stream.types import FramePacket
from tests.integration.annex_b import (
    H264_PPS,
    H264_SPS,
    SIZE,
    STREAMS,
    WITH_B_FRAMES,
    digest,
    only,
    unbroken,
    units,
    without_reordering_word,
)

EVERY_PICTURE = ClockRules(sample_fps=1000.0)


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
            assert clock is not None
            self.places[-1:] = [Place(Cursor(taking.next_offset), clock)]
        return self

    def _take(self, pictures: Pictures, clock: ClockState | None) -> ClockState | None:
        frames = {frame.position: frame for frame in pictures.frames}
        for step in pictures.steps:
            assert step.asked is not None
            self.asked.append((step.asked.offset, digest(frames[step.asked].pixels)))
            self.places.append(step.place)
        return pictures.sampler.state or clock


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
    """Each owner reads some records and dies before its last answers are written; the next one goes on from there."""
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
def test_a_successor_reads_no_more_again_than_it_needs(kind: str) -> None:
    """From the keyframe of the picture that was shown last; of an open group, it may be from the one before."""
    packets = units(STREAMS[kind])
    judge = AccessUnitDecoder(packets[0].content_type, SIZE, DecodeLimits())
    entries = [packet.position.offset for packet in packets if judge.is_keyframe(packet)]
    if "gradual" in kind:
        entries = entries[:1]  # nowhere else is a decoder complete at once
    opens = kind in {"H.264 B-frames open", "H.265", "H.265 B-frames open"}
    for (offset, _), place in zip(unbroken(STREAMS[kind]), Owner(packets).run(len(packets), drain=False).places, strict=False):
        before = [entry for entry in entries if entry <= offset]
        assert place.decoder is not None
        assert place.decoder.keyframe_offset in entries
        assert place.decoder.keyframe_offset >= before[-2 if opens else -1 :][0]


@pytest.mark.parametrize("kind", ["H.264 B-frames", "H.264 B-frames open", "H.264 four slices"])
def test_a_stream_that_does_not_say_how_far_it_reorders_is_shown_in_order(kind: str) -> None:
    """No picture is dropped or shown early while the decoder finds out, before a handover and after it."""
    packets, right = [without_reordering_word(one) for one in units(STREAMS[kind])], unbroken(STREAMS[kind])
    assert packets[0].payload != units(STREAMS[kind])[0].payload
    whole = Owner(packets).run(len(packets), drain=False)
    for done, place in enumerate(whole.places, start=1):
        assert whole.asked[:done] + Owner(packets, place).run(len(packets)).asked == right


def test_a_successor_does_not_begin_where_parameter_sets_are_all_there_is() -> None:
    """Some cameras send them with every picture: it would show nothing before the next keyframe."""
    packets = list(units(STREAMS["H.264 B-frames"]))
    parameters = only(packets[0], H264_SPS, H264_PPS)
    packets[1:] = [one if one.keyframe else replace(one, payload=parameters + one.payload) for one in packets[1:]]
    right = unbroken(STREAMS["H.264 B-frames"])
    for done, place in enumerate(Owner(packets).run(len(packets), drain=False).places, start=1):
        assert Owner(packets, place).run(len(packets)).asked == right[done:]
