"""The judge of the chaos runs, judged: every mistake that a worker could make is found, while it happens or at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from tests.chaos.oracle_world import (
    CAMERAS,
    PARTITIONS,
    SCRIPT,
    stream_of,
    taken,
)
from tools.chaos.check import Published, compare, state_differences
from tools.chaos.expected import Replay
from tools.chaos.order import OrderWatch
from tools.chaos.records import sent


def history(frames: int = 150) -> Replay:
    """What the first two cameras' pictures must lead to."""
    replay = Replay(SCRIPT.rules())
    for camera in CAMERAS[:2]:
        for offset, record in enumerate(stream_of(camera, range(frames))):
            one = sent(taken(record, offset), {camera.name: camera})
            assert one is not None
            replay.take(one)
    replay.finish()
    return replay


HISTORY = history()
RIGHT = [
    Published(alert, PARTITIONS[name], offset)
    for name, alerts in HISTORY.alerts.items()
    for offset, alert in enumerate(alerts)
]  # fmt: skip
STARTED = "pawsight.behavior.started"
COUNTS = ("lost", "duplicated", "spurious", "out_of_order", "altered")


def judged(found: Sequence[Published]) -> dict[str, int]:
    """The mistakes that are found."""
    verdict = compare(HISTORY.alerts, found, PARTITIONS)
    assert verdict.holds == (not verdict.details)
    return {what: count for what in COUNTS if (count := getattr(verdict, what))}


def changed(place: int, **fields: object) -> list[Published]:
    """What is right, with one alert changed."""
    one = RIGHT[place]
    return [*RIGHT[:place], replace(one, alert=replace(one.alert, **fields)), *RIGHT[place + 1 :]]


def swapped(place: int) -> list[Published]:
    """What is right, with two alerts of a camera changed for each other."""
    one, other = RIGHT[place], RIGHT[place + 1]
    return [
        *RIGHT[:place],
        replace(one, alert=other.alert),
        replace(other, alert=one.alert),
        *RIGHT[place + 2 :],
    ]


@pytest.mark.parametrize(
    ("found", "mistakes"),
    [
        pytest.param(RIGHT, {}, id="right"),
        pytest.param([*RIGHT[:40], *RIGHT[41:]], {"lost": 1}, id="one lost"),
        pytest.param([], {"lost": len(RIGHT)}, id="all lost"),
        pytest.param([*RIGHT, replace(RIGHT[40], offset=9999)], {"duplicated": 1}, id="one twice, at the very end"),
        pytest.param(
            [*RIGHT, replace(RIGHT[40], offset=9998), replace(RIGHT[40], offset=9999)], {"duplicated": 2}, id="one three times"
        ),
        pytest.param(
            [*RIGHT, Published(replace(RIGHT[40].alert, id="new", at_us=1), 0, 9999)], {"spurious": 1}, id="one invented"
        ),
        pytest.param(
            [*RIGHT, Published(replace(RIGHT[40].alert, id="new"), 0, 9999)],
            {"spurious": 1, "duplicated": 1},
            id="one told again under a new id",
        ),
        pytest.param(changed(40, id="new"), {"lost": 1, "spurious": 1}, id="another id"),
        pytest.param(
            changed(40, at_us=RIGHT[40].alert.at_us + 1), {"lost": 1, "spurious": 1, "altered": 1}, id="another time under the id"
        ),
        pytest.param(changed(40, started_at_us=7), {"altered": 1}, id="another start"),
        pytest.param(changed(40, episode=7), {"altered": 1}, id="another episode"),
        pytest.param([replace(RIGHT[0], partition=5), *RIGHT[1:]], {"out_of_order": 1, "altered": 1}, id="on another partition"),
        pytest.param(swapped(40), {"out_of_order": 1}, id="two swapped"),
    ],
)
def test_the_check_finds_every_mistake(found: Sequence[Published], mistakes: dict[str, int]) -> None:
    """And nothing else."""
    assert judged(found) == mistakes


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"last_s": 1.0}, "last_s is 1.0, not ", id="another time"),
        pytest.param({"epoch_ms": 1}, "epoch_ms is 1, not ", id="another epoch"),
        pytest.param({"sightings": 7}, "sightings is 7, not 1", id="seen more often"),
        pytest.param({"lost": True}, "lost is True, not False", id="lost"),
        pytest.param({"candidates_s": (1.0,)}, "candidates_s is (1.0,), not ()", id="another clock in sight"),
        pytest.param({"stream": "another"}, "stream is another, not ", id="another stream"),
        pytest.param({"resets": 1}, "resets is 1, not 0", id="a clock set back"),
        pytest.param({"behaviors": {}}, "flip.level is nothing, not ", id="forgotten behaviours"),
        pytest.param({"camera": "nobody"}, "nobody: stored, but it sent nothing", id="another camera"),
    ],
)
def test_a_state_that_differs_from_the_replay_is_named(change: dict[str, object], named: str) -> None:
    """By camera and field."""
    states = [camera.state() for camera in HISTORY.cameras.values()]
    assert state_differences(HISTORY, states) == []
    assert any(named in each for each in state_differences(HISTORY, [{**states[1], **change}, states[0]]))
    assert state_differences(HISTORY, states[1:]) == [f"{states[0]['camera']}: not stored"]


