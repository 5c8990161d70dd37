"""A camera's clock: sampling, lateness, jumps."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clock import Admission, ClockRules, ClockState, admit, elapsed_s, event_time

T0_S = 1_767_225_600.0
RULES = ClockRules(sample_fps=1.0, max_gap_s=5.0, max_jump_s=60.0)
SIGNS = {Admission.ACCEPTED: "A", Admission.SAMPLED_OUT: "s", Admission.LATE: "l", Admission.CLOCK: "c"}


def through(
    times: list[float], *, rules: ClockRules = RULES, streams: list[str | None] | None = None, state: ClockState | None = None
) -> tuple[str, ClockState | None]:
    """Admit pictures at seconds since T0; one letter a decision: Accepted, sampled out, late, clock."""
    decisions = ""
    for at_s, stream in zip(times, streams or [None] * len(times), strict=True):
        state, admission = admit(state, event_time(T0_S + at_s), stream, rules)
        decisions += SIGNS[admission]
    return decisions, state


SCENES = [
    pytest.param([0, 0.5, 1, 1.5, 2.25, 2.75], "AsAsAs", id="sampling-first-of-each-cell"),
    pytest.param([0, 1.9, 2.1, 2.9, 3.0], "AAAsA", id="sampling-a-grid-not-a-distance"),
    pytest.param([0, 10, 10, 9, 5, 10.5, 11], "AAlllsA", id="late-up-to-max-gap-and-repeats"),
    pytest.param([0, 10, 4.999999, 11], "AAcA", id="clock-just-beyond-max-gap"),
    pytest.param([0, 60, 120.000001, 61], "AAcA", id="jump-of-max-jump-is-believed-a-microsecond-more-is-not"),
    pytest.param([0, 1000, 1001, 1002, 1003], "AccAA", id="adopted-forwards-at-the-third"),
    pytest.param([100, 0, 1, 2, 3], "AccAA", id="adopted-backwards-at-the-third"),
    pytest.param([0, 1000, 1001, 1, 1002, 1003, 1004], "AccAccA", id="an-accepted-picture-breaks-the-row"),
    pytest.param([0, 1000, 1001, 0.5, 1002, 1003, 1004], "AccsccA", id="a-sampled-out-picture-breaks-the-row"),
    pytest.param([0, 1000, 1001, 0, 1002, 1003, 1004], "AcclccA", id="a-late-picture-breaks-the-row"),
    pytest.param([0, 1000, 999, 1000, 1001], "AcccA", id="a-row-increases"),
    pytest.param([0, 1000, 1000, 1000, 1000], "Acccc", id="a-clock-that-stands-still-is-never-adopted"),
    pytest.param([0, 1000, 1061, 1062, 1063], "AcccA", id="a-row-in-steps-of-at-most-max-jump"),
    pytest.param([0, 5000, 1, 5000, 2, 5000, 3], "AcAcAcA", id="one-wrong-time-now-and-then-silences-nothing"),
    pytest.param([1000, 2000, 0, 1, 2], "AcccA", id="candidates-of-two-clocks-make-no-row"),
]


@pytest.mark.parametrize(("times", "decisions"), SCENES)
def test_scene(times: list[float], decisions: str) -> None:
    """Sampling, lateness and adoption as DESIGN section 6 has them."""
    assert through(times)[0] == decisions


def test_adopted_backwards_begins_a_new_grid() -> None:
    """Backwards: the grid is anchored at the adopted picture and the reset is counted."""
    _, state = through([100, 0.25, 1.25, 2.25])
    assert state == ClockState(T0_S + 2.25, T0_S + 2.25, None, (), resets=1)


def test_adopted_forwards_is_a_long_gap() -> None:
    """Forwards: the grid stays and nothing is counted."""
    _, state = through([0, 1000.25, 1001.25, 1002.25])
    assert state == ClockState(T0_S, T0_S + 1002.25, None)


@pytest.mark.parametrize(
    ("at_s", "decision", "resets"),
    [(11.0, "A", 0), (10.0, "l", 0), (5.0, "l", 0), (4.0, "A", 1), (1000.0, "A", 0), (10.5, "s", 0)],
    ids=["goes-on", "repeat", "repeats-a-little", "set-back", "set-forward", "same-cell"],
)
def test_new_stream_uuid(at_s: float, decision: str, resets: int) -> None:
    """A restarted publisher's clock is believed at once; repeats of what was just seen are late, going on is only a gap."""
    _, before = through([0, 10], streams=["a", "a"])
    decisions, state = through([at_s], streams=["b"], state=before)
    assert state is not None
    assert (decisions, state.resets) == (decision, resets)
    assert state.stream == "b"


