"""The access units of a recording: exactly its pictures, in decoding order, not encoded anew."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.preprocess import fit
from stream.clock import event_time
from tests.integration.moving_pictures import T0_S, Video, from_packet, play, write
from tests.integration.recorded_world import SIZE, VIDEOS, published, shown
from tools.recordings import (
    AsAccessUnits,
    Placement,
    Recording,
    find,
    merged,
    publications,
)

SHAPE = "bframes=3:b-adapt=0:scenecut=0:keyint=12:min-keyint=12"
X264 = {"x264-params": SHAPE}
X264_OPEN = {"x264-params": f"{SHAPE}:open-gop=1"}
X265 = {"preset": "ultrafast", "x265-params": f"{SHAPE}:log-level=none:pools=none"}
"""Open groups are its default."""

UNIT_VIDEOS = {
    "mp4": Video(frames=40, codec_options=X264),
    "fragmented mp4": Video(frames=40, codec_options=X264, muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "29.97 transport stream": Video(frames=40, codec_options=X264, fps=Fraction(30000, 1001), muxer="mpegts"),
    "matroska, no B-frames": Video(frames=40, gop=12, codec_options={"bf": "0"}, muxer="matroska", fps=Fraction(25)),
    "avi": Video(frames=40, gop=12, codec_options={"bf": "0"}, muxer="avi", fps=Fraction(25)),
    "flv": Video(frames=40, codec_options=X264, muxer="flv", fps=Fraction(25)),
    "open groups": Video(frames=40, codec_options=X264_OPEN),
    "open groups, transport stream": Video(frames=40, codec_options=X264_OPEN, muxer="mpegts"),
    "H.265": Video(frames=40, codec="libx265", codec_options=X265),
    "H.265 matroska": Video(frames=40, codec="libx265", codec_options=X265, muxer="matroska", fps=Fraction(25)),
    "H.265 transport stream": Video(frames=40, codec="libx265", codec_options=X265, muxer="mpegts"),
    "variable rate": Video(frames=8, gop=3, muxer="matroska", times_ms=(0, 40, 200, 233, 900, 901, 1500, 1540)),
}


@pytest.mark.parametrize("kind", UNIT_VIDEOS)
def test_access_units_are_exactly_the_files_pictures(tmp_path: Path, kind: str) -> None:
    """Every packet is a record that names its own picture's time: same count, order, times and pixels as a player shows."""
    file = write(tmp_path / "video", UNIT_VIDEOS[kind])
    seen, done = play(file), published(file, AsAccessUnits())
    assert [one.seq for one in done] == list(range(len(seen)))
    pictures = shown(done)
    assert [one.captured_at_s for one in pictures] == [event_time(float(Fraction(T0_S) + each.after_s)) for each in seen]
    assert all(np.array_equal(one.pixels, fit(each.rgb, SIZE)) for one, each in zip(pictures, seen, strict=True))


@pytest.mark.parametrize("kind", UNIT_VIDEOS)
def test_a_decoder_can_begin_at_every_keyframe(tmp_path: Path, kind: str) -> None:
    """Its parameter sets are in it; what is shown from there on is what a player shows."""
    file = write(tmp_path / "video", UNIT_VIDEOS[kind])
    done = published(file, AsAccessUnits())
    right = {one.captured_at_s: one.pixels for one in shown(done)}
    keys = [place for place, one in enumerate(done) if one.unit is not None and one.unit.keyframe]
    assert len(keys) >= 3
    for key in keys:
        pictures = shown(done[key:])
        later = [at_s for at_s in right if at_s >= done[key].captured_at_s]
        assert [one.captured_at_s for one in pictures if one.captured_at_s >= done[key].captured_at_s] == later
        assert all(np.array_equal(one.pixels, right[one.captured_at_s]) for one in pictures)


