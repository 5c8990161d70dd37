"""How a partition is taken up: which step follows which, where it goes on, and what a failure costs."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.protocol import (
    MAX_FAILURES,
    REWIND_RECORDS,
    Action,
    End,
    Facts,
    Opening,
    Parked,
    Policy,
    Protocol,
    Rest,
    Run,
    Step,
    Wait,
    Work,
    decide,
    rewound_to,
)
from stream.state_records import PartitionRecord, QuestionRevision, RecordMark

MARK = RecordMark(offset=11, timestamp_ms=1_767_225_600_000, crc=0xCBF43926)
RECORD = PartitionRecord(resume_offset=12, alerts_offset=3, writer="den/1", last_record=MARK)
ASKING = QuestionRevision(2, "two")
FACTS = Facts(record=RECORD, group_offset=12, first=5, end=20, start=5, found=MARK)
"""A log of offsets 5 to 19 that is done up to 12; the marked record lies where it lay."""
OTHER = replace(MARK, crc=1)
NEW = Facts(record=None, group_offset=None, first=5, end=20, start=5)
LOST = replace(NEW, group_offset=12)
"""The group has been here, the state has not."""

ACCEPT_TOPIC, ACCEPT_LOSS = Policy(accept_new_topic=True), Policy(accept_state_loss=True)
TOPIC_REMEDY, STATE_REMEDY = "--accept-new-topic", "--accept-state-loss"


@pytest.mark.parametrize(
    ("facts", "policy", "opening"),
    [
        pytest.param(FACTS, Policy(), Opening(12), id="same log"),
        pytest.param(replace(FACTS, end=12), Policy(), Opening(12), id="all of it is done"),
        pytest.param(replace(FACTS, first=12, found=None), Policy(), Opening(12), id="the marked record alone is gone"),
        pytest.param(replace(FACTS, first=15, found=None), Policy(), Opening(15, skipped=3), id="retention overtook us"),
        pytest.param(replace(FACTS, first=20, found=None), Policy(), Opening(20, skipped=8), id="retention took everything"),
        pytest.param(replace(FACTS, group_offset=700), Policy(), Opening(12), id="group offset ahead of the state is not read"),
        pytest.param(replace(FACTS, group_offset=None), Policy(), Opening(12), id="group offset gone is not missed"),
        pytest.param(
            replace(FACTS, record=replace(RECORD, last_record=None), found=None), Policy(), Opening(12), id="nothing to recognise"
        ),
        pytest.param(FACTS, Policy(True, True), Opening(12), id="switches change nothing on a healthy partition"),
        pytest.param(NEW, Policy(), Opening(5, is_new=True), id="new, from its first record"),
        pytest.param(replace(NEW, start=20), Policy(), Opening(20, is_new=True), id="new, from its end"),
        pytest.param(replace(NEW, start=14), Policy(), Opening(14, is_new=True), id="new, from a capture time"),
        pytest.param(NEW, Policy(True, True), Opening(5, is_new=True), id="new, with the switches on"),
        pytest.param(LOST, ACCEPT_LOSS, Opening(12, is_new=True), id="state lost, accepted: on at the group's offset"),
        pytest.param(
            replace(LOST, group_offset=2), ACCEPT_LOSS, Opening(5, is_new=True), id="state lost, accepted: below the log"
        ),
        pytest.param(
            replace(LOST, group_offset=90), ACCEPT_LOSS, Opening(20, is_new=True), id="state lost, accepted: past the log"
        ),
        pytest.param(replace(FACTS, found=OTHER), ACCEPT_TOPIC, Opening(5, is_new=True), id="another topic, accepted"),
        pytest.param(replace(FACTS, end=11), ACCEPT_TOPIC, Opening(5, is_new=True), id="resume past the end, accepted"),
    ],
)
def test_partition_goes_on_where_it_stood(facts: Facts, policy: Policy, opening: Opening) -> None:
    """The state's own place as far as the log holds it; another one only if there is no state, or an operator said so."""
    assert decide(facts, policy, ASKING) == opening


