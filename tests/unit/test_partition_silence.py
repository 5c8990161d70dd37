"""Cameras of a partition that fall silent: when they are lost, and when they are forgotten."""

from dataclasses import replace

import pytest

from stream.partition import Partition
from stream.state_records import Cursor, DecoderPlace
from tests.unit.partition_books import answered, known, partition, proof, still, told
from tests.unit.partition_world import RULES, T0_S

LOST_AFTER_S = RULES.lost_after_s
FORGET_AFTER_S = 1000.0
UNITS = known(Cursor(20), decoder=DecoderPlace(15, 19))


def watched(*, in_flight: bool = False) -> Partition:
    """One camera whose picture at 0 s was answered; another one of it may be in flight."""
    books = partition()
    still(books, 0)
    answered(books, 0, p_yes=0.9)
    if in_flight:
        still(books, 1)
    books.take_tick()
    return books


@pytest.mark.parametrize(
    ("asked_at_s", "grace_s", "in_flight", "arrived", "lost"),
    [
        pytest.param(LOST_AFTER_S, 10.0, False, None, True, id="silent for long enough"),
        pytest.param(LOST_AFTER_S - 0.1, 10.0, False, None, False, id="not yet"),
        pytest.param(LOST_AFTER_S, 5000.0, False, None, False, id="within the grace"),
        pytest.param(LOST_AFTER_S, 10.0, True, None, False, id="a picture of it is in flight"),
        pytest.param(LOST_AFTER_S, 10.0, False, 1.0, False, id="something of it arrived that was not asked"),
        pytest.param(LOST_AFTER_S + 1, 10.0, False, 1.0, True, id="and after that it was silent"),
    ],
)
def test_silent_camera_is_lost(*, asked_at_s: float, grace_s: float, in_flight: bool, arrived: float | None, lost: bool) -> None:
    """Silence counts from the last arrival of anything, while the partition was proven live, with nothing in flight."""
    books = watched(in_flight=in_flight)
    if arrived is not None:
        books.arrivals_s["den"] = T0_S + arrived
    books.lose_silent(proof(asked_at_s), grace_s, {"den": RULES})
    tick = books.take_tick()
    assert told(tick) == (["ended", "lost"] if lost else [])
    assert list(tick.cameras) == (["den"] if lost else [])


def test_camera_is_lost_once_and_by_its_own_silence() -> None:
    """Pictures of another camera in flight keep nobody alive; a second proof loses nobody twice."""
    books = watched()
    still(books, 1, camera="attic")
    for _ in range(2):
        books.lose_silent(proof(LOST_AFTER_S), 10.0, dict.fromkeys(books.cameras, RULES))
    assert told(books.take_tick()) == ["ended", "lost"]


def test_loss_frees_the_decoders_place() -> None:
    """Nothing of a lost camera is fed again: its next picture needs a keyframe of its own."""
    books = partition({"units": UNITS}, resume_offset=20)
    books.lose("units", RULES)
    assert books.take_tick().cameras["units"].decoder is None


@pytest.mark.parametrize(
    ("lost", "silent_s", "cursor", "in_flight", "forgotten"),
    [
        pytest.param(True, FORGET_AFTER_S, 12, False, True, id="lost, silent, passed"),
        pytest.param(True, FORGET_AFTER_S - 1, 12, False, False, id="not silent for long enough"),
        pytest.param(False, FORGET_AFTER_S, 12, False, False, id="not lost"),
        pytest.param(True, FORGET_AFTER_S, 13, False, False, id="a restart would meet its records again"),
        pytest.param(True, FORGET_AFTER_S, 12, True, False, id="a picture of it is in flight"),
    ],
)
def test_camera_is_forgotten(*, lost: bool, silent_s: float, cursor: int, in_flight: bool, forgotten: bool) -> None:
    """Forgotten: deleted from the state, and with it its clock and its room; only when no restart can meet it again."""
    record = known(Cursor(cursor))
    books = partition({"den": replace(record, state=replace(record.state, lost=lost))}, resume_offset=12)
    if in_flight:
        still(books, 14)
    books.forget_silent(proof(silent_s), FORGET_AFTER_S)
    tick = books.take_tick()
    assert tick.forgotten == (("den",) if forgotten else ())
    assert (books.cameras == ()) == forgotten
    assert books.has_room_for("den", 0) != forgotten


def test_forgotten_camera_that_returns_begins_anew_and_is_not_deleted() -> None:
    """A picture between the decision and its tick takes the deletion back; the camera is seen as if for the first time."""
    record = known(Cursor(12))
    books = partition({"den": replace(record, state=replace(record.state, lost=True, sightings=4))}, resume_offset=12)
    books.forget_silent(proof(FORGET_AFTER_S), FORGET_AFTER_S)
    still(books, 12)
    answered(books, 12)
    tick = books.take_tick()
    assert tick.forgotten == ()
    assert (told(tick), tick.cameras["den"].state.sightings) == (["seen"], 1)


def test_forgotten_camera_is_written_by_no_tick() -> None:
    """A camera that is lost and forgotten between two ticks is deleted, not written."""
    books = partition({"den": known(Cursor(12))}, resume_offset=12)
    books.lose_silent(proof(FORGET_AFTER_S), 0.0, {"den": RULES})
    books.forget_silent(proof(FORGET_AFTER_S), FORGET_AFTER_S)
    tick = books.take_tick()
    assert (told(tick), tick.cameras, tick.forgotten) == (["lost"], {}, ("den",))
