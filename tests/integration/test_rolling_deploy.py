"""Old and new workers side by side on a real broker: what goes on is never ended and started again."""

import asyncio
import json
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from stream.answering import Reload
from stream.debounce_rules import DebounceRules
from stream.kafka.topology import TopicNames, create_topics
from stream.protocol import Policy
from stream.state_codec import PARTITION_KEY, encode_partition
from stream.state_records import PartitionRecord, QuestionRevision
from tests.integration.restart_world import QUICK, Group
from tests.integration.worker_world import RULE, WHITE, BrightnessDevice
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

GLOWING, BARKING = RULE, replace(RULE, behavior="barking")
ONE, TWO, THREE = (QuestionRevision(number, name) for number, name in ((1, "both"), (2, "glowing"), (3, "both")))
OLD = replace(QUICK, behaviors=("glowing", "barking"), debounce=DebounceRules.of([GLOWING, BARKING]), questions=ONE)
NEW = replace(QUICK, questions=TWO)
"""Barking is asked no more."""


async def made(broker: FoundBroker, names: TopicNames, partitions: int = 1) -> Group:
    """A group with its topics."""
    await create_topics(broker.connection, names, partitions=partitions)
    return Group(broker, names)


async def told(group: Group, partition: int = 0) -> list[tuple[str, str, str, str]]:
    """Of each behaviour event: which, what, why, and with which questions."""
    found = []
    for message in await group.read(group.names.alerts, partition):
        kind, data = dict(message.headers())["ce_type"].decode().rpartition(".")[2], json.loads(message.value())
        if "behavior" in data:
            found.append((data["behavior"], kind, data.get("reason", ""), data["questions"]))
    return found


def lag(group: Group, partition: int = 0) -> int:
    """Records that the group has not committed, as a monitor computes it."""
    consumer = Consumer({"bootstrap.servers": group.broker.bootstrap_servers, "group.id": group.names.group})
    place = Place(group.names.frames, partition)
    (committed,) = consumer.committed([place], timeout=10)
    _, end = consumer.get_watermark_offsets(place, timeout=10)
    consumer.close()
    return int(end - max(committed.offset, 0))


STARTED = [("glowing", "started", "", "both"), ("barking", "started", "", "both")]
REMOVED = ("barking", "ended", "question_removed", "glowing")


async def test_rolling_deploy_ends_a_removed_behavior_once(broker: FoundBroker, names: TopicNames) -> None:
    """Old, new, old again: the old one leaves the partition alone, its lag grows, and a reload has it go on by itself."""
    group = await made(broker, names)
    await group.publish([WHITE] * 4)
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2)) as life:
        await life.answered(4)
        await life.stop()
    await group.publish([WHITE], 4)
    async with group.worker(config=NEW) as life:
        await life.answered(1)
        await life.stop()
    assert await told(group) == [*STARTED, REMOVED]
    assert (await group.record()).questions == TWO
    await group.publish([WHITE] * 3, 5)
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2)) as life:
        await life.until(lambda: life.delivery.parked)
        (left,) = life.delivery.parked
        assert life.worker.counts.received == 0
        for words in ("revision 2", "revision 1", "SIGHUP", "--accept-older-revision"):
            assert words in left.reason
        assert await asyncio.to_thread(lag, group) == 3
        assert await told(group) == [*STARTED, REMOVED]
        await life.delivery.turn(life.worker, Reload(("glowing",), NEW.debounce, TWO, 1))
        await life.answered(3)
        assert life.delivery.parked == ()
        await life.stop()
    assert await asyncio.to_thread(lag, group) == 0
    assert await told(group) == [*STARTED, REMOVED]
    assert (await group.record()).resume_offset == 8


async def test_reload_ends_a_removed_behavior_once_through_a_kill(broker: FoundBroker, names: TopicNames) -> None:
    """Killed right after the reload, its end delivered or not: the next worker of that revision tells it no more."""
    group = await made(broker, names)
    await group.publish([WHITE] * 4)
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2)) as life:
        await life.answered(4)
        await life.worker.reload(Reload(("glowing",), NEW.debounce, TWO, 1))
    async with group.worker(config=NEW) as life:
        await group.publish([WHITE], 4)
        await life.answered(1)
        await life.stop()
    assert await told(group) == [*STARTED, REMOVED]


async def test_roll_back_is_a_newer_revision(broker: FoundBroker, names: TopicNames) -> None:
    """The old questions under revision 3: what was removed meanwhile begins a new episode, the other behaviour goes on."""
    group = await made(broker, names)
    await group.publish([WHITE] * 4)
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2)) as life:
        await life.answered(4)
        await life.worker.reload(Reload(("glowing",), NEW.debounce, TWO, 1))
        await life.quiet()
        await group.publish([WHITE] * 2, 4)
        await life.answered(6)
        await life.stop()
    async with group.worker(config=replace(OLD, questions=THREE), device=BrightnessDevice(questions=2)) as life:
        await group.publish([WHITE] * 4, 6)
        await life.answered(4)
        await life.stop()
    assert await told(group) == [*STARTED, REMOVED, ("barking", "started", "", "both")]


async def test_older_revision_goes_on_if_accepted(
    broker: FoundBroker, names: TopicNames, caplog: pytest.LogCaptureFixture
) -> None:
    """--accept-older-revision: the partition is taken up and written under the older revision, and the log says so."""
    group = await made(broker, names)
    await group.publish([WHITE] * 2)
    async with group.worker(config=NEW) as life:
        await life.answered(2)
        await life.stop()
    await group.publish([WHITE] * 2, 2)
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2), policy=Policy(accept_older_revision=True)) as life:
        await life.answered(2)
        await life.stop()
    assert (await group.record()).questions == ONE
    assert any("question revision 2, and goes on with revision 1" in each.getMessage() for each in caplog.records)


async def test_other_partitions_go_on_beside_one_that_is_left_to_newer_workers(broker: FoundBroker, names: TopicNames) -> None:
    """Only the partition that a newer worker had is left alone, and nothing of it is written over."""
    group = await made(broker, names, partitions=2)
    newer = encode_partition(PartitionRecord(0, 0, "newer", questions=TWO))
    async with AIOKafkaProducer(**group.connection.client_options()) as producer:
        await producer.send_and_wait(names.state, newer, PARTITION_KEY, partition=0)
    for partition in range(2):
        await group.publish([WHITE], partition=partition, camera=f"camera-{partition}")
    async with group.worker(config=OLD, device=BrightnessDevice(questions=2)) as life:
        await life.answered(1)
        await life.until(lambda: life.delivery.parked)
        assert [each.partition for each in life.delivery.parked] == [0]
        await life.stop()
    assert [await group.kinds(partition) for partition in range(2)] == [[], ["seen"]]
    assert (await group.read(names.state))[-1].value() == newer