@pytest.mark.parametrize(
    ("facts", "policy", "said"),
    [
        pytest.param(replace(FACTS, found=OTHER), Policy(), ("offset 11", "another record", TOPIC_REMEDY), id="another record"),
        pytest.param(replace(FACTS, found=replace(MARK, timestamp_ms=0)), Policy(), ("offset 11", TOPIC_REMEDY), id="other time"),
        pytest.param(replace(FACTS, found=None), Policy(), ("offset 11", TOPIC_REMEDY), id="nothing lies there, above the start"),
        pytest.param(replace(FACTS, end=11), Policy(), ("12 is done", "ends at 11", TOPIC_REMEDY), id="resume past the end"),
        pytest.param(replace(FACTS, first=0, end=0, found=None), Policy(), ("ends at 0", TOPIC_REMEDY), id="emptied topic"),
        pytest.param(replace(FACTS, found=OTHER), ACCEPT_LOSS, ("another record", TOPIC_REMEDY), id="the wrong switch, topic"),
        pytest.param(LOST, Policy(), ("offset is 12", STATE_REMEDY), id="group offset without a record"),
        pytest.param(replace(LOST, group_offset=0), Policy(), ("offset is 0", STATE_REMEDY), id="group offset 0 is one, too"),
        pytest.param(LOST, ACCEPT_TOPIC, ("offset is 12", STATE_REMEDY), id="the wrong switch, state"),
    ],
)
def test_doubtful_partition_is_parked_with_its_remedy(facts: Facts, policy: Policy, said: tuple[str, ...]) -> None:
    """What may be another log, or has lost its state, is left alone; the reason says what was found and which switch helps."""
    parked = decide(facts, policy, ASKING)
    assert isinstance(parked, Parked)
    for words in said:
        assert words in parked.reason


def taken_up(protocol: Protocol, facts: Facts = FACTS) -> list[Step]:
    """Do every step that is asked for, successfully; the steps."""
    steps = []
    while isinstance(action := protocol.next(0.5), Run):
        steps.append(action.step)
        if action.step is Step.CHECK:
            protocol.checked(facts, Policy(), ASKING)
        else:
            protocol.done(action.step)
    return steps


def test_steps_come_in_the_one_safe_order() -> None:
    """Membership before the fence, the fence before the state, the state before the mark, membership again before any frame."""
    protocol = Protocol()
    assert taken_up(protocol) == [
        Step.PROVE, Step.CLEAR, Step.INIT, Step.READ, Step.CHECK, Step.ADOPT, Step.MARK, Step.PROVE_AGAIN,
    ]  # fmt: skip
    assert protocol.next(0.5) == Work(Opening(12))


def test_action_is_the_same_until_something_happened() -> None:
    """Asking again changes nothing, and a step that nobody asked for is a broken promise."""
    protocol = Protocol()
    assert protocol.next(0.1) == protocol.next(0.9) == Run(Step.PROVE)
    with pytest.raises(AssertionError):
        protocol.done(Step.INIT)


def test_parked_partition_rests() -> None:
    """After CHECK decided so nothing more is done: no adoption, no mark, no reading."""
    protocol = Protocol()
    assert taken_up(protocol, LOST)[-1] is Step.CHECK
    action = protocol.next(0.5)
    assert isinstance(action, Rest)
    assert STATE_REMEDY in action.reason


def test_state_that_cannot_be_read_parks() -> None:
    """A refused record is no failure to try again: the partition rests with the reason."""
    protocol = Protocol()
    for step in (Step.PROVE, Step.CLEAR, Step.INIT):
        protocol.done(step)
    protocol.refused("version 2")
    assert protocol.next(0.5) == Rest("version 2")


def waits(protocol: Protocol, jitter: float) -> list[Action]:
    """Fail until the protocol gives up; the actions in between."""
    actions: list[Action] = []
    while not isinstance(protocol.next(jitter), End):
        protocol.failed("the broker is gone")
        actions.append(protocol.next(jitter))
        if isinstance(actions[-1], Wait):
            protocol.waited()
    return actions


def test_back_off_grows_and_ends() -> None:
    """0.2 s, 0.6 s, 1.8 s, 5.4 s on average; the fifth failure in a row ends the worker with the last cause."""
    *pauses, end = waits(Protocol(), 0.5)
    assert pauses == [Wait(pytest.approx(0.2 * 3**number)) for number in range(MAX_FAILURES - 1)]  # type: ignore[arg-type]
    assert isinstance(end, End)
    assert "5 times" in end.reason
    assert "the broker is gone" in end.reason


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_by_a_half_and_never_reorders(one: float, other: float) -> None:
    """Each pause lies within half of its mean, and no jitter makes a later pause shorter than an earlier one."""
    pauses = [[action.seconds for action in waits(Protocol(), jitter) if isinstance(action, Wait)] for jitter in (one, other)]
    for number, both in enumerate(zip(*pauses, strict=True)):
        mean_s = 0.2 * 3**number
        assert 0.5 * mean_s <= min(both) <= max(both) <= 1.5 * mean_s
    assert all(max(early) < min(late) for early, late in pairwise(zip(*pauses, strict=True)))