def test_no_stream_uuid_is_no_new_one() -> None:
    """A picture without a uuid after one with it has to earn its clock like any other."""
    _, before = through([0, 10], streams=["a", "a"])
    assert through([1000, 1001, 1002], state=before)[0] == "ccA"


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.0, 0.75, 6.0, 7.0, 29.97])
def test_a_steady_camera_at_the_sampling_rate_loses_nothing(fps: float) -> None:
    """Pictures exactly one sampling interval apart are all accepted, although capture times are rounded to microseconds."""
    assert through([n / fps for n in range(500)], rules=replace(RULES, sample_fps=fps))[0] == "A" * 500


def test_sampling_takes_the_picture_on_the_grid() -> None:
    """30 pictures a second sampled at 3 give every tenth: a third of a second rounds down to 0.333333 and still counts."""
    decisions, _ = through([n / 30 for n in range(301)], rules=replace(RULES, sample_fps=3.0))
    assert decisions == "Asssssssss" * 30 + "A"


times = st.lists(st.integers(-8_000_000, 8_000_000) | st.integers(0, 300_000), max_size=60)
rates = st.sampled_from([0.5, 1.0, 2.0, 3.0, 10.0])


@given(times, rates)
def test_decisions_are_those_of_the_rules_as_written(steps_us: list[int], fps: float) -> None:
    """An oracle in whole microseconds and fractions, without streams: every decision and the accepted times agree."""
    rules = ClockRules(sample_fps=fps, max_gap_s=3.0, max_jump_s=6.0)
    at_us, state, last, anchor, row = 0, None, None, 0, []
    for step_us in steps_us:
        at_us = max(0, at_us + step_us)
        state, admission = admit(state, event_time(T0_S + at_us / 1e6), None, rules)
        ahead = 0 if last is None else at_us - last
        if last is None:
            expected, last, anchor, row = Admission.ACCEPTED, at_us, at_us, []
        elif 0 < ahead <= 6_000_000:
            cells = [math.floor(Fraction(us - anchor + 1, 1_000_000) * Fraction(fps)) for us in (at_us, last)]
            expected, row = (Admission.ACCEPTED if cells[0] > cells[1] else Admission.SAMPLED_OUT), []
            last = at_us if expected is Admission.ACCEPTED else last
        elif -3_000_000 <= ahead <= 0:
            expected, row = Admission.LATE, []
        else:
            row = [*row, at_us] if row and 0 < at_us - row[-1] <= 6_000_000 else [at_us]
            expected = Admission.CLOCK
            if len(row) == 3:
                expected, anchor, last, row = Admission.ACCEPTED, at_us if at_us < last else anchor, at_us, []
        assert admission is expected
        assert elapsed_s(state.last_s, T0_S) == last / 1e6


@given(st.lists(st.integers(1, 900_000), max_size=80), rates)
def test_sampled_once_is_sampled_the_same_again(steps_us: list[int], fps: float) -> None:
    """What was accepted is accepted again, whole, and at most one picture of each cell."""
    rules = replace(RULES, sample_fps=fps)
    at_s = [sum(steps_us[:n]) / 1e6 for n in range(len(steps_us) + 1)]
    decisions, _ = through(at_s, rules=rules)
    accepted = [t for t, decision in zip(at_s, decisions, strict=True) if decision == "A"]
    assert through(accepted, rules=rules)[0] == "A" * len(accepted)
    assert len(accepted) <= math.floor(at_s[-1] * fps + 1e-5) + 1


@given(st.lists(st.tuples(st.integers(1, 900_000), rates), max_size=60))
def test_sampling_may_change_at_any_time(shots: list[tuple[int, float]]) -> None:
    """A rate that changes between two pictures never stops the camera: nothing is sampled out for longer than a cell."""
    state, at_us = None, 0
    for step_us, fps in shots:
        at_us += step_us
        before = state
        state, admission = admit(state, event_time(T0_S + at_us / 1e6), None, replace(RULES, sample_fps=fps))
        waited_s = 0.0 if before is None else elapsed_s(T0_S + at_us / 1e6, before.last_s)
        assert admission is Admission.ACCEPTED or waited_s < 1 / fps


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sample_fps": 0.0}, "sample_fps is 0.0"),
        ({"sample_fps": float("nan")}, "sample_fps is nan"),
        ({"max_jump_s": 5.0}, "0 <= max_gap_s < max_jump_s"),
        ({"sample_fps": 0.1}, "never make a run"),
    ],
)
def test_rules_under_which_nothing_works_are_refused(changes: dict[str, float], complaint: str) -> None:
    """Rules that would sample nothing, or sample too seldom for any run to grow, are refused."""
    with pytest.raises(ValueError, match=complaint):
        replace(RULES, **changes)
