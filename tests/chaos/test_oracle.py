"""The judge of the chaos runs, judged: pictures that carry their truth, the second reading of the rules, and the comparison."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.preprocess import fit
from stream import wire
from stream.camera_state import CameraState
from stream.clock import Admission, ClockRules, ClockState, admit
from stream.debounce import lose, observe
from stream.decode import DecodeLimits, DecodeRequest, decode
from stream.types import Answer, Event, Observation, Position
from tests.chaos.oracle_world import (
    CAMERAS,
    PARTITIONS,
    SCRIPT,
    T0_S,
    alert,
    neutral,
    sent_number,
    stream_of,
    stream_rules,
    taken,
)
from tools.chaos import pictures
from tools.chaos.cameras import FrameRecord
from tools.chaos.check import Published, compare, state_differences
from tools.chaos.debounced import CameraReplay
from tools.chaos.engine import OracleEngine, asked
from tools.chaos.expected import Replay, Rule, Rules, Sent, Shot
from tools.chaos.order import OrderWatch
from tools.chaos.pictures import SIZE, Carried, DamagedPicture
from tools.chaos.records import sent
from tools.chaos.truth import ANSWERS, RULES, SAMPLE_FPS, UNITS, Camera, Code, Form

ONE_OF_EACH = [pytest.param(camera, id=f"{camera.form.name.lower()}-{camera.number}") for camera in CAMERAS]
FRAMES = 130
REQUEST = DecodeRequest(SIZE, 1 / SAMPLE_FPS, DecodeLimits())


def shown(camera: Camera, records: Sequence[FrameRecord]) -> list[NDArray[np.uint8]]:
    """Every picture in order of presentation, as the model gets it."""
    if camera.form not in UNITS:
        packets = [wire.read(taken(record)) for record in records]
        return [one.pixels for packet in packets for one in decode(packet, REQUEST, lambda _: True).pictures]
    return played(camera, records)


def played(camera: Camera, records: Sequence[FrameRecord]) -> list[NDArray[np.uint8]]:
    """Access units through a plain decoder."""
    decoder = av.CodecContext.create("h264" if camera.form is Form.H264 else "hevc", "r")
    frames = []
    for place, record in enumerate(records):
        packet = av.Packet(record.value)
        packet.pts = packet.dts = place
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    return [fit(frame.to_ndarray(format="rgb24"), SIZE) for frame in frames]


def carried(n: int = 5) -> Carried:
    """A picture's content."""
    return Carried(3, n, CAMERAS[3].codes(n))


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("camera", ONE_OF_EACH)
def test_every_picture_survives_its_codec_and_the_resize(camera: Camera) -> None:
    """Encoded as the publisher does it, decoded as the worker does it."""
    camera = replace(camera, habits=replace(camera.habits, lose_every=0, repeat_every=0))
    read = [pictures.read(pixels) for pixels in shown(camera, stream_of(camera, range(FRAMES)))]
    assert read == [Carried(camera.number, n, camera.codes(n)) for n in range(FRAMES)]


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=64))
def test_a_picture_with_cells_turned_over_is_refused(cells: set[tuple[int, int]]) -> None:
    """Whichever they are."""
    picture = pictures.draw(carried(), SIZE, SIZE)
    for row, column in cells:
        picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] ^= 255
    with pytest.raises(DamagedPicture):
        pictures.read(picture)


def test_a_picture_with_a_grey_cell_is_refused() -> None:
    """Even if what it might mean fits the checksum."""
    picture = pictures.draw(carried(), SIZE, SIZE)
    picture[:8, :8] = 128
    with pytest.raises(DamagedPicture, match="brightness 128"):
        pictures.read(picture)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((SIZE, SIZE, 3), np.uint8), id="black, as a batch's padding"),
        pytest.param(np.full((SIZE, SIZE, 3), 255, np.uint8), id="white"),
        pytest.param(np.full((SIZE, SIZE, 3), 128, np.uint8), id="grey, as a decoder fills in"),
        pytest.param(pictures.draw(carried(5), SIZE, SIZE) // 2 + pictures.draw(carried(6), SIZE, SIZE) // 2, id="two blended"),
        pytest.param(
            np.concatenate([pictures.draw(carried(5), SIZE, SIZE)[:32], pictures.draw(carried(2**23), SIZE, SIZE)[32:]]),
            id="two halves",
        ),
        pytest.param(np.ascontiguousarray(pictures.draw(carried(), SIZE, SIZE)[::-1]), id="upside down"),
    ],
)
def test_what_no_camera_drew_is_refused(picture: NDArray[np.uint8]) -> None:
    """Never guessed."""
    with pytest.raises(DamagedPicture):
        pictures.read(picture)


