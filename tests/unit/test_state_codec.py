"""A camera's state survives being written and read, bit for bit, or is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.camera_state import BehaviorState, CameraState, Episode, Level, Run
from stream.clock import ClockState
from stream.errors import StateRefused
from stream.phases import Phase
from stream.state_codec import decode, encode
from stream.types import Evidence

seconds = st.floats(0, 7e9)
evidence = st.builds(Evidence, st.text(max_size=9), *[st.integers(0, 2**63 - 1)] * 3, seconds)
behavior_states = st.builds(
    BehaviorState,
    phase=st.sampled_from(Phase),
    level=st.sampled_from(Level),
    run=st.none() | st.builds(Run, seconds, seconds, st.none() | evidence),
    episodes=st.integers(0, 2**40),
    episode=st.none() | st.builds(Episode, seconds, st.text(max_size=9), evidence),
    cooldown_until_s=st.none() | seconds,
)
clocks = st.builds(
    ClockState, seconds, seconds, st.none() | st.text(max_size=40), st.lists(seconds, max_size=2).map(tuple), st.integers(0, 99)
)
states = st.builds(
    CameraState,
    camera_id=st.text(max_size=20),
    epoch_ms=st.integers(0, 2**50),
    clock=clocks,
    arrived_at_s=seconds,
    lost=st.booleans(),
    sightings=st.integers(0, 2**40),
    behaviors=st.dictionaries(st.text(max_size=9), behavior_states, max_size=4),
)


@settings(max_examples=60)
@given(states)
def test_round_trip_is_exact(state: CameraState) -> None:
    """Every float, name and order comes back as it was."""
    back = decode(encode(state))
    assert back == state
    assert list(back.behaviors) == list(state.behaviors)


def test_an_idle_camera_is_small() -> None:
    """What is at its default is not written: eight idle behaviours take less than 1.5 kB."""
    idle = BehaviorState(run=Run(1.7e9, 1.7e9 + 0.5, None))
    state = CameraState("den", 1, ClockState(1.7e9, 1.7e9, None), 1.7e9, lost=False, sightings=1)
    many = CameraState("den", 1, state.clock, 1.7e9, lost=False, sightings=1, behaviors={f"behavior_{n}": idle for n in range(8)})
    assert len(encode(state)) < 200
    assert len(encode(many)) < 1500


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b'{"version":2,"camera":{}}', r"version: .* 1 .*found 2.*reads version 1"),
        (b"", "Invalid JSON"),
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"version":1}', "camera: Field required"),
    ],
)
def test_what_is_not_this_version_is_refused(data: bytes, complaint: str) -> None:
    """A newer, older, damaged or foreign record is refused with the place and the remedy."""
    with pytest.raises(StateRefused, match=complaint):
        decode(data)


def test_a_wrong_type_is_refused() -> None:
    """Nothing is converted on the way in."""
    written = json.loads(encode(CameraState("den", 1, ClockState(0.0, 0.0, None), 0.0, lost=False, sightings=1)))
    written["camera"]["sightings"] = "1"
    with pytest.raises(StateRefused, match=r"camera\.sightings"):
        decode(json.dumps(written).encode())
