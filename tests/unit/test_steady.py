"""The clock of arrivals and proofs, on a machine whose wall clock is set."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka import steady
from stream.kafka.steady import STEP_S, as_known, as_stored
from stream.state_records import CameraRecord
from tests.unit.keeper_world import DEN

RIGHT = time.time


def set_ahead(patch: pytest.MonkeyPatch, by_s: float) -> None:
    """Set the wall clock."""
    patch.setattr(time, "time", lambda: RIGHT() + by_s)


def arrived(at_s: float) -> CameraRecord:
    """A camera's record."""
    return replace(DEN, state=replace(DEN.state, arrived_at_s=at_s))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_no_step_moves_it(steps_s: list[float]) -> None:
    """However often the wall clock is set: between two readings lies what really passed."""
    began_s, before_s = time.monotonic(), steady.now_s()
    with pytest.MonkeyPatch.context() as patch:
        for step_s in steps_s:
            set_ahead(patch, step_s)
            assert steady.now_s() - before_s == pytest.approx(time.monotonic() - began_s, abs=0.5)


def test_it_is_the_wall_clock_where_nobody_sets_that() -> None:
    """As other programs tell the time; a stored arrival is what was noted, to the bit."""
    assert steady.now_s() == pytest.approx(time.time(), abs=STEP_S)
    noted = arrived(steady.now_s() - 7.0)
    assert as_stored(noted) == noted
    assert as_known(noted) == noted


@pytest.mark.parametrize("step_s", [1_800.0, -1_800.0])
def test_an_arrival_is_stored_by_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    """So that a worker that starts after the step knows how long the camera has been silent; and so does this one."""
    noted = arrived(steady.now_s() - 7.0)
    set_ahead(monkeypatch, step_s)
    stored = as_stored(noted)
    assert time.time() - stored.state.arrived_at_s == pytest.approx(7.0, abs=0.5)
    assert as_known(stored).state.arrived_at_s == pytest.approx(noted.state.arrived_at_s, abs=0.5)


def test_nothing_arrived_later_than_now() -> None:
    """A clock that was set back, or another machine's that is ahead: silence counts from now, not from when it is caught up."""
    known = as_known(arrived(time.time() + 1_800.0))
    assert known.state.arrived_at_s == pytest.approx(steady.now_s(), abs=0.5)
