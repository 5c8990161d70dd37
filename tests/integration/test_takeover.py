"""Owners that do not wait for each other, on a real broker: fences, zombies, late transactions, half of a transaction."""

import asyncio
import time
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from stream.alerts import AlertContext, binary
from stream.errors import SourceLost, TopicMissing
from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.exactly_once import ExactlyOnce
from stream.kafka.partition_client import ASK_AGAIN_S, Cluster, DeliveryConfig, PartitionClient
from stream.kafka.partition_client import Group as Membership
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames, create_topics, partition_count
from stream.ports import Poll, Tick
from stream.protocol import Policy
from stream.types import CameraEvent, Kind
from tests.integration.kafka_world import joined
from tests.integration.restart_world import Group
from tests.integration.watched_port import Watched
from tests.integration.worker_world import BLACK, T0_S, WHITE, scene, world
from tests.unit.alert_samples import CONTEXT
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio


async def made(broker: FoundBroker, names: TopicNames, partitions: int = 1) -> Group:
    """A group with its topics."""
    await create_topics(broker.connection, names, partitions=partitions)
    return Group(broker, names)


async def test_fenced_owner_takes_its_partition_up_again(broker: FoundBroker, names: TopicNames) -> None:
    """Somebody else became the writer: the tick is refused, the books are void, and after a while all of it is done once."""
    group = await made(broker, names)
    await group.publish([BLACK])
    async with group.worker() as life:
        await life.answered(1)
        async with group.writer():
            await group.publish([WHITE] * 4, 1)
            await life.until(lambda: life.source.counts["partitions_voided"] == 1)
        await life.until(lambda: life.worker.counts.events == 2)
        await life.quiet()
    assert await group.kinds() == ["seen", "started"]
    assert (await group.record()).resume_offset == 5


class Late:
    """A consumer that gets no answer in time."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Say so."""
        raise KafkaTimeoutError(partitions)

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Nothing is committed here."""


def late(connection: KafkaConnection, names: TopicNames, partition: int = 0) -> PartitionClient:
    """A partition's client whose consumer gets no answer in time."""
    consumer = Late()
    cluster = Cluster(connection, names, "/pawsight", DeliveryConfig("one"), Retired())
    return PartitionClient(TopicPartition(names.frames, partition), Membership(consumer, Commits(consumer.commit)), cluster)


async def test_state_that_is_not_there_is_named(broker: FoundBroker, names: TopicNames) -> None:
    """The client only says that it got no answer in time, of a partition that is there and of one that is not."""
    await made(broker, names)
    with pytest.raises(KafkaTimeoutError):
        await late(broker.connection, names).state_end()
    with pytest.raises(TopicMissing, match=r"of a typo\.state' does not exist"):
        await late(broker.connection, replace(names, group="of a typo")).state_end()
    with pytest.raises(TopicMissing, match=r"has 1 partitions, and none for partition 3 .* same number"):
        await late(broker.connection, names, 3).state_end()


