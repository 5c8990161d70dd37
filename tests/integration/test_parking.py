"""Partitions that may not be what the state says, on a real broker: left alone with a reason, and begun anew when told so."""

import asyncio
import json
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from stream.errors import StreamRefused
from stream.kafka.topology import TopicNames, create_topics
from stream.protocol import Policy
from stream.state_codec import PARTITION_KEY, encode_partition
from stream.state_records import PartitionRecord, StateOwner
from tests.integration.restart_world import Group, Life
from tests.integration.worker_world import BLACK, WHITE
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

NEWER = json.dumps({"version": 2, "partition": {}}).encode()


async def made(broker: FoundBroker, names: TopicNames, partitions: int = 1) -> Group:
    """A group with its topics."""
    await create_topics(broker.connection, names, partitions=partitions)
    return Group(broker, names)


async def parked(life: Life) -> str:
    """Wait until a partition is left alone; why."""
    await life.until(lambda: life.delivery.parked)
    (found,) = life.delivery.parked
    assert found.partition == 0
    return found.reason


async def write_state(group: Group, value: bytes) -> None:
    """Write the partition's record by hand."""
    async with AIOKafkaProducer(**group.connection.client_options()) as producer:
        await producer.send_and_wait(group.names.state, value, PARTITION_KEY, partition=0)


async def recreate(group: Group, topic: str) -> None:
    """Delete a topic and create it anew, as an operator would."""
    admin = AIOKafkaAdminClient(**group.connection.client_options())
    await admin.start()
    await admin.delete_topics([topic])
    async with asyncio.timeout(15):
        while topic in await admin.list_topics():  # noqa: ASYNC110  (nothing tells us but asking)
            await asyncio.sleep(0.05)
    await admin.close()
    await create_topics(group.connection, group.names, partitions=1)


async def test_state_of_a_newer_version_parks_its_partition_only(broker: FoundBroker, names: TopicNames) -> None:
    """The other partitions are served; the reason names the version; nothing of the parked one is written over."""
    group = await made(broker, names, partitions=3)
    await write_state(group, NEWER)
    for partition in range(3):
        await group.publish([BLACK], partition=partition, camera=f"camera-{partition}")
    async with group.worker() as life:
        await life.answered(2)
        reason = await parked(life)
        await life.stop()
    assert "version" in reason
    assert "reads version 1" in reason
    assert [await group.kinds(partition) for partition in range(3)] == [[], ["seen"], ["seen"]]
    assert (await group.read(names.state))[-1].value() == NEWER


async def test_recreated_frames_topic_is_left_alone_until_accepted(broker: FoundBroker, names: TopicNames) -> None:
    """Other records at the old offsets: parked; accepted: begun anew, with the open episode; then no switch is needed."""
    group = await made(broker, names)
    await group.publish([WHITE] * 4)
    async with group.worker() as life:
        await life.answered(4)
        await life.stop()
    await recreate(group, names.frames)
    await group.publish([WHITE] * 2 + [BLACK] * 4, 4)
    async with group.worker() as life:
        assert "offset 3 is done, but another record lies there now" in await parked(life)
        assert life.worker.counts.received == 0
    async with group.worker(policy=Policy(accept_new_topic=True)) as life:
        await life.answered(6)
    assert await group.kinds() == ["seen", "started", "ended"]
    async with group.worker() as life:
        await group.publish([BLACK], 10)
        await life.answered(1)
        assert life.worker.counts.repeated == 0


async def test_emptied_frames_topic_is_left_alone(broker: FoundBroker, names: TopicNames) -> None:
    """A log that ends below what is done is another one: parked, also when nothing was published to it yet."""
    group = await made(broker, names)
    await write_state(group, encode_partition(PartitionRecord(100, 0, "somebody")))
    async with group.worker() as life:
        reason = await parked(life)
    assert "everything up to offset 100 is done, but the log ends at 0" in reason
    assert "--accept-new-topic" in reason


async def test_lost_state_is_left_alone_until_accepted(broker: FoundBroker, names: TopicNames) -> None:
    """The group has been here, its state has not: parked; accepted: on at the group's offset, and known from then on."""
    group = await made(broker, names)
    await group.publish([BLACK] * 4)
    await asyncio.to_thread(_commit_group_offset, group, 3)
    async with group.worker() as life:
        reason = await parked(life)
    assert "the group's offset is 3" in reason
    assert "--accept-state-loss" in reason
    async with group.worker(policy=Policy(accept_state_loss=True)) as life:
        await life.answered(1)
        assert life.worker.counts.received == 1
    async with group.worker() as life:
        await group.publish([BLACK], 4)
        await life.answered(1)


async def test_two_groups_with_one_state_topic_do_not_share_it(broker: FoundBroker, names: TopicNames) -> None:
    """Group `a` on `x.b` and group `b.a` on `x`: the second is left alone, whatever the switches, and spoils nothing."""
    ours = replace(names, frames=f"{names.frames}.b", group="a")
    others = replace(names, group="b.a")
    assert ours.state == others.state
    group, second = await made(broker, others), await made(broker, ours)
    await group.publish([WHITE] * 4)
    await second.publish([BLACK] * 4)
    async with group.worker() as life:
        await life.answered(4)
        before = await group.read(names.alerts)
        for policy in (Policy(), Policy(accept_new_topic=True, accept_state_loss=True, accept_older_revision=True)):
            async with second.worker(policy=policy) as late:
                reason = await parked(late)
                assert late.worker.counts.received == 0
            assert f"group 'b.a' on topic '{others.frames}', this worker is of group 'a' on topic '{ours.frames}'" in reason
        assert len(await group.read(names.alerts)) == len(before)
        await group.publish([BLACK] * 4, 4)
        await life.answered(8)
    assert await group.kinds() == ["seen", "started", "ended"]
    assert (await group.record()).owner == StateOwner("b.a", others.frames)


async def test_wrong_settings_end_the_worker(broker: FoundBroker, names: TopicNames) -> None:
    """A state topic that somebody made deleting is refused when its partitions are assigned."""
    group = await made(broker, names)
    admin = AIOKafkaAdminClient(**group.connection.client_options())
    await admin.start()
    await admin.alter_configs([ConfigResource("topic", names.state, {"cleanup.policy": "delete"})])
    await admin.close()
    with pytest.raises(StreamRefused, match=r"cleanup.policy is delete, must be compact"):
        async with group.worker() as life:
            await life.running


def _commit_group_offset(group: Group, offset: int) -> None:
    """Commit an offset for the group, as an operator's reset does."""
    consumer = Consumer({"bootstrap.servers": group.broker.bootstrap_servers, "group.id": group.names.group})
    consumer.commit(offsets=[Place(group.names.frames, 0, offset)], asynchronous=False)
    consumer.close()
