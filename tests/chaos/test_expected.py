"""The second implementation of the rules against the first, and which access units it takes for pictures in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.camera_state import CameraState
from stream.clock import Admission, ClockRules, ClockState, admit
from stream.debounce import lose, observe, retain
from stream.types import Answer, Event, Observation, Position
from tests.chaos.oracle_world import (
    CAMERAS,
    SCRIPT,
    T0_S,
    alert,
    sent_number,
    stream_of,
    stream_rules,
    taken,
)
from tools.chaos.cameras import FrameRecord
from tools.chaos.check import state_differences
from tools.chaos.debounced import CameraReplay
from tools.chaos.expected import Replay, Rule, Rules, Sent, Shot
from tools.chaos.records import sent
from tools.chaos.stored import neutral
from tools.chaos.truth import ANSWERS, Camera, Code

BEHAVIORS = (
    Rule("flip", 0.65, 0.35, 0.0, 0.0, 0.0),
    Rule("slow", 0.65, 0.35, 1.0, 1.5, 2.0, max_duration_s=6.0),
    Rule("hot", 0.8, 0.2, 0.5, 0.0, 0.0, max_duration_s=2.5),
)
UNDER = Rules(BEHAVIORS, lost_after_s=5.0, max_gap_s=2.0, max_jump_s=60.0)
OTHERS = Rules(
    (BEHAVIORS[0], Rule("hot", 0.45, 0.2, 0.25, 0.5, 1.0), Rule("new", 0.65, 0.35, 0.5, 0.5, 0.5)),
    lost_after_s=5.0,
    max_gap_s=2.0,
    max_jump_s=60.0,
)
"""Slow is asked no more, new is, and hot has other thresholds and times. What goes on stays in its order: of the ends that a loss
right after the change brings nobody promises another."""
COLUMNS = {"flip": 0, "slow": 1, "hot": 2, "new": 1}
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


def observation(clock: ClockState, codes: Sequence[Code], offset: int, asked: Rules = UNDER) -> Observation:
    """A picture with its answers."""
    answers = {rule.behavior: Answer(*ANSWERS[codes[COLUMNS[rule.behavior]]]) for rule in asked.behaviors}
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
        replay.take(Sent("den", "den", stream, offset, (Shot(at_us, answers),)))
    assert state is not None
    assert clock is not None
    if is_lost:
        state, more = lose(state, rules)
        events += more
    replay.finish(["den"] if is_lost else [])
    assert replay.alerts["den"] == [alert(event) for event in events]
    assert state_differences(replay, [neutral(replace(state, clock=clock))]) == []
    assert replay.totals["pictures"] == sum(replay.totals[what] for what in ("accepted", "late", "clock"))


@settings(max_examples=500)
@given(films, st.lists(st.integers(0, 160), max_size=3))
def test_both_implementations_agree_on_other_questions(film: list[Stretch], places: list[int]) -> None:
    """Whenever questions come and go: what was removed ends once, all else goes on, and what comes back goes on counting."""
    pictures = list(shots(film))
    times = [at_us for at_us, _, _ in pictures]
    at = sorted({times.index(times[place % len(times)]) for place in places})
    turns = {place: (OTHERS, UNDER)[number % 2] for number, place in enumerate(at)}
    replay = Replay(UNDER, {"den": [(times[place], rules) for place, rules in turns.items()]})
    asked, rules = UNDER, stream_rules(UNDER)
    clock: ClockState | None = None
    state: CameraState | None = None
    events: list[Event] = []
    for offset, (at_us, stream, codes) in enumerate(pictures):
        if offset in turns:
            asked, rules = turns[offset], stream_rules(turns[offset])
            state, more = (None, ()) if state is None else retain(state, rules)
            events += more
        clock, admission = admit(clock, at_us / 1e6, stream, CLOCK)
        if admission is Admission.ACCEPTED:
            state, more = observe(state, observation(clock, codes, offset, asked), rules)
            events += more
        answers = {behavior: ANSWERS[codes[column]] for behavior, column in COLUMNS.items()}
        replay.take(Sent("den", "den", stream, offset, (Shot(at_us, answers),)))
    assert state is not None
    assert clock is not None
    replay.finish()
    assert replay.alerts["den"] == [alert(event) for event in events]
    assert state_differences(replay, [neutral(replace(state, clock=clock))]) == []


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
