"""The ledger never passes a record that is not done."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ledger import Ledger
from stream.state_records import RecordMark


def mark(offset: int) -> RecordMark:
    """A record's mark."""
    return RecordMark(offset, offset * 1000, offset ^ 0xFFFF)


def opened(*offsets: int) -> Ledger:
    """A ledger with these records."""
    ledger = Ledger()
    for offset in offsets:
        ledger.open(mark(offset))
    return ledger


def test_resumes_at_the_lowest_record_that_is_not_done() -> None:
    """Records that are done behind an open one wait for it; gaps in the offsets are normal."""
    ledger = opened(10, 15, 16)
    ledger.settle(15)
    assert (ledger.resume_offset, ledger.open_records) == (10, 2)
    ledger.settle(10)
    assert (ledger.resume_offset, ledger.open_records) == (16, 1)
    ledger.settle(16)
    assert (ledger.resume_offset, ledger.open_records) == (17, 0)


def test_nothing_is_known_before_the_first_record() -> None:
    """An empty ledger resumes nowhere and expects anything."""
    ledger = Ledger()
    assert (ledger.resume_offset, ledger.last_done, ledger.open_records) == (None, None, 0)
    ledger.open(mark(7))
    assert (ledger.resume_offset, ledger.last_done) == (7, None)


def test_last_done_is_the_record_right_below_the_resume_offset() -> None:
    """A restart recognises the log by it, so it never lies at or above an open record, whatever was done there."""
    ledger = opened(3, 4, 9)
    ledger.settle(4)
    assert ledger.last_done is None
    ledger.settle(3)
    assert ledger.last_done == mark(4)
    ledger.settle(9)
    assert ledger.last_done == mark(9)


def test_programmers_errors_are_found() -> None:
    """Going back, or settling what is not open, is a broken promise and no quiet loss."""
    ledger = opened(5)
    with pytest.raises(AssertionError, match="offset 5 after 6"):
        ledger.open(mark(5))
    ledger.settle(5)
    with pytest.raises(AssertionError, match="offset 5 is not open"):
        ledger.settle(5)


@given(st.lists(st.integers(1, 4), max_size=25), st.randoms(use_true_random=False))
def test_never_passes_an_open_record_and_ends_behind_the_last(steps: list[int], chance: random.Random) -> None:
    """In any order of answers: monotone, never past an open record, and one past the last record at the end."""
    ledger, offset = Ledger(), -1
    open_ones: list[int] = []
    read: list[int] = []
    resumed: list[int] = []

    def look() -> None:
        assert ledger.resume_offset is not None
        resumed.append(ledger.resume_offset)
        done = [each for each in read if each < ledger.resume_offset]
        assert ledger.resume_offset == min(open_ones, default=offset + 1)
        assert ledger.last_done == (mark(done[-1]) if done else None)
        assert ledger.open_records == len(open_ones)

    for step in steps:
        offset += step
        ledger.open(mark(offset))
        read.append(offset)
        open_ones.append(offset)
        while open_ones and chance.random() < 0.5:
            ledger.settle(open_ones.pop(chance.randrange(len(open_ones))))
            look()
    while open_ones:
        ledger.settle(open_ones.pop(chance.randrange(len(open_ones))))
        look()
    assert ledger.resume_offset == (offset + 1 if steps else None)
    assert resumed == sorted(resumed)