@pytest.mark.parametrize("last", list(Step))
def test_any_failure_begins_with_the_first_step(last: Step) -> None:
    """Whatever step failed: wait, then everything again, and what CHECK had decided is forgotten."""
    protocol = Protocol()
    while (action := protocol.next(0.5)) != Run(last):
        assert isinstance(action, Run)
        if action.step is Step.CHECK:
            protocol.checked(FACTS, Policy(), ASKING)
        else:
            protocol.done(action.step)
    protocol.failed("cut")
    assert isinstance(protocol.next(0.5), Wait)
    protocol.waited()
    assert protocol.decided is None
    assert taken_up(protocol, replace(FACTS, record=replace(RECORD, resume_offset=15))) == list(Step)
    assert protocol.next(0.5) == Work(Opening(15))


def test_failed_transaction_begins_with_the_first_step() -> None:
    """A failure after the partition was taken up waits and takes it up again."""
    protocol = Protocol()
    taken_up(protocol)
    protocol.failed("fenced")
    assert protocol.next(0.5) == Wait(pytest.approx(0.2))  # type: ignore[arg-type]
    protocol.waited()
    assert taken_up(protocol) == list(Step)


def test_dropped_writer_begins_with_the_first_step_at_once() -> None:
    """Where the log moved under a writer that did nothing wrong everything is looked at again, and no failure is counted."""
    protocol = Protocol()
    taken_up(protocol)
    protocol.dropped()
    assert protocol.decided is None
    assert taken_up(protocol) == list(Step)
    protocol.failed("cut")
    protocol.dropped()
    assert isinstance(protocol.next(0.5), Wait)


def test_failure_outweighs_what_was_decided() -> None:
    """A parked decision of an earlier try does not survive a failure."""
    protocol = Protocol()
    taken_up(protocol, LOST)
    protocol.failed("cut")
    assert isinstance(protocol.next(0.5), Wait)
    protocol.waited()
    assert taken_up(protocol) == list(Step)


def test_taking_up_alone_forgives_nothing() -> None:
    """Two owners that fence each other after every restore end, too: only a committed tick ends a row of failures."""
    protocol = Protocol()
    for _ in range(MAX_FAILURES):
        assert taken_up(protocol) == list(Step)
        protocol.failed("fenced")
        if isinstance(protocol.next(0.5), Wait):
            protocol.waited()
    assert isinstance(protocol.next(0.5), End)


def test_commit_ends_a_row_of_failures() -> None:
    """After a committed tick the next failure is the first again."""
    protocol = Protocol()
    for _ in range(MAX_FAILURES - 1):
        protocol.failed("fenced")
        protocol.waited()
    taken_up(protocol)
    protocol.committed()
    protocol.failed("fenced")
    assert protocol.next(0.5) == Wait(pytest.approx(0.2))  # type: ignore[arg-type]


RESUME = 100_000
LOWEST = RESUME - REWIND_RECORDS


@pytest.mark.parametrize(
    ("keyframes", "first", "expected"),
    [
        pytest.param({}, 0, (RESUME, frozenset()), id="no decoder"),
        pytest.param({"a": RESUME + 7}, 0, (RESUME, frozenset()), id="keyframe above our place"),
        pytest.param({"a": 99_990, "b": 99_980}, 0, (99_980, frozenset()), id="the smallest that is needed"),
        pytest.param({"a": LOWEST}, 0, (LOWEST, frozenset()), id="as far as allowed"),
        pytest.param({"a": LOWEST - 1}, 0, (RESUME, frozenset({"a"})), id="too far"),
        pytest.param({"a": 99_990, "b": 5}, 0, (99_990, frozenset({"b"})), id="one too far, one not"),
        pytest.param({"a": 99_990, "b": 99_995}, 99_993, (99_995, frozenset({"a"})), id="one gone by retention"),
        pytest.param({"a": 99_990}, 99_990, (99_990, frozenset()), id="the first that there is"),
    ],
)
def test_reads_from_where_the_decoders_need_it(
    keyframes: dict[str, int], first: int, expected: tuple[int, frozenset[str]]
) -> None:
    """From the lowest keyframe within bounds; a camera whose keyframe is too far or gone is stranded and costs no rewinding."""
    assert rewound_to(keyframes, Opening(RESUME), first) == expected


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 2 * RESUME), max_size=9), st.integers(0, RESUME))
def test_rewinding_is_bounded_and_enough(keyframes: dict[str, int], first: int) -> None:
    """Never below the log or the bound, never above our place, and every camera that is not stranded gets its keyframe."""
    read_from, stranded = rewound_to(keyframes, Opening(RESUME), first)
    assert max(first, LOWEST) <= read_from <= RESUME
    assert all(offset >= read_from for camera, offset in keyframes.items() if camera not in stranded)
    assert all(keyframes[camera] < max(first, LOWEST) for camera in stranded)
