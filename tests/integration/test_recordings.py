"""Recordings: a video's segments and stills hold exactly its pictures, and a damaged video gives what can be read of it."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.preprocess import fit
from stream.clock import event_time
from stream.decode import DecodeLimits, DecodeRequest, decode
from tests.integration.moving_pictures import T0_S, Video, from_packet, packet, play, write
from tests.integration.recorded_world import SIZE, VIDEOS, published, sampled, shown, worker_pictures
from tools.recordings import (
    MAX_PAYLOAD_BYTES,
    AsAccessUnits,
    AsSegments,
    AsStills,
    Placement,
    Recording,
    find,
    merged,
    publications,
)


@pytest.mark.parametrize("kind", VIDEOS)
def test_segments_hold_exactly_the_files_pictures(tmp_path: Path, kind: str) -> None:
    """Cutting changes no picture and no time: same count, times and pixels as a player shows."""
    file = write(tmp_path / "video", VIDEOS[kind])
    seen = play(file)
    done = published(file, AsSegments(segment_s=1.0))
    pictures = worker_pictures(done)
    assert len(done) > 1
    assert len(pictures) == len(seen)
    for picture, played in zip(pictures, seen, strict=True):
        # A segment's own time is in whole microseconds, and so is every picture's: two roundings.
        assert abs(picture.captured_at_s - event_time(float(Fraction(T0_S) + played.after_s))) < 1.5e-6
        assert np.array_equal(picture.pixels, fit(played.rgb, SIZE))


@pytest.mark.parametrize("kind", VIDEOS)
@pytest.mark.parametrize("fps", [2.0, 5.0])
def test_stills_are_the_pictures_sampled_from_the_segments(tmp_path: Path, kind: str, fps: float) -> None:
    """A stream of stills gives the worker the same pictures at the same times as a stream of segments."""
    file = write(tmp_path / "video", VIDEOS[kind])
    of_segments = list(sampled(published(file, AsSegments(segment_s=1.0)), fps))
    of_stills = list(sampled(published(file, AsStills(sample_fps=fps, segment_s=1.0)), fps))
    assert len(of_stills) > 2
    assert [one.captured_at_s for one in of_stills] == [one.captured_at_s for one in of_segments]
    for one, other in zip(of_stills, of_segments, strict=True):
        assert np.array_equal(one.pixels, other.pixels)


def test_jpeg_stills_are_close_to_the_video(tmp_path: Path) -> None:
    """JPEG is the smaller, lossy choice."""
    file = write(tmp_path / "video", Video())
    stills = published(file, AsStills(sample_fps=5.0, picture="jpeg", quality=95))
    lossless = published(file, AsStills(sample_fps=5.0))
    assert {one.content_type for one in stills} == {"image/jpeg"}
    for one, other in zip(worker_pictures(stills), worker_pictures(lossless), strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 4


def test_segments_are_closed_numbered_and_due_at_their_end(tmp_path: Path) -> None:
    """A segment begins with a keyframe after the wished length, and a camera would have it at its end."""
    file = write(tmp_path / "video", Video(frames=90, gop=15))
    done = published(file, AsSegments(segment_s=1.0))
    assert [one.captured_at_s - T0_S for one in done] == [0.0, 1.0, 2.0]
    assert [one.due_s - T0_S for one in done] == [1.0, 2.0, 3.0]
    assert [one.seq for one in done] == [0, 1, 2]
    assert {one.content_type for one in done} == {"video/mp4"}


def test_a_segment_ends_at_a_keyframe_however_short_it_is_wished(tmp_path: Path) -> None:
    """Keyframes four seconds apart make segments of four seconds."""
    file = write(tmp_path / "video", Video(frames=64, gop=32, fps=Fraction(8)))
    assert [one.due_s - one.captured_at_s for one in published(file, AsSegments(segment_s=0.5))] == [4.0, 4.0]


def test_open_groups_lose_only_the_pictures_that_need_the_segment_before(tmp_path: Path) -> None:
    """An open group's leading pictures are left out; every other picture keeps its time."""
    video = Video(
        frames=60, gop=20, codec="libx265", codec_options={"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}
    )
    file = write(tmp_path / "video", video)
    times = [event_time(T0_S + float(played.after_s)) for played in play(file)]
    pictures = [picture.captured_at_s for picture in worker_pictures(published(file, AsSegments(segment_s=0.5)))]
    assert len(times) - 12 <= len(pictures) < len(times)
    request = DecodeRequest(SIZE, 0.001, DecodeLimits())
    for one in published(file, AsSegments(segment_s=0.5)):
        assert decode(packet(one.payload, one.content_type), request, lambda _: True).skipped == 0
    assert all(min(abs(one - time) for time in times) < 1.5e-6 for one in pictures)
    assert pictures == sorted(set(pictures))


def test_a_rotation_survives_the_cut(tmp_path: Path) -> None:
    """A phone's video is upright in its segments and stills."""
    file = write(tmp_path / "video", Video(frames=30, gop=15, turned=90))
    upright = fit(np.rot90(play(file)[0].rgb), SIZE)
    for form in (AsSegments(segment_s=0.5), AsStills(segment_s=0.5)):
        assert np.array_equal(worker_pictures(published(file, form))[0].pixels, upright)


def test_an_edit_list_hides_no_picture(tmp_path: Path) -> None:
    """What an editor marked as not to be played was still recorded."""
    file = tmp_path / "trimmed.mp4"
    file.write_bytes(from_packet(write(tmp_path / "whole.mp4").read_bytes(), "mp4", 0, earlier=15360 // 3))
    assert len(play(file)) < 30
    assert len(worker_pictures(published(file, AsSegments()))) == 30


def test_a_loop_goes_on_in_event_time(tmp_path: Path) -> None:
    """Each round begins where the one before ended; numbers go on; stills are sampled across the seam."""
    file = write(tmp_path / "video", Video(frames=36, gop=12))
    for form, step_s in ((AsSegments(segment_s=0.4), 0.4), (AsStills(sample_fps=2.5, segment_s=0.4), 0.4)):
        done = list(islice(publications(Recording("den", str(file), T0_S), form, pytest.fail, loop=True), 8))
        assert [round(one.captured_at_s - T0_S, 6) for one in done] == pytest.approx([step_s * n for n in range(8)], abs=2e-6)
        assert [one.seq for one in done] == list(range(8))


def test_cameras_are_merged_by_the_time_their_records_are_ready(tmp_path: Path) -> None:
    """Two copies with an offset interleave as two cameras would."""
    file = write(tmp_path / "den.mp4", Video(frames=60, gop=15))
    both = find([str(file)], Placement(T0_S, copies=2, offset_s=0.25))
    assert [one.camera for one in both] == ["den-1", "den-2"]
    done = list(merged(both, AsSegments(segment_s=0.5), pytest.fail))
    assert [round(one.due_s - T0_S, 6) for one in done] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25]


@pytest.mark.parametrize(
    "video",
    [
        Video(frames=90, gop=15, muxer_options={"movflags": "faststart"}),
        Video(frames=90, gop=15, muxer_options={"movflags": "frag_keyframe+empty_moov"}),
        Video(frames=90, gop=15, muxer="mpegts"),
        Video(frames=90, gop=15, muxer="matroska"),
        Video(frames=90, gop=15, codec="mpeg4", muxer="avi"),
    ],
    ids=["mp4", "fragmented mp4", "transport stream", "matroska", "avi"],
)
@pytest.mark.parametrize("part", [0.503, 0.77])
def test_a_video_that_ends_in_the_middle_gives_what_can_be_read_and_a_warning(tmp_path: Path, video: Video, part: float) -> None:
    """The readable pictures are published, all of them usable, and one sentence names the file; the other cameras go on."""
    whole = write(tmp_path / "video", video)
    broken = tmp_path / "broken"
    broken.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    problems: list[str] = []
    recordings = [Recording("broken", str(broken), T0_S), Recording("sound", str(whole), T0_S)]
    done = list(merged(recordings, AsSegments(segment_s=0.5), problems.append))
    assert len(problems) == 1, problems
    problem = problems[0]
    assert str(broken) in problem
    assert len([one for one in done if one.camera == "sound"]) == 6
    pictures = worker_pictures([one for one in done if one.camera == "broken"])
    assert 90 * part - 40 < len(pictures) < 90
    right = {event_time(T0_S + float(seen.after_s)): seen.rgb for seen in play(whole)}
    for picture in pictures:
        assert np.array_equal(picture.pixels, fit(right[picture.captured_at_s], SIZE))
    if video.codec == "libx264":
        units = list(publications(recordings[0], AsAccessUnits(), problems.append))
        assert problems == [problem] * 2
        assert [one.captured_at_s for one in shown(units)] == [picture.captured_at_s for picture in pictures]


def test_a_picture_that_was_cut_does_not_spoil_its_segment(tmp_path: Path) -> None:
    """A transport stream does not tell that its last picture is half: it is tried, and left out."""
    whole = write(tmp_path / "whole.ts", Video(width=320, height=240, muxer="mpegts", codec_options={"crf": "4"}))
    half = tmp_path / "half.ts"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 188 // 2 * 188])
    problems: list[str] = []
    done = list(publications(Recording("den", str(half), T0_S), AsSegments(0.5), problems.append))
    assert len(problems) == 1
    assert "half.ts" in problems[0]
    assert 10 < len(worker_pictures(done)) < 25
    done = list(publications(Recording("den", str(half), T0_S), AsAccessUnits(), problems.append))
    assert problems[1] == problems[0]
    assert 10 < len(shown(done)) == len(done) < 25


def test_files_that_are_no_video_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    """Text, sound and an MP4 without its index are each named once."""
    write(tmp_path / "good.mp4")
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:-900])
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    problems: list[str] = []
    done = list(merged(find([str(tmp_path)], Placement(T0_S)), AsSegments(), problems.append))
    assert {one.camera for one in done} == {"good"}
    assert sorted(Path(problem.split(" ")[0]).name for problem in problems) == ["cut.mp4", "sound.mkv", "text.mp4"]


def test_a_record_over_the_limit_is_refused_with_limit_and_remedy(tmp_path: Path) -> None:
    """A segment that the topic would not take is named before it is sent."""
    noisy = tmp_path / "noise.mkv"
    with av.open(str(noisy), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 1600, 1200, "gray", 1
        rng = np.random.default_rng(0)
        for _ in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 256, (1200, 1600), np.uint8), format="gray")))
        container.mux(stream.encode())
    problems: list[str] = []
    assert list(publications(Recording("den", str(noisy), T0_S), AsSegments(6.0), problems.append)) == []
    assert str(MAX_PAYLOAD_BYTES) in problems[0]
    assert "shorter segments" in problems[0]
    assert len(published(noisy, AsSegments(1.0))) == 6
