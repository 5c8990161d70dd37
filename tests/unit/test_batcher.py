"""The batcher fills by size or by a deadline armed once, in order, and loses nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.batcher import Batcher
from stream.clock import ClockState
from stream.types import Frame, Position

PIXELS = np.zeros((2, 2, 3), np.uint8)


def frame(offset: int, partition: int = 0) -> Frame:
    """A frame that is told from others by its place."""
    return Frame(Position("frames", partition, offset), "den", 0.0, PIXELS, ClockState(0.0, 0.0, None), None, 0.0)


def test_full_batch_leaves_at_once() -> None:
    """The largest bucket is never waited for longer than it takes to fill."""
    batcher = Batcher((1, 2, 4), 1.0)
    assert [batcher.add(frame(n), 0.0) for n in range(3)] == [None] * 3
    batch = batcher.add(frame(3), 0.0)
    assert batch is not None
    assert (len(batch.frames), batch.bucket, batcher.due_s()) == (4, 4, None)


def test_deadline_is_armed_once_at_the_first_frame() -> None:
    """A steady trickle of frames does not put off the first one's deadline."""
    batcher = Batcher((8,), 1.0)
    for n in range(5):
        batcher.add(frame(n), 10 + n / 5)
        assert batcher.due_s() == 11.0
    assert batcher.take_due(10.999) is None
    batch = batcher.take_due(11.0)
    assert batch is not None
    assert [f.position.offset for f in batch.frames] == [0, 1, 2, 3, 4]
    assert (batcher.due_s(), batcher.take_due(99.0), batcher.flush()) == (None, None, None)


@pytest.mark.parametrize(("waiting", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8)])
def test_smallest_bucket_that_holds_the_frames(waiting: int, bucket: int) -> None:
    """Padding is never more than the next bucket asks for, in whatever order the buckets were given."""
    batcher = Batcher((8, 1, 4, 2), 1.0)
    for n in range(waiting):
        batcher.add(frame(n), 0.0)
    batch = batcher.flush()
    assert batch is not None
    assert batch.bucket == bucket


def test_forget_drops_one_partition_and_disarms_when_empty() -> None:
    """Frames of a revoked partition never reach the device; the others keep their deadline."""
    batcher = Batcher((8,), 1.0)
    batcher.add(frame(0, partition=1), 0.0)
    batcher.add(frame(1, partition=2), 0.5)
    assert batcher.forget("other", 2) == 0
    assert batcher.forget("frames", 1) == 1
    assert batcher.due_s() == 1.0
    assert batcher.forget("frames", 2) == 1
    assert (batcher.due_s(), batcher.flush()) == (None, None)


@given(
    st.sets(st.integers(1, 9), min_size=1),
    st.floats(0, 3),
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from(["add", "add", "add", "due", "flush"])), max_size=60),
)
def test_neither_loses_nor_repeats_nor_delays(buckets: set[int], max_wait_s: float, doings: list[tuple[float, str]]) -> None:
    """Every frame leaves exactly once, in order, in a fitting bucket, never later than max_wait_s when asked in time."""
    batcher, now_s, came, left = Batcher(tuple(buckets), max_wait_s), 0.0, [], []
    for step_s, doing in doings:
        now_s += step_s
        due_s = batcher.due_s()
        if due_s is not None and due_s <= now_s:  # the caller wakes up when it was told to
            batch = batcher.take_due(due_s)
            assert batch is not None
            left += [(f.position.offset, due_s) for f in batch.frames]
        if doing == "add":
            came.append(now_s)
            batch = batcher.add(frame(len(came) - 1), now_s)
        else:
            batch = batcher.take_due(now_s) if doing == "due" else batcher.flush()
        if batch is not None:
            assert batch.bucket == min(b for b in buckets if b >= len(batch.frames))
            left += [(f.position.offset, now_s) for f in batch.frames]
        assert (batcher.due_s() is None) == (len(left) == len(came))
    batch = batcher.flush()
    left += [] if batch is None else [(f.position.offset, now_s) for f in batch.frames]
    assert [offset for offset, _ in left] == list(range(len(came)))
    assert all(at_s <= came[offset] + max_wait_s for offset, at_s in left)


@pytest.mark.parametrize(("buckets", "max_wait_s"), [((), 1.0), ((0, 2), 1.0), ((1,), -1.0), ((1,), float("nan"))])
def test_impossible_settings_are_refused(buckets: tuple[int, ...], max_wait_s: float) -> None:
    """No bucket, an empty one, or no time are refused."""
    with pytest.raises(ValueError, match="give"):
        Batcher(buckets, max_wait_s)