@pytest.mark.parametrize("camera", [each for each in ONE_OF_EACH if each.values[0].form in UNITS])
def test_a_picture_that_needs_a_lost_one_is_right_or_refused(camera: Camera) -> None:
    """A decoder that was handed over badly shows itself."""
    records = stream_of(replace(camera, habits=replace(camera.habits, repeat_every=0)), range(FRAMES))
    right = set()
    for pixels in played(camera, [*records[:5], *records[6:]]):
        with suppress(DamagedPicture):
            one = pictures.read(pixels)
            assert one == Carried(camera.number, one.number, camera.codes(one.number))
            right.add(one.number)
    assert right < set(range(FRAMES)) - {sent_number(records[5])}


# ------------------------------------------------------------------------------------------------ the engine


@pytest.fixture
def engine(tmp_path: Path) -> OracleEngine:
    """An engine that is quick."""
    return OracleEngine(0.0, tmp_path / "stall", tmp_path / "asked")


def batch(numbers: Sequence[int], bucket: int = 4) -> NDArray[np.uint8]:
    """Pictures of camera 3, padded."""
    padded = np.zeros((bucket, SIZE, SIZE, 3), np.uint8)
    for row, n in zip(padded, numbers, strict=False):
        row[:] = pictures.draw(carried(n), SIZE, SIZE)
    return padded


@pytest.mark.asyncio
async def test_the_engine_says_what_the_pictures_say(engine: OracleEngine) -> None:
    """In rows and columns, and keeps count of what it was asked."""
    answers = await engine.infer(batch([5, 6, 5]), 3)
    codes = [carried(n).codes for n in (5, 6, 5)]
    assert answers.p_yes.dtype == answers.share.dtype == np.float32
    assert answers.p_yes.tolist() == np.array([[ANSWERS[Code(code)][0] for code in row] for row in codes], np.float32).tolist()
    assert answers.share.tolist() == np.array([[ANSWERS[Code(code)][1] for code in row] for row in codes], np.float32).tolist()
    assert (asked([engine.journal]).total, asked([engine.journal]).different) == (3, 2)


@pytest.mark.asyncio
async def test_the_engine_stands_still_while_the_file_is_there(engine: OracleEngine) -> None:
    """And goes on where it was."""
    engine.stall_file.touch()
    stalled = asyncio.create_task(engine.infer(batch([5]), 1))
    await asyncio.sleep(0.3)
    assert not stalled.done()
    engine.stall_file.unlink()
    assert (await stalled).p_yes.shape == (1, len(RULES))


@pytest.mark.asyncio
async def test_the_engine_refuses_a_damaged_picture(engine: OracleEngine) -> None:
    """Padding that is taken for a picture, for example."""
    with pytest.raises(DamagedPicture):
        await engine.infer(batch([5]), 2)


# ------------------------------------------------------------------------------------------------ the second implementation

BEHAVIORS = (
    Rule("flip", 0.65, 0.35, 0.0, 0.0, 0.0),
    Rule("slow", 0.65, 0.35, 1.0, 1.5, 2.0, max_duration_s=6.0),
    Rule("hot", 0.8, 0.2, 0.5, 0.0, 0.0, max_duration_s=2.5),
)
UNDER = Rules(BEHAVIORS, lost_after_s=5.0, max_gap_s=2.0, max_jump_s=60.0)
CLOCK = ClockRules(sample_fps=1_000_000.0, max_gap_s=2.0, max_jump_s=60.0)
# Stretches of one mind in even steps, so that episodes grow; between them repeats, gaps, losses, wrong clocks, times on limits.
AHEAD_US = (0, 1, 100_000, 500_000, 2_000_000, 2_000_001, 5_000_000, 5_000_001, 60_000_000, 60_000_001, 200_000_000)
BACK_US = (-1, -500_000, -2_000_000, -2_000_001, -100_000_000)
limits_us = st.sampled_from((*AHEAD_US, *BACK_US))
stretches = st.tuples(
    limits_us,
    st.sampled_from([250_000, 250_000, 500_000, 1_000_000, 60_000_000]),
    st.integers(1, 10),
    st.sampled_from(["a", "a", "a", "b", None]),
    st.tuples(*[st.sampled_from([*Code, Code.YES, Code.NO])] * len(BEHAVIORS)),
)
films = st.lists(stretches, min_size=1, max_size=16)
Stretch = tuple[int, int, int, str | None, tuple[Code, ...]]


def shots(film: Sequence[Stretch]) -> Iterator[tuple[int, str | None, tuple[Code, ...]]]:
    """Capture time, stream and answers of each picture of a film."""
    at_us = T0_S * 1_000_000
    for first_us, step_us, count, stream, codes in film:
        for place in range(count):
            at_us += step_us if place else first_us
            yield at_us, stream, codes


