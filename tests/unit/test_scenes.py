"""Rules of the rendered world: scripts, truth and look-alikes follow from the seed and from what the picture shows."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tools.scenes.moments import BEHAVIORS, Dog, Moment, labels
from tools.scenes.pen import CLASSES
from tools.scenes.planning import Scene, plan
from tools.scenes.render import View, render_with_classes
from tools.scenes.rooms import Room, sample_room
from tools.scenes.sampling import sample, seeded
from tools.scenes.script import FPS, WALK_FRAMES

SEEDS = range(50)
ACTIVITIES = slice(BEHAVIORS.index("barking"), None)


@pytest.fixture(scope="module")
def plans() -> list[tuple[Scene, ...]]:
    """Three cameras of each seed."""
    return [plan(seed, cameras=3) for seed in SEEDS]


def a_dog(action: str, **changes: object) -> Dog:
    """A dog in the middle of the floor, looking right."""
    dog = Dog(action=action, place="floor", x=160.0, y=200.0, face=1, variant=0, phase_s=0.0)
    return replace(dog, **changes)


def a_moment(dog: Dog | None) -> Moment:
    """Nothing but the dog and a bowl."""
    return Moment(dog=dog, person=None, bowl=(40.0, 215.0), ball=None, crumbs=None, door_open=0.0)


def a_room() -> Room:
    """Some room, by day."""
    return sample_room(seeded(4), night=False)


def test_the_same_seed_plans_the_same_videos_and_another_seed_others() -> None:
    """A plan follows from its seed alone."""
    assert plan(7, cameras=2) == plan(7, cameras=2)
    assert plan(7, cameras=2) != plan(8, cameras=2)


def test_more_cameras_leave_the_first_ones_as_they_were() -> None:
    """A camera's video does not depend on how many others are rendered."""
    assert plan(7, cameras=4)[:2] == plan(7, cameras=2)


def test_three_cameras_show_every_behavior_in_at_least_ten_episodes(plans: list[tuple[Scene, ...]]) -> None:
    """Whatever the seed, there is enough to find."""
    for scenes in plans:
        episodes = [episode for scene in scenes for episode in scene.episodes]
        assert len(episodes) >= 10
        assert {episode.behavior for episode in episodes} == set(BEHAVIORS)


def test_three_cameras_show_every_look_alike(plans: list[tuple[Scene, ...]]) -> None:
    """Whatever the seed, the dog pants, sniffs, lies awake, sits and stands still, and one camera shows no person."""
    for scenes in plans:
        actions = {shot.dog.action for scene in scenes for shot in scene.script.shots}
        assert actions >= {"pant", "sniff", "lie", "sit", "idle"}
        assert any(scene.script.visit is None for scene in scenes)


def test_one_camera_in_three_is_at_night_and_both_sizes_occur(plans: list[tuple[Scene, ...]]) -> None:
    """Night and resolution are part of every set of three."""
    for scenes in plans:
        assert sum(scene.script.room.light.night for scene in scenes) == 1
        assert {scene.scale for scene in scenes} == {1.0, 2.0}


def test_episodes_are_long_apart_and_inside_the_video(plans: list[tuple[Scene, ...]]) -> None:
    """Each lasts 6-10 s (the dog's stay longer), 8 s lie between two of a kind, 1.5 s before the first and after the last."""
    for scene in itertools.chain.from_iterable(plans):
        assert 55 <= scene.duration_s <= 75
        for episode in scene.episodes:
            assert episode.start_s >= 1.5
            assert episode.end_s <= scene.duration_s - 1.5
            assert episode.behavior == "dog_present" or 5.9 <= episode.end_s - episode.start_s <= 10.1, episode
        for one, next_one in itertools.pairwise(scene.episodes):
            assert one.behavior != next_one.behavior or next_one.start_s - one.end_s >= 8, (one, next_one)


