"""What the state topic holds survives being written and read, bit for bit, or is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import wire
from stream.camera_state import BehaviorState, CameraState, Episode, Level, Run
from stream.clock import ClockState
from stream.errors import StateRefused, UnusableRecord
from stream.phases import Phase
from stream.state_codec import PARTITION_KEY, check_owner, decode_camera, decode_partition, encode_camera, encode_partition
from stream.state_records import (
    CameraRecord,
    Cursor,
    DecoderPlace,
    PartitionRecord,
    QuestionRevision,
    RecordMark,
    StateOwner,
    mark_of,
)
from stream.types import Evidence, Record

seconds = st.floats(0, 7e9)
offsets = st.integers(0, 2**63 - 1)
evidence = st.builds(Evidence, st.text(max_size=9), *[offsets] * 3, seconds)
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
cameras = st.builds(
    CameraRecord,
    state=states,
    cursor=st.builds(Cursor, offsets, st.integers(0, 600)),
    decoder=st.none() | st.builds(DecoderPlace, offsets, offsets),
)
partitions = st.builds(
    PartitionRecord,
    resume_offset=offsets,
    alerts_offset=offsets,
    writer=st.text(max_size=20),
    last_record=st.none() | st.builds(RecordMark, offsets, st.integers(-1, 2**50), st.integers(0, 2**32 - 1)),
    dead_lettered=st.lists(offsets, max_size=4).map(lambda each: tuple(sorted(each))),
    adopted=st.lists(st.uuids().map(str), max_size=3).map(tuple),
    attempt=st.integers(0, 9),
    clean=st.booleans(),
    questions=st.builds(QuestionRevision, st.integers(0, 2**40), st.text(max_size=16)),
    owner=st.builds(StateOwner, st.text(max_size=9), st.text(max_size=9)),
)

IDLE = CameraState("den", 1, ClockState(1.7e9, 1.7e9, None), 1.7e9, lost=False, sightings=1)


@settings(max_examples=60)
@given(cameras)
def test_camera_comes_back_exactly(record: CameraRecord) -> None:
    """Every float, name and order comes back as it was."""
    back = decode_camera(encode_camera(record))
    assert back == record
    assert list(back.state.behaviors) == list(record.state.behaviors)


@settings(max_examples=60)
@given(partitions)
def test_partition_comes_back_exactly(record: PartitionRecord) -> None:
    """Every field comes back as it was."""
    assert decode_partition(encode_partition(record)) == record


def test_record_from_before_revisions_and_owners_has_none() -> None:
    """It is read as it was written, and not known to be of any revision or owner; one that has none is written as before."""
    old = b'{"version":1,"partition":{"resume_offset":12,"alerts_offset":3,"writer":"den/1"}}'
    record = decode_partition(old)
    assert (record.questions, record.owner) == (QuestionRevision(0, ""), StateOwner("", ""))
    assert encode_partition(record) == old


def test_an_idle_camera_is_small() -> None:
    """What is at its default is not written: eight idle behaviours take less than 1.5 kB."""
    idle = BehaviorState(run=Run(1.7e9, 1.7e9 + 0.5, None))
    many = replace(IDLE, behaviors={f"behavior_{n}": idle for n in range(8)})
    assert len(encode_camera(CameraRecord(IDLE, Cursor(1_000_000)))) < 240
    assert len(encode_camera(CameraRecord(many, Cursor(1_000_000)))) < 1500


def test_no_camera_takes_the_partitions_key() -> None:
    """Camera and partition records lie side by side in one topic: no camera id is the partition's key."""
    with pytest.raises(UnusableRecord, match="camera id"):
        wire.read(Record("frames", 0, 0, 0, PARTITION_KEY, b"\xff\xd8\xff", (), 1, 0.0))


@pytest.mark.parametrize("read", [decode_camera, decode_partition])
@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(b'{"version":2,"camera":{},"partition":{}}', r"version: .* 1 .*found 2.*reads version 1", id="newer"),
        pytest.param(b'{"version":0,"camera":{},"partition":{}}', r"version: .* 1 .*found 0.*reads version 1", id="older"),
        pytest.param(b"", "Invalid JSON", id="empty"),
        pytest.param(b"\xff", "cannot be read", id="no text"),
        pytest.param(b"[]", "cannot be read", id="no object"),
        pytest.param(b'{"version":1}', "(camera|partition): Field required", id="nothing in it"),
    ],
)
def test_what_is_not_this_version_is_refused(read: object, data: bytes, complaint: str) -> None:
    """A newer, older, damaged or foreign record is refused with the place and the remedy."""
    assert callable(read)
    with pytest.raises(StateRefused, match=complaint):
        read(data)


def test_a_wrong_type_is_refused() -> None:
    """Nothing is converted on the way in."""
    written = json.loads(encode_camera(CameraRecord(IDLE, Cursor(0))))
    written["camera"]["state"]["sightings"] = "1"
    with pytest.raises(StateRefused, match=r"camera\.state\.sightings"):
        decode_camera(json.dumps(written).encode())


def test_a_field_that_nobody_knows_is_refused() -> None:
    """What a newer program added without a version is no reason to drop it silently."""
    written = json.loads(encode_partition(PartitionRecord(1, 2, "me")))
    with pytest.raises(StateRefused, match=r"^the state cannot be read: surprise"):
        decode_partition(json.dumps({**written, "surprise": 1}).encode())


OURS = StateOwner("a", "x.b")


@pytest.mark.parametrize("owner", [OURS, StateOwner()])
def test_state_of_ours_or_of_nobody_is_gone_on_from(owner: StateOwner) -> None:
    """A record from before records said whose they are is taken as it is."""
    check_owner(PartitionRecord(1, 2, "me", owner=owner), OURS)


@pytest.mark.parametrize("owner", [StateOwner("b.a", "x"), StateOwner("a", "x"), StateOwner("b.a", "x.b"), StateOwner("", "x.b")])
def test_state_of_somebody_else_is_refused(owner: StateOwner) -> None:
    """Of another group or another topic, whatever the state topic is called: both are named, and what to do."""
    with pytest.raises(StateRefused) as refusal:
        check_owner(PartitionRecord(1, 2, "me", owner=owner), OURS)
    for words in (f"group {owner.group!r} on topic {owner.frames!r}", "group 'a' on topic 'x.b'", "another --group"):
        assert words in str(refusal.value)


def test_mark_is_told_from_key_value_time_and_place() -> None:
    """Whatever differs of a record gives another mark; its CRC-32 is the one that every other tool computes."""
    mark = mark_of(5, 1000, b"1234", b"56789")
    assert mark == RecordMark(5, 1000, 0xCBF43926)  # the check value of CRC-32/ISO-HDLC, of "123456789"
    others = [mark_of(6, 1000, b"1234", b"56789"), mark_of(5, 1001, b"1234", b"56789"), mark_of(5, 1000, b"1234", b"5678")]
    assert mark not in others
    assert mark_of(5, 0, None, None) == mark_of(5, 0, b"", b"")
