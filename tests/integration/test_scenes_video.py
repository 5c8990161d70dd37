"""A rendered video is what a recorder would have written, and its truth can be read back."""

from dataclasses import replace
from pathlib import Path

import av
import pytest

from tools.errors import CommandError
from tools.scenes.planning import Scene, plan
from tools.scenes.script import FPS
from tools.scenes.video import film, load_truth

FRAMES = 25


def a_short_scene() -> Scene:
    """The first 2.5 s of a small video."""
    scene = plan(5, cameras=2)[1]
    return replace(scene, script=replace(scene.script, frames=FRAMES))


def test_video_has_its_recording_time_and_a_closed_group_every_second(tmp_path: Path) -> None:
    """Replay starts at the recorded time and cuts segments at keyframes without looking at others."""
    scene = a_short_scene()
    (path,) = film([scene], tmp_path, lambda _done, _total: None)
    with av.open(path) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
        assert video.metadata["creation_time"].startswith(load_truth(path.with_suffix(".json")).recorded_at[:-1])
        assert [index for index, packet in enumerate(packets) if packet.is_keyframe] == [0, FPS, 2 * FPS]
        assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
        assert (video.streams.video[0].width, len(packets)) == (320, FRAMES)


def test_same_scene_gives_the_same_pixels(tmp_path: Path) -> None:
    """A demo can be repeated: the seed decides the last bit."""
    pictures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (path,) = film([a_short_scene()], tmp_path / name, lambda _done, _total: None)
        with av.open(path) as video:
            pictures.append([frame.to_ndarray().tobytes() for frame in video.decode(video=0)])
    assert pictures[0] == pictures[1]


def test_truth_is_read_back_as_planned(tmp_path: Path) -> None:
    """The file beside the video says what the plan says."""
    scene = a_short_scene()
    seen: list[tuple[int, int]] = []
    film([scene], tmp_path, lambda done, total: seen.append((done, total)))
    truth = load_truth(tmp_path / f"{scene.camera}.json")
    assert (truth.camera, truth.duration_s, truth.episodes) == (scene.camera, FRAMES / FPS, scene.episodes)
    assert seen[-1] == (FRAMES, FRAMES)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"camera": "a"}'])
def test_a_file_that_is_no_truth_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    """The error names the file and says how to make one."""
    path = tmp_path / "hall.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=r"hall\.json.*tools/run scenes"):
        load_truth(path)