def test_episodes_say_of_every_frame_what_its_picture_shows() -> None:
    """A frame lies in an episode of a behavior exactly if the behavior is true of it."""
    (scene,) = plan(3, cameras=1)
    for frame in range(scene.script.frames):
        now = {e.behavior for e in scene.episodes if e.start_s <= frame / FPS < e.end_s}
        true = labels(scene.script.room, scene.script.moment(frame))
        assert now == {behavior for behavior, holds in zip(BEHAVIORS, true, strict=True) if holds}


def test_a_walking_dog_does_nothing_else_and_arrives_soon(plans: list[tuple[Scene, ...]]) -> None:
    """Between two spots no activity is true, and it takes at most 1.2 s."""
    for scene in itertools.chain.from_iterable(plans[:10]):
        for shot in scene.script.shots:
            assert shot.arrives - shot.start <= WALK_FRAMES[1] == 1.2 * FPS
            for frame in range(shot.start, shot.arrives):
                assert not any(labels(scene.script.room, scene.script.moment(frame))[ACTIVITIES])


def test_a_dog_outside_the_picture_is_not_there() -> None:
    """Nothing is true of a dog that the camera does not see."""
    away = a_moment(a_dog("bark", x=-90.0))
    assert labels(a_room(), away) == (False,) * len(BEHAVIORS)
    assert labels(a_room(), a_moment(a_dog("bark")))[BEHAVIORS.index("barking")]


def test_any_frame_of_a_barking_dog_shows_an_open_mouth_and_of_a_panting_one_a_small_one() -> None:
    """Single frames are asked: no phase of barking may look like silence, none of panting like barking."""
    for phase_s in np.arange(0, 3, 0.05):
        assert a_dog("bark", phase_s=phase_s).mouth > 0.55
        assert a_dog("pant", phase_s=phase_s).mouth < 0.3


def test_every_question_has_enough_of_both_answers() -> None:
    """Of sampled instants each behavior is true of 8-40 %, a dog of about 90 %."""
    truth = np.array([labels(*sample(seeded(1, 0, index))) for index in range(1500)])
    rates = dict(zip(BEHAVIORS, truth.mean(0), strict=True))
    assert 0.85 < rates.pop("dog_present") < 0.95
    assert all(0.07 < rate < 0.42 for rate in rates.values()), rates


def test_the_lens_places_points_where_the_picture_shows_them() -> None:
    """Truth about visibility uses the same geometry as the renderer."""
    lens = a_room().lens
    matrix = cv2.getRotationMatrix2D((160, 120), lens.roll, lens.zoom)
    matrix[:, 2] += (lens.shift_x, lens.shift_y)
    np.testing.assert_allclose(lens.place((40.0, 200.0)), matrix @ (40, 200, 1))


def test_the_class_grid_shows_an_open_mouth_only_where_the_dog_opens_it() -> None:
    """The dense truth tells barking from panting from a shut mouth."""
    room = a_room()
    shown = {}
    for action in ("bark", "pant", "idle"):
        view = View.of(room, 1.0, 0.0)
        image, grid = render_with_classes(view, a_moment(a_dog(action)), "", seeded(1), 20)
        assert image.shape == (240, 320, 3)
        assert grid.shape == (len(CLASSES), 20, 20)
        shown[action] = {name for name, cells in zip(CLASSES, grid, strict=True) if cells.any()}
    assert {"bark", "head", "body"} <= shown["bark"]
    assert shown["pant"] & {"bark", "mouth"} == {"mouth"}
    assert not shown["idle"] & {"bark", "mouth"}


def test_no_dog_stands_in_a_table() -> None:
    """A dog's feet are never between a table's top and its legs' feet: the picture could not say what it does there."""
    for seed in range(40):
        for scene in plan(seed, 3):
            table = scene.script.room.table
            for shot in scene.script.shots:
                dog = shot.dog
                if table and dog.action not in ("chew", "walk") and not dog.on_sofa:
                    inside = abs(dog.x - table.x) < table.width / 2 and table.y - table.height < dog.y < table.y
                    assert not inside, (seed, scene.camera, dog)