def observation(clock: ClockState, codes: Sequence[Code], offset: int) -> Observation:
    """A picture with its answers."""
    answers = {rule.behavior: Answer(*ANSWERS[code]) for rule, code in zip(BEHAVIORS, codes, strict=True)}
    return Observation(Position("frames", 0, offset), "den", clock.last_s, answers, clock, None, 0.0)


@settings(max_examples=500)
@given(films, st.booleans())
def test_both_implementations_of_the_rules_agree(film: list[Stretch], is_lost: bool) -> None:  # noqa: FBT001
    """On alerts, ids and the state at the end, whatever clocks and streams do."""
    rules, replay = stream_rules(UNDER), Replay(UNDER)
    clock: ClockState | None = None
    state: CameraState | None = None
    events: list[Event] = []
    for offset, (at_us, stream, codes) in enumerate(shots(film)):
        clock, admission = admit(clock, at_us / 1e6, stream, CLOCK)
        if admission is Admission.ACCEPTED:
            state, more = observe(state, observation(clock, codes, offset), rules)
            events += more
        answers = {rule.behavior: ANSWERS[code] for rule, code in zip(BEHAVIORS, codes, strict=True)}
        replay.take(Sent("den", stream, offset, (Shot(at_us, answers),)))
    assert state is not None
    if is_lost:
        state, more = lose(state, rules)
        events += more
    replay.finish(["den"] if is_lost else [])
    assert replay.alerts["den"] == [alert(event) for event in events]
    assert state_differences(replay, [neutral(state)]) == []
    assert replay.totals["pictures"] == sum(replay.totals[what] for what in ("accepted", "late", "clock"))


def test_access_units_are_told_in_order_of_presentation() -> None:
    """From a keyframe on, without repeats, up to a gap or the end of the stream; what lay in the decoder comes out."""
    camera = replace(CAMERAS[8], gop=20, habits=replace(CAMERAS[8].habits, lose_every=0, repeat_every=0))
    before, after = stream_of(camera, range(60), run=1), stream_of(camera, range(42, 90), run=2)
    no_keyframe, until_gap, cut = before[3:20], before[20:33], before[40:50]
    records = [*no_keyframe, *until_gap, before[32], *before[34:40], *cut, *after]
    shown = [*sorted(map(sent_number, until_gap)), *sorted(map(sent_number, cut))]
    assert shown[0] == 20
    assert shown[-2:] == [48, 52]  # what was to lie between them never came
    assert told(camera, records) == [*shown, *range(53, 90)]


class Remembering(CameraReplay):
    """Keeps the capture times of the accepted pictures: not each of them is an alert after a gap."""

    times: list[int]

    def take(self, shot: Shot, stream: str | None) -> None:
        """Remember an accepted picture."""
        accepted = self.totals["accepted"]
        super().take(shot, stream)
        if self.totals["accepted"] > accepted:
            self.times.append(shot.at_us)


def told(camera: Camera, records: Sequence[FrameRecord]) -> list[int]:
    """Numbers of the accepted pictures, in order."""
    replay = Replay(SCRIPT.rules())
    remembering = Remembering(camera.name, SCRIPT.rules(), replay.totals)
    remembering.times = []
    replay.cameras[camera.name] = remembering
    for offset, record in enumerate(records):
        one = sent(taken(record, offset), {camera.name: camera})
        assert one is not None
        replay.take(one)
    replay.finish()
    numbers = {round(camera.captured_at_s(n) * 1e6): n for n in range(300)}
    assert replay.totals["records"] == len(records)
    assert replay.totals["duplicate"] == 1
    return [numbers[at_us] for at_us in remembering.times]


# ------------------------------------------------------------------------------------------------ the comparison


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
    "change",
    [
        pytest.param({"last_s": 1.0}, id="another time"),
        pytest.param({"behaviors": {}}, id="forgotten behaviours"),
        pytest.param({"camera": "nobody"}, id="another camera"),
    ],
)
def test_a_state_that_differs_from_the_replay_is_named(change: dict[str, object]) -> None:
    """By camera."""
    states = [camera.state() for camera in HISTORY.cameras.values()]
    assert state_differences(HISTORY, states) == []
    assert state_differences(HISTORY, [{**states[0], **change}, *states[1:]]) != []
    assert state_differences(HISTORY, states[1:]) != []


def watched(found: Iterable[Published]) -> list[str]:
    """What a reader notes that follows the topic."""
    watch = OrderWatch({camera.name for camera in CAMERAS if camera.is_steady})
    for one in found:
        watch.take(one)
    return watch.violations


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
            [*RIGHT, Published(replace(RIGHT[-1].alert, id="new", behavior="new", episode=1, type=STARTED, at_us=1), 0, 9999)],
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
