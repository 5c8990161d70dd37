"""When a visitor must have been lost and forgotten: not a moment too early, and not never."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from stream.camera_state import CameraState
from stream.clock import ClockState
from stream.state_codec import PARTITION_KEY, encode_camera, encode_partition
from stream.state_records import CameraRecord, Cursor, PartitionRecord
from tools.chaos.stored import Written
from tools.chaos.visits import MARGIN_S, Overdue, Patience, Sent, overdue, stretches

PATIENCE = Patience(lost_after_s=30.0, grace_s=20.0, forget_after_s=31.0)
VISITOR = "visitor-1"
SENT = Sent(list(range(100)), [float(at_s) for at_s in range(100)])
"""A record each second; the commits below are never behind."""
NEITHER = Overdue(frozenset(), frozenset())


def commit(at_s: float, *, attempt: int = 0, behind: int = 0) -> Written:
    """A partition's record."""
    record = PartitionRecord(max(0, int(at_s) + 1 - behind), 0, "w1", attempt=attempt)
    return Written(at_s, PARTITION_KEY, encode_partition(record))


def commits(first_s: int, last_s: int) -> list[Written]:
    """One a second, of an owner that took the partition up just before."""
    return [commit(first_s - 0.5, attempt=1), *(commit(at_s) for at_s in range(first_s, last_s + 1))]


def state(at_s: float, *, lost: bool = False) -> Written:
    """The visitor's."""
    record = CameraState(VISITOR, 0, ClockState(0.0, 0.0, None), at_s, lost=lost, sightings=1)
    return Written(at_s, VISITOR.encode(), encode_camera(CameraRecord(record, Cursor(1))))


def judged(*written: Iterable[Written], patience: Patience = PATIENCE) -> Overdue:
    """What is found."""
    records = sorted((each for some in written for each in some), key=lambda each: each.at_s)
    return overdue({0: records}, {0: SENT}, {VISITOR}, patience)


DUE_S = 10 + PATIENCE.lost_after_s + MARGIN_S
"""Of a visitor that came at 10 on a partition that is live all the time."""
KEPT = Overdue(frozenset({VISITOR}), frozenset({VISITOR}))
LOST = Overdue(frozenset({VISITOR}), frozenset())


@pytest.mark.parametrize(
    ("until_s", "found"),
    [pytest.param(DUE_S - 1, NEITHER, id="a second too early"), pytest.param(DUE_S, LOST, id="due")],
)
def test_a_visitor_must_be_lost_after_its_silence(until_s: float, found: Overdue) -> None:
    """On a partition that is live all the time."""
    assert judged(commits(0, int(until_s)), [state(10.0)]) == found


@pytest.mark.parametrize(
    ("until_s", "found"),
    [pytest.param(69, NEITHER, id="a second too early"), pytest.param(70, LOST, id="due")],
)
def test_a_handover_begins_the_grace_anew(until_s: int, found: Overdue) -> None:
    """Taken up just before 40: 20 s of grace, and the margin. Until then the silence was too short."""
    assert judged(commits(0, 39), commits(40, until_s), [state(1.0)]) == found


OFTEN = [each for first_s in range(0, 90, 25) for each in commits(first_s, first_s + 20)]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param([commit(at_s) for at_s in range(0, 90, 4)], id="commits far apart"),
        pytest.param([commit(at_s, behind=5) for at_s in range(90)], id="catching up"),
        pytest.param([commit(at_s, attempt=1) for at_s in range(90)], id="no progress"),
        pytest.param(
            [each for first_s in range(0, 90, 25) for each in commits(first_s, first_s + 20)], id="handover upon handover"
        ),
        pytest.param([], id="no owner"),
    ],
)
def test_nothing_is_due_where_no_partition_was_live(written: list[Written]) -> None:
    """However long the silence."""
    assert judged(written, [state(1.0)]) == NEITHER


def test_a_visitor_that_was_lost_must_be_forgotten() -> None:
    """Once it was silent for so long, and lost: with the margin from the later of both."""
    lost = [state(1.0), state(45.0, lost=True)]
    assert judged(commits(0, 54), lost) == LOST
    assert judged(commits(0, 55), lost) == KEPT
    assert judged(commits(0, 55), lost, [Written(46.0, VISITOR.encode(), None)]) == LOST


def test_a_visitor_is_kept_until_it_is_to_be_forgotten() -> None:
    """Also where that is long after it was lost."""
    lost, patience = [state(1.0), state(45.0, lost=True)], replace(PATIENCE, forget_after_s=70.0)
    assert judged(commits(0, 80), lost, patience=patience) == LOST
    assert judged(commits(0, 81), lost, patience=patience) == KEPT


def test_a_stretch_is_of_one_owner() -> None:
    """From its first commit that got on to its last one."""
    assert stretches([*commits(0, 3), *commits(5, 9)], SENT) == [(0.0, 3.0), (5.0, 9.0)]


def test_other_cameras_are_no_visitors() -> None:
    """What becomes of them others judge."""
    assert overdue({0: [*commits(0, 90), state(1.0)]}, {0: SENT}, set(), PATIENCE) == NEITHER