def test_access_units_come_in_decoding_order_when_a_camera_would_have_them(tmp_path: Path) -> None:
    """With B-frames a picture's own time goes back and forth, but none is due before one that it was decoded after."""
    file = write(tmp_path / "video", UNIT_VIDEOS["29.97 transport stream"])
    done = published(file, AsAccessUnits())
    captured = [one.captured_at_s for one in done]
    assert captured != sorted(captured)
    assert [one.due_s for one in done] == [max(captured[: place + 1]) for place in range(len(done))]
    with av.open(str(file)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        time_base = container.streams.video[0].time_base
    heads = [one.unit for one in done if one.unit is not None]
    assert [head.pts for head in heads] == [packet.pts for packet in packets]
    assert [head.keyframe for head in heads] == [packet.is_keyframe for packet in packets]
    assert {head.time_base for head in heads} == {time_base} == {Fraction(1, 90_000)}
    assert {one.content_type for one in done} == {"video/h264"}


def test_nothing_is_encoded_anew(tmp_path: Path) -> None:
    """Apart from start codes and parameter sets the bytes are the file's: the slices are found in it as they are."""
    file = write(tmp_path / "video", UNIT_VIDEOS["open groups"])
    content = file.read_bytes()
    slices = [max(one.payload.split(b"\x00\x00\x01"), key=len).rstrip(b"\x00") for one in published(file, AsAccessUnits())]
    assert all(each in content for each in slices)


def test_a_video_may_end_with_pictures_that_need_the_group_before(tmp_path: Path) -> None:
    """An open group's leading pictures are the last packets: they are whole all the same."""
    file = write(tmp_path / "video", Video(frames=13, codec_options=X264_OPEN))
    done = published(file, AsAccessUnits())
    assert done[-1].captured_at_s < max(one.captured_at_s for one in done if one.unit is not None and one.unit.keyframe)
    assert len(shown(done)) == len(done) == 13


def test_a_video_may_begin_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    """It begins with an open group: what needs the group before is left out, and the first keyframe has its parameter sets."""
    whole = write(tmp_path / "whole", Video(frames=40, codec_options=X264_OPEN))
    file = tmp_path / "video"
    file.write_bytes(from_packet(whole.read_bytes(), "mp4", 9))
    done = published(file, AsAccessUnits())
    right = [fit(each.rgb, SIZE) for each in play(whole)][12:]
    pictures = shown(done)
    assert len(pictures) == len(done) == len(right)
    assert all(np.array_equal(one.pixels, picture) for one, picture in zip(pictures, right, strict=True))


@pytest.mark.parametrize("kind", ["VP9", "MPEG-2", "avi, MPEG-4"])
def test_a_video_without_access_units_is_named_with_the_remedy(tmp_path: Path, kind: str) -> None:
    """Another codec's video is left out with one sentence; the other cameras go on."""
    write(tmp_path / "other.mkv", VIDEOS[kind])
    write(tmp_path / "good.mp4")
    problems: list[str] = []
    done = list(merged(find([str(tmp_path)], Placement(T0_S)), AsAccessUnits(), problems.append))
    assert {one.camera for one in done} == {"good"}
    assert len(problems) == 1
    assert "other.mkv is" in problems[0]
    assert "publish segments or stills" in problems[0]


def test_a_turned_video_is_not_published_as_access_units(tmp_path: Path) -> None:
    """Only its file says that it is turned: from its access units alone the pictures would lie on their side."""
    file = write(tmp_path / "video", Video(turned=90))
    problems: list[str] = []
    assert list(publications(Recording("den", str(file), T0_S), AsAccessUnits(), problems.append)) == []
    assert len(problems) == 1
    assert "turned" in problems[0]


@pytest.mark.parametrize("kind", ["mp4", "open groups", "H.265", "H.265 transport stream"])
def test_a_loop_of_access_units_is_one_stream(tmp_path: Path, kind: str) -> None:
    """One decoder shows every picture of every round, at times that go on."""
    file = write(tmp_path / "video", UNIT_VIDEOS[kind])
    done = list(islice(publications(Recording("den", str(file), T0_S), AsAccessUnits(), pytest.fail, loop=True), 100))
    assert [one.seq for one in done] == list(range(100))
    dues = [one.due_s for one in done]
    assert dues == sorted(dues)
    pictures = shown(done[:80])
    assert [one.captured_at_s for one in pictures] == pytest.approx([T0_S + number / 30 for number in range(80)], abs=3e-6)
    for first, again in zip(pictures[:40], pictures[40:], strict=True):
        assert np.array_equal(first.pixels, again.pixels)
