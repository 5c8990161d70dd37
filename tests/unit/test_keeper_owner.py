"""A keeper and whose state it finds: two groups whose state topics have one name never share one state."""

from dataclasses import replace

import pytest

from stream.protocol import Policy
from stream.state_codec import PARTITION_KEY, encode_partition
from stream.state_records import StateOwner
from tests.unit.keeper_world import OWNER, PAST, kept, tick

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

OTHERS = replace(PAST, owner=StateOwner("of.cats", "pictures"))


@pytest.mark.parametrize("policy", [Policy(), Policy(accept_new_topic=True, accept_state_loss=True, accept_older_revision=True)])
async def test_state_of_another_group_is_left_alone(policy: Policy) -> None:
    """Nothing of it is written over or even read on, no switch helps, and the reason names both."""
    stage = kept()
    stage.keeping.policy = policy
    before = [(PARTITION_KEY, encode_partition(OTHERS)), (b"den", b"what only the other program reads")]
    stage.cluster.state = list(before)
    assert await stage.keeper.open(1) is None
    assert stage.keeper.parked is not None
    assert "'of.cats' on topic 'pictures'" in stage.keeper.parked
    assert "'cats' on topic 'frames'" in stage.keeper.parked
    assert (stage.cluster.state, stage.cluster.group_offset) == (before, 12)
    assert not await stage.keeper.deliver(tick())


async def test_state_from_before_records_said_whose_they_are_is_ours_from_the_next_write() -> None:
    """It is taken as it is; taking it up writes whose it is, and so does every tick."""
    stage = kept()
    assert PAST.owner == StateOwner()
    await stage.opened()
    assert stage.record.owner == OWNER
    assert await stage.keeper.deliver(tick())
    assert (stage.record.resume_offset, stage.record.owner) == (14, OWNER)
