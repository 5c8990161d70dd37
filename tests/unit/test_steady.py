"""The clock of arrivals and proofs, on a machine whose wall clock is set."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.debounce import Silence, is_silent
from stream.debounce_rules import DebounceRules
from stream.kafka import steady
from stream.kafka.proofs import EndProofs
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


@pytest.mark.parametrize("step_s", [1_800.0, -1_800.0])
@pytest.mark.parametrize("dies", [False, True])
def test_silence_is_told_by_what_passed(monkeypatch: pytest.MonkeyPatch, step_s: float, dies: bool) -> None:  # noqa: FBT001
    """By the defaults a camera with a picture every 15 s is never silent, and one that dies is 30 s after its last."""
    grace_s, rules = 10.0, DebounceRules.of(())
    passed_s, stepped_s, silent_after_s = 0.0, 301.0, None
    began_s, monotonic_s = time.time(), time.monotonic()
    clock = SimpleNamespace(
        time=lambda: began_s + passed_s + step_s * (passed_s >= stepped_s), monotonic=lambda: monotonic_s + passed_s
    )
    monkeypatch.setattr(steady, "time", clock)
    proofs: EndProofs[str] = EndProofs()
    proofs.keep(["p"])
    arrived_s = steady.now_s()
    for second in range(600):
        passed_s = float(second)
        if second % 15 == 0 and not (dies and passed_s >= stepped_s):
            arrived_s, last_s = steady.now_s(), passed_s
        assert proofs.ask() == ["p"]
        proofs.answered("p", steady.now_s(), 0)
        proven = proofs.prove("p", 0)
        assert proven is not None
        silent = is_silent(arrived(arrived_s).state, Silence(arrived_s, *proven, grace_s), rules)
        if silent and silent_after_s is None:
            silent_after_s = passed_s - last_s
    assert silent_after_s == (rules.lost_after_s if dies else None)