@pytest.mark.parametrize("field", ["level", "run_s", "since_s", "episodes", "cooldown_until_s"])
def test_a_behavior_that_differs_from_the_replay_is_named(field: str) -> None:
    """By camera, behaviour and field, whichever behaviour it is."""
    one, *others = (camera.state() for camera in HISTORY.cameras.values())
    for behavior, state in one["behaviors"].items():
        other = {**one, "behaviors": {**one["behaviors"], behavior: {**state, field: one["last_s"] + 1.0}}}
        (difference,) = state_differences(HISTORY, [other, *others])
        assert difference.startswith(f"{one['camera']}: stored {behavior}.{field} is ")


def test_a_behavior_that_nobody_asked_is_named() -> None:
    """Stored, and not replayed."""
    one, *others = (camera.state() for camera in HISTORY.cameras.values())
    other = {**one, "behaviors": {**one["behaviors"], "circling": one["behaviors"]["flip"]}}
    (difference,) = state_differences(HISTORY, [other, *others])
    assert difference.startswith(f"{one['camera']}: stored circling.level is ")


def test_a_cooldown_that_is_over_is_none() -> None:
    """One that is not over is one."""
    one, *others = (camera.state() for camera in HISTORY.cameras.values())
    flip = one["behaviors"]["flip"]

    def cooling(until_s: float) -> list[str]:
        other = {**one, "behaviors": {**one["behaviors"], "flip": {**flip, "cooldown_until_s": until_s}}}
        return state_differences(HISTORY, [other, *others])

    assert cooling(one["last_s"]) == []
    assert cooling(one["last_s"] + 0.1) != []


def watched(found: Iterable[Published]) -> list[str]:
    """What a reader notes that follows the topic."""
    watch = OrderWatch({camera.name for camera in CAMERAS if camera.is_steady})
    for one in found:
        watch.take(one)
    return watch.unexpected({})


def test_a_reader_forgives_as_many_steps_back_as_the_clock_took() -> None:
    """A publisher that repeats what is long done sets the clock back, and no more than that."""
    steady = CAMERAS[0].name
    first, *others = (each for each in RIGHT if each.alert.camera == steady and each.alert.behavior is not None)
    watch = OrderWatch({steady})
    for number, one in enumerate((others[-1], others[-2])):
        watch.take(replace(one, alert=replace(first.alert, id=f"new-{number}", at_us=one.alert.at_us)))
    older = [each for each in watch.unexpected({}) if "older" in each]
    assert len(older) == 1
    assert older[0] not in watch.unexpected({steady: 1})


def test_a_reader_of_what_is_right_notes_nothing() -> None:
    """Also of cameras whose clocks go back."""
    assert watched(RIGHT) == []


@pytest.mark.parametrize(
    ("found", "noted"),
    [
        pytest.param([*RIGHT[:41], RIGHT[40]], "came twice", id="one twice"),
        pytest.param([*RIGHT[:40], *RIGHT[41:]], "does not follow the episode before", id="one lost"),
        pytest.param(swapped(40), "does not follow the episode before", id="two swapped"),
        pytest.param(
            [
                *RIGHT,
                replace(RIGHT[-1], alert=replace(RIGHT[-1].alert, id="new", behavior="new", episode=1, type=STARTED, at_us=1)),
            ],
            "is older than the one before",
            id="one of long ago",
        ),
        pytest.param(
            [*RIGHT, Published(replace(RIGHT[0].alert, id="new"), 0, 9999)], "seen and lost do not take turns", id="seen again"
        ),
    ],
)
def test_a_reader_notes_what_it_should_not_have_seen(found: Sequence[Published], noted: str) -> None:
    """While it happens, without the expected list."""
    assert any(noted in violation for violation in watched(found))