async def test_state_is_not_gone_because_one_answer_says_so(
    broker: FoundBroker, names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that knows nothing yet is asked again some seconds later."""
    await made(broker, names)
    answers: list[float] = []

    async def at_first_not(connection: KafkaConnection, topic: str) -> int:
        answers.append(time.monotonic())
        if len(answers) == 1:
            raise TopicMissing(topic)
        return await partition_count(connection, topic)

    monkeypatch.setattr("stream.kafka.partition_client.partition_count", at_first_not)
    with pytest.raises(KafkaTimeoutError):
        await late(broker.connection, names).state_end()
    assert answers[1] - answers[0] >= ASK_AGAIN_S


async def test_state_that_nobody_answers_for_is_worth_a_restart(names: TopicNames) -> None:
    """Nobody listens: that says nothing of the topic."""
    with pytest.raises(SourceLost, match=r"127\.0\.0\.1:1\b"):
        await late(KafkaConnection("127.0.0.1:1"), names).state_end()


async def test_second_owner_fences_the_first(broker: FoundBroker, names: TopicNames) -> None:
    """Two deliveries with one transactional id: the first one's tick is refused although nobody told it of the other."""
    group = await made(broker, names)
    async with joined(broker.connection, names) as first:
        seen = await first.watch(lambda seen: seen.assigned)
        (assigned,) = seen.assigned
        other = ExactlyOnce(broker.connection, names, CONTEXT, DeliveryConfig("other"), Policy())
        async with other:
            membership = first.source._gates._group  # a member of the same generation, such as a zombie's twin
            keeper = other.keep(TopicPartition(names.frames, 0), membership, lambda: None)
            assert await keeper.open(9) is not None
            assert (await group.record()).writer == "other"
            assert not await first.delivery.deliver(_empty(assigned.incarnation, names))
            await first.watch(lambda seen: len(seen.assigned) == 2, seen)
            assert (await group.record()).writer == "test"
            assert not await other.deliver(_empty(9, names))


async def test_zombie_that_is_no_member_fences_nobody(broker: FoundBroker, names: TopicNames) -> None:
    """Who cannot prove its membership does not become the writer: the owner goes on undisturbed."""
    group = await made(broker, names)
    await group.publish([BLACK])
    async with group.worker() as life:
        await life.answered(1)
        consumer = AIOKafkaConsumer(**broker.connection.client_options(), group_id=names.group, enable_auto_commit=False)
        await consumer.start()
        try:
            place = TopicPartition(names.frames, 0)
            consumer.assign([place])
            watched = Watched()
            zombie = ExactlyOnce(broker.connection, names, CONTEXT, DeliveryConfig("zombie"), Policy(), watched.port)
            async with zombie:
                keeper = zombie.keep(place, Membership(consumer, Commits(consumer.commit)), lambda: None)
                opening = asyncio.create_task(keeper.open(1))
                await life.until(lambda: watched.calls.count("prove") >= 3)
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
            assert set(watched.calls) == {"prove", "discard"}
        finally:
            await consumer.stop()
        await group.publish([BLACK], 1)
        await life.answered(2)
        assert life.source.counts["partitions_voided"] == 0


async def test_events_that_are_published_already_are_adopted(broker: FoundBroker, names: TopicNames) -> None:
    """Half of a late transaction: the alert is there, the state is not. It is told once; others' events are not taken for it."""
    group = await made(broker, names)
    rehearsal = world(Poll(records=scene([WHITE] * 4)))
    await rehearsal.worker().run()
    seen, started = rehearsal.sink.events[:2]
    async with group.worker() as life:
        await life.until(life.ready)
    async with group.writer() as late:
        for context, event in ((AlertContext("/pawsight/others", "m", "a", "q"), seen), (CONTEXT, started)):
            key, value, headers = binary(event, context)
            async with late.transaction():
                await late.send_and_wait(names.alerts, value, key, partition=0, headers=headers)
    watched = Watched()
    async with group.worker(decorate=watched.port) as life:
        await life.until(life.ready)
        assert (await group.record()).adopted == (started.event_id,)
        await group.publish([WHITE] * 4)
        await life.answered(4)
    assert await group.kinds() == ["seen", "started", "seen"]
    own, cameras = await group.state()
    assert own is not None
    assert own.adopted == ()
    assert cameras["den"].state.behaviors["glowing"].episode is not None
    assert own.alerts_offset == (await group.read(names.alerts))[-1].offset() + 1


async def test_adopted_events_survive_a_restart(broker: FoundBroker, names: TopicNames) -> None:
    """What is adopted but not reached yet stays known to the next owner, although its place in the alerts is passed."""
    group = await made(broker, names)
    async with group.worker() as life:
        await life.until(life.ready)
    lost = CameraEvent("5b1f0000-0000-5000-8000-000000000000", Kind.LOST, "den", T0_S, T0_S, None)
    key, value, headers = binary(lost, CONTEXT)
    async with group.writer() as late, late.transaction():
        await late.send_and_wait(names.alerts, value, key, partition=0, headers=headers)
    for _ in range(2):
        async with group.worker() as life:
            await life.until(life.ready)
            await group.publish([BLACK])
            await life.quiet()
        assert (await group.record()).adopted == (lost.event_id,)


async def test_gate_stays_shut_while_a_foreign_transaction_hides_state(broker: FoundBroker, names: TopicNames) -> None:
    """Nobody can say what is committed behind an open transaction: its partition waits, a figure says so, the other works."""
    group = await made(broker, names, partitions=2)
    await group.publish([BLACK])
    await group.publish([BLACK], partition=1, camera="attic")
    async with group.writer("a stranger's") as stranger:
        await stranger.begin_transaction()
        await stranger.send_and_wait(names.state, b"x", b"x", partition=0)
        async with group.worker() as life:
            await life.answered(1)
            await asyncio.sleep(1.0)
            assert (life.source.counts["partitions_taken_up"], life.worker.counts.answered) == (1, 1)
            await life.until(lambda: life.delivery.undecided == (0,))
            await stranger.abort_transaction()
            await life.answered(2)
            assert life.delivery.undecided == ()
    assert [await group.kinds(partition) for partition in (0, 1)] == [["seen"], ["seen"]]


async def test_slow_partition_starves_no_other(broker: FoundBroker, names: TopicNames) -> None:
    """While the commit of one partition does not come back the other one's events are told."""
    group = await made(broker, names, partitions=2)
    slow, plain = Watched(), Watched()
    ports: dict[int, Watched] = {0: slow, 1: plain}
    async with group.worker(decorate=lambda port: ports[port._tp.partition].port(port)) as life:  # type: ignore[attr-defined]
        await life.until(lambda: life.ready(2))
        slow.may_commit.clear()
        await group.publish([BLACK])
        await life.until(lambda: slow.calls[-1] == "commit")
        await group.publish([WHITE] * 4, partition=1, camera="attic")
        await life.until(lambda: life.worker.counts.events == 2)
        assert await group.kinds(1) == ["seen", "started"]
        assert await group.kinds(0) == []
        slow.may_commit.set()
        await life.until(lambda: life.worker.counts.events == 3)
    assert await group.kinds(0) == ["seen"]


def _empty(incarnation: int, names: TopicNames) -> Tick:
    return Tick(names.frames, 0, incarnation, resume_offset=None)
