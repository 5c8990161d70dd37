"""A keeper and the revision of the questions: what is left to newer workers, and taken up once this one is newer."""

from dataclasses import replace

import pytest

from stream.state_codec import PARTITION_KEY, encode_partition
from stream.state_records import QuestionRevision
from tests.unit.keeper_world import ASKING, EVENTS, PAST, Kept, kept, tick

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

NEWER = QuestionRevision(3, "three")


def left_to_newer() -> Kept:
    """A partition whose state follows from a newer revision than the worker's."""
    stage = kept()
    stage.cluster.state = [(PARTITION_KEY, encode_partition(replace(PAST, questions=NEWER)))]
    return stage


async def test_partition_of_a_newer_revision_is_left_alone_and_counts_as_lag() -> None:
    """Nothing is written of it, and the group's offset stays where it was."""
    stage = left_to_newer()
    assert await stage.keeper.open(1) is None
    assert stage.keeper.parked is not None
    assert "revision 3" in stage.keeper.parked
    assert (stage.record, stage.cluster.group_offset) == (replace(PAST, questions=NEWER), 12)
    assert stage.cluster.ports[-1].is_discarded
    assert not await stage.keeper.deliver(tick())


async def test_reload_takes_up_what_was_left_to_newer_workers() -> None:
    """Only a revision that is high enough asks for it; it is no longer parked then, and its record follows from the new one."""
    stage = left_to_newer()
    await stage.keeper.open(1)
    stage.keeper.reloaded()
    assert stage.voided == []
    stage.keeping.asking = NEWER
    stage.keeper.reloaded()
    assert len(stage.voided) == 1
    opened = await stage.opened(2)
    assert (opened.assigned.resume_offset, stage.keeper.parked, stage.record.questions) == (12, None, NEWER)
    assert await stage.keeper.deliver(tick(incarnation=2))


async def test_reload_while_the_state_is_read_is_not_missed() -> None:
    """What counts is what the worker asks when it decides, not when the try began; and that is what is written."""
    stage = left_to_newer()

    async def reload() -> None:
        stage.keeping.asking = NEWER
        stage.keeper.reloaded()

    stage.cluster.faults = {"log": [reload]}
    await stage.opened()
    assert (stage.record.questions, stage.voided) == (NEWER, [])


async def test_reload_leaves_partitions_alone_that_are_not_ours_any_more() -> None:
    """One that was taken from us while it was parked is its next owner's."""
    stage = left_to_newer()
    await stage.keeper.open(1)
    stage.keeper.discard()
    stage.keeping.asking = NEWER
    stage.keeper.reloaded()
    assert stage.voided == []


async def test_each_tick_says_what_it_was_asked_with() -> None:
    """Events and record carry the questions of their answers, not those that are asked by the time of the delivery."""
    stage = kept()
    await stage.opened()
    stage.keeping.asking = NEWER
    assert await stage.keeper.deliver(tick(questions=ASKING))
    assert stage.record.questions == ASKING
    assert await stage.keeper.deliver(tick(resume_offset=15, events=EVENTS[:1], questions=NEWER))
    assert stage.record.questions == NEWER
    assert stage.cluster.asked_with == ["two"] * len(EVENTS) + ["three"]


async def test_other_questions_of_one_revision_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The partition goes on, and an operator reads which it is and what to do."""
    stage = kept()
    stage.cluster.state = [(PARTITION_KEY, encode_partition(replace(PAST, questions=QuestionRevision(2, "other"))))]
    await stage.opened()
    (warning,) = [each.getMessage() for each in caplog.records if "revision" in each.getMessage()]
    assert warning.startswith("frames[3]: ")
    assert "raise `revision`" in warning
