"""Which revision of the questions may go on from which: a rolling deploy never ends and starts what goes on."""

from dataclasses import replace

import pytest

from stream.protocol import Facts, Opening, Parked, Policy, Protocol, Rest, Run, Step, decide
from stream.state_records import PartitionRecord, QuestionRevision, RecordMark

ASKING = QuestionRevision(2, "two")
MARK = RecordMark(11, 5, 7)
OTHER_LOG = RecordMark(11, 5, 8)
NEW = Facts(record=None, group_offset=None, first=5, end=20, start=5)


def asked_with(number: int, fingerprint: str = "", found: RecordMark = MARK) -> Facts:
    """A partition that is done up to 12, whose state follows from these questions."""
    record = PartitionRecord(12, 3, "den/1", MARK, questions=QuestionRevision(number, fingerprint))
    return Facts(record, group_offset=12, first=5, end=20, start=5, found=found)


LOST = replace(NEW, group_offset=12)
RECREATED = asked_with(2, "two", OTHER_LOG)


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(asked_with(0), id="from before there were revisions"),
        pytest.param(asked_with(1, "one"), id="an older one"),
        pytest.param(asked_with(2, "two"), id="ours"),
        pytest.param(asked_with(2), id="ours, of questions that nobody wrote down"),
    ],
)
def test_state_of_no_newer_revision_goes_on_without_a_word(facts: Facts) -> None:
    """A newer file takes over from an older one; that is what a deploy is."""
    assert decide(facts, Policy(), ASKING) == Opening(12)


@pytest.mark.parametrize("policy", [Policy(), Policy(accept_new_topic=True, accept_state_loss=True)])
@pytest.mark.parametrize("facts", [asked_with(3, "three"), asked_with(3, "two"), asked_with(3, found=OTHER_LOG)])
def test_state_of_a_newer_revision_is_left_to_newer_workers(facts: Facts, policy: Policy) -> None:
    """Whatever the questions are, and whatever became of the topic: both revisions and each way out are named."""
    parked = decide(facts, policy, ASKING)
    assert isinstance(parked, Parked)
    assert parked.until_revision == 3
    for words in ("revision 3", "revision 2", "SIGHUP", "revision above 3", "--accept-older-revision"):
        assert words in parked.reason


def test_older_revision_goes_on_if_an_operator_says_so_and_is_told() -> None:
    """The warning names both revisions and what it costs; a doubtful topic is parked all the same."""
    accepted = Policy(accept_older_revision=True)
    opening = decide(asked_with(3, "three"), accepted, ASKING)
    assert isinstance(opening, Opening)
    assert replace(opening, warning=None) == Opening(12)
    assert opening.warning is not None
    for words in ("revision 3", "revision 2", "--accept-older-revision", "end"):
        assert words in opening.warning
    recreated = asked_with(3, "three", OTHER_LOG)
    assert isinstance(decide(recreated, accepted, ASKING), Parked)
    both = decide(recreated, replace(accepted, accept_new_topic=True), ASKING)
    assert isinstance(both, Opening)
    assert (both.resume_offset, both.is_new, both.warning) == (5, True, opening.warning)


def test_other_questions_of_one_revision_are_a_warning() -> None:
    """Whoever never writes a revision edits the file and restarts: parking would stop him; he is told to raise it."""
    opening = decide(asked_with(2, "other"), Policy(), ASKING)
    assert isinstance(opening, Opening)
    assert replace(opening, warning=None) == Opening(12)
    assert opening.warning is not None
    for words in ("other", "two", "revision 2", "raise `revision`"):
        assert words in opening.warning


def test_partition_without_a_record_knows_no_revision() -> None:
    """A new partition, and one whose lost state was accepted, begin with whatever this worker asks."""
    assert decide(NEW, Policy(), QuestionRevision()) == Opening(5, is_new=True)
    assert decide(LOST, Policy(accept_state_loss=True), QuestionRevision()) == Opening(12, is_new=True)


def checked(facts: Facts) -> Protocol:
    """A partition of which CHECK found this out."""
    protocol = Protocol()
    for step in (Step.PROVE, Step.CLEAR, Step.INIT, Step.READ):
        protocol.done(step)
    protocol.checked(facts, Policy(), ASKING)
    return protocol


@pytest.mark.parametrize(("number", "is_enough"), [(1, False), (2, False), (3, True), (4, True)])
def test_partition_left_to_newer_workers_is_taken_up_once_this_one_is_newer(number: int, is_enough: bool) -> None:  # noqa: FBT001
    """From the first step, membership and fence included; a reload that is not enough changes nothing."""
    protocol = checked(asked_with(3))
    rest = protocol.next(0.5)
    assert isinstance(rest, Rest)
    assert protocol.asks(QuestionRevision(number)) is is_enough
    assert protocol.next(0.5) == (Run(Step.PROVE) if is_enough else rest)


@pytest.mark.parametrize("protocol", [checked(LOST), checked(RECREATED), checked(asked_with(2)), Protocol()])
def test_other_questions_take_up_nothing_else(protocol: Protocol) -> None:
    """What waits for an operator goes on waiting, what is at work or not yet decided goes on."""
    before = protocol.next(0.5)
    assert not protocol.asks(QuestionRevision(99))
    assert protocol.next(0.5) == before
