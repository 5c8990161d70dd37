"""Which videos stand for which cameras, and when they were recorded."""

import os
from pathlib import Path

import pytest

from stream.timestamps import from_rfc3339
from tests.integration.moving_pictures import T0_S, Video, write
from tools.errors import CommandError
from tools.recordings import AsSegments, Placement, Recording, find, parse_start, publications


def first_capture_s(file: Path) -> float:
    """Capture time of the first record of a file that says itself when it was recorded."""
    return next(publications(Recording("den", str(file), None), AsSegments(), pytest.fail)).captured_at_s


def test_recorded_means_the_containers_creation_time_else_the_files(tmp_path: Path) -> None:
    """The first picture's capture time is when it was recorded, as far as anybody wrote that down."""
    dated = write(tmp_path / "dated.mp4", Video(metadata={"creation_time": "2026-03-04T05:06:07Z"}))
    assert first_capture_s(dated) == from_rfc3339("2026-03-04T05:06:07Z")
    plain = write(tmp_path / "plain.ts", Video(muxer="mpegts"))
    os.utime(plain, (T0_S, T0_S + 12.5))
    assert first_capture_s(plain) == T0_S + 12.5


def test_cameras_are_named_after_their_files(tmp_path: Path) -> None:
    """A stem is a camera; where stems repeat the folder tells them apart; CAMERA=VIDEO says it oneself."""
    for name in ("a/day.mp4", "b/day.mp4", "b/yard.mkv", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find([str(tmp_path / "a"), str(tmp_path / "b" / "*.m*"), f"gate={tmp_path}/b/yard.mkv"], Placement())
    assert [one.camera for one in found] == ["a-day", "b-day", "gate", "yard"]
    found = find(["rtsp://me:secret@10.0.0.7:554/stream1", "porch=rtsp://10.0.0.8/live?x=1"], Placement())
    assert [(one.camera, one.live) for one in found] == [("porch", True), ("stream1", True)]
    assert "secret" not in found[1].name
    assert "secret" in found[1].url


@pytest.mark.parametrize(
    ("source", "says"), [("nowhere.mp4", "no such file"), ("*.nothing", "pattern"), ("", "no video in folder")]
)
def test_a_source_that_names_no_video_is_refused(tmp_path: Path, source: str, says: str) -> None:
    """A wrong path is wrong use, said before anything is published."""
    with pytest.raises(CommandError, match=says):
        find([str(tmp_path / source)], Placement())


def test_two_videos_for_one_camera_are_refused(tmp_path: Path) -> None:
    """Their times would contradict each other."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(CommandError, match="'den'"):
        find([f"den={tmp_path}/a.mp4", f"den={tmp_path}/b.mp4"], Placement())


@pytest.mark.parametrize("said", ["yesterday", "2026-01-01", "12:00"])
def test_a_start_that_is_no_time_is_refused(said: str) -> None:
    """Only the two words and RFC 3339 are taken."""
    with pytest.raises(CommandError, match="--start-at"):
        parse_start(said)
    assert parse_start("2026-01-01T00:00:00Z") == T0_S
    assert parse_start("recorded") is None
