"""The ledger never passes a record that is not done."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ledger import Ledger, LedgerCounts
from stream.types import Position


def place(offset: int, index: int = 0, incarnation: int = 1) -> Position:
    """A frame's position."""
    return Position("frames", 0, offset, index, incarnation)


def test_resumes_at_the_lowest_record_that_is_not_done() -> None:
    """Records that are done behind an open one wait for it; gaps in the offsets are normal."""
    ledger = Ledger(1, 10)
    assert (ledger.resume_offset, ledger.next_offset) == (10, 10)
    ledger.open(10, 2)
    ledger.open(15, 1)
    ledger.open(16, 0)
    ledger.close(place(15))
    ledger.close(place(10, 4))
    assert (ledger.resume_offset, ledger.open_records) == (10, 1)
    ledger.close(place(10, 0))
    assert (ledger.resume_offset, ledger.open_records) == (17, 0)


def test_a_dead_letter_is_held_until_it_was_delivered() -> None:
    """A held record without frames stays open until it is settled."""
    ledger = Ledger(1, 0)
    ledger.open(0, 0, held=True)
    ledger.open(1, 0)
    assert ledger.resume_offset == 0
    ledger.settle(0)
    assert ledger.resume_offset == 2


def test_settling_drops_what_is_open_of_a_record() -> None:
    """A record that turns out to need no answer is done at once, opened or not; its frames are counted as dropped."""
    ledger = Ledger(1, 0)
    ledger.open(0, 3)
    ledger.close(place(0))
    ledger.settle(0)
    ledger.settle(1)
    assert ledger.resume_offset == 2
    assert ledger.counts == LedgerCounts(records=2, records_done=2, frames=3, frames_closed=1, frames_dropped=2)


def test_nothing_is_known_before_the_first_record() -> None:
    """A ledger that was told no offset resumes nowhere and expects anything."""
    ledger = Ledger(1)
    assert (ledger.resume_offset, ledger.expects(7)) == (None, True)
    ledger.open(7, 0)
    assert (ledger.resume_offset, ledger.expects(7), ledger.expects(8)) == (8, False, True)


def test_answers_of_an_older_assignment_are_ignored() -> None:
    """What belongs to another incarnation moves nothing, not even on an offset that is open."""
    ledger = Ledger(2, 5)
    ledger.open(5, 1)
    ledger.close(place(5, incarnation=1))
    ledger.close(place(3, incarnation=1))
    assert (ledger.resume_offset, ledger.counts.stale) == (5, 2)


def test_programmers_errors_are_found() -> None:
    """Going back, or closing what is not open, is a broken promise and no quiet loss."""
    ledger = Ledger(1, 5)
    with pytest.raises(AssertionError, match="offset 4 came after 5"):
        ledger.open(4, 1)
    ledger.open(5, 1)
    ledger.close(place(5))
    with pytest.raises(AssertionError, match="is not open"):
        ledger.close(place(5))


records = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3), st.booleans()), max_size=25)


@given(records, st.randoms(use_true_random=False))
def test_never_passes_an_open_record_and_ends_behind_the_last(shapes: list[tuple[int, int, bool]], random: st.randoms) -> None:
    """In any order of answers: monotone, never past an open record, conserving, and one past the last record at the end."""
    ledger, offset = Ledger(1, 0), -1
    todo: list[tuple[str, int, int]] = []
    open_frames: dict[int, int] = {}
    resumed = [0]
    for step, frames, held in shapes:
        offset += step
        ledger.open(offset, frames, held=held)
        if frames or held:
            open_frames[offset] = frames
        todo += [("close", offset, index) for index in range(frames)] if not held or frames else [("settle", offset, 0)]
        while todo and random.random() < 0.5:
            _do(ledger, todo.pop(random.randrange(len(todo))), open_frames)
        resumed.append(ledger.resume_offset)
        assert ledger.resume_offset == min(open_frames, default=offset + 1)
    random.shuffle(todo)
    for done in todo:
        _do(ledger, done, open_frames)
        resumed.append(ledger.resume_offset)
        assert ledger.resume_offset == min(open_frames, default=offset + 1)
        counts = ledger.counts
        assert counts.records == counts.records_done + ledger.open_records
        assert counts.frames == counts.frames_closed + counts.frames_dropped + sum(open_frames.values())
    assert ledger.resume_offset == offset + 1
    assert resumed == sorted(resumed)


def _do(ledger: Ledger, what: tuple[str, int, int], open_frames: dict[int, int]) -> None:
    doing, offset, index = what
    if doing == "settle":
        ledger.settle(offset)
        del open_frames[offset]
        return
    ledger.close(place(offset, index))
    open_frames[offset] -= 1
    if not open_frames[offset]:
        del open_frames[offset]
