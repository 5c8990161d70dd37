"""Two runs beside each other: what counts as gained, lost, shifted and flipped."""

from dataclasses import replace

import pytest

from stream.clock import ClockState
from stream.types import Answer, Observation, Position
from tools.diff.comparison import TOLERANCE, Run, Shift, compare
from tools.sightings import Sighting

BARKING = Sighting("den", "barking", 10.0, 12.0, 20.0, 25.0, "stopped")
LATER = replace(BARKING, start_s=40.0, at_s=42.0, end_s=50.0, ended_at_s=55.0)


def observed(at_s: float, camera: str = "den", **p_yes: float) -> Observation:
    """The answers to one frame."""
    answers = {behavior: Answer(p, 1.0) for behavior, p in p_yes.items()}
    return Observation(Position("recording", 0, 0), camera, at_s, answers, ClockState(at_s, at_s, None), None, 0.0)


def test_a_run_beside_itself_is_no_difference() -> None:
    """Nor is what batches of other sizes do to the last bits."""
    run = Run([BARKING, LATER], [observed(1, barking=0.4), observed(2, barking=0.6)])
    again = Run(run.sightings, [observed(1, barking=0.4 + TOLERANCE / 2), observed(2, barking=0.6)])
    found = compare(run, again)
    assert found.is_empty
    assert (found.same, found.answers[0].frames, found.answers[0].differing) == (2, 2, 0)


def test_events_that_overlap_belong_together() -> None:
    """One told later is shifted; what nothing overlaps, or is another camera's or behaviour's, is lost and gained."""
    shifted = replace(BARKING, at_s=13.5, ended_at_s=24.0)
    elsewhere, eating = replace(LATER, camera="yard"), replace(LATER, behavior="eating")
    found = compare(Run([BARKING, LATER], []), Run([eating, elsewhere, shifted], []))
    assert found.shifted == (Shift(BARKING, shifted),)
    assert (found.shifted[0].started_s, found.shifted[0].ended_s) == (1.5, -1.0)
    assert (found.lost, found.gained, found.same) == ((LATER,), (eating, elsewhere), 0)
    assert not found.is_empty


def test_a_split_gains_one() -> None:
    """The first part is the shifted episode, the second one is new; merged again it is lost."""
    first, second = replace(BARKING, end_s=14.0, ended_at_s=19.0), replace(BARKING, start_s=16.0, at_s=18.0)
    split = compare(Run([BARKING], []), Run([first, second], []))
    assert (split.shifted, split.gained, split.lost) == ((Shift(BARKING, first),), (second,), ())
    merged = compare(Run([first, second], []), Run([BARKING], []))
    assert (merged.gained, merged.lost) == ((), (second,))


def test_what_never_ended_is_shifted_where_the_other_ended() -> None:
    """By how much nobody can say."""
    found = compare(Run([replace(BARKING, end_s=None, ended_at_s=None, reason=None)], []), Run([BARKING], []))
    assert (found.shifted[0].started_s, found.shifted[0].ended_s) == (0.0, None)


def test_answers_of_the_same_frame_are_compared() -> None:
    """Over one half or not; frames and behaviours that one side does not ask are told apart."""
    before = Run([], [observed(1, barking=0.4, eating=0.1), observed(2, barking=0.9), observed(3, barking=0.5)])
    after = Run([], [observed(1, barking=0.6, sleeping=0.1), observed(2, barking=0.7), observed(2, "yard", barking=0.5)])
    found = compare(before, after)
    (barking,) = found.answers
    assert (barking.behavior, barking.frames, barking.flipped, barking.differing) == ("barking", 2, 1, 2)
    assert (barking.max_abs_dp, barking.mean_abs_dp) == (pytest.approx(0.2), pytest.approx(0.2))
    assert (found.only_before, found.only_after) == (1, 1)
    assert (found.behaviors_before, found.behaviors_after) == (("eating",), ("sleeping",))


@pytest.mark.parametrize(
    "after",
    [
        Run([], [observed(1, barking=0.4)]),
        Run([BARKING], []),
        Run([BARKING], [observed(1, barking=0.4 + 2 * TOLERANCE)]),
        Run([BARKING], [observed(1, barking=0.4, eating=0.1)]),
        Run([BARKING], [observed(1, barking=0.4), observed(2, barking=0.4)]),
    ],
    ids=["event", "frame", "answer", "behaviour", "another frame"],
)
def test_whatever_differs_is_a_difference(after: Run) -> None:
    """So that it can stand in a deployment's checks."""
    assert not compare(Run([BARKING], [observed(1, barking=0.4)]), after).is_empty


def test_a_share_that_differs_is_a_difference() -> None:
    """It decides whether the answer counts."""
    other = replace(observed(1, barking=0.4), answers={"barking": Answer(0.4, 0.3)})
    assert not compare(Run([], [observed(1, barking=0.4)]), Run([], [other])).is_empty
