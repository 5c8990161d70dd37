"""What others do to the cluster in scenarios: zombies, operators, foreign transactions."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import DeleteGroupsRequest

from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig, open_consumer
from stream.kafka.topology import TopicNames

GONE_BOUND_S = 15.0


def writer_of(names: TopicNames, partition: int) -> str:
    """Transactional id of a partition's writer."""
    return f"pawsight.{names.group}.{names.frames}.{partition}"


async def fence(connection: KafkaConnection, names: TopicNames, partitions: Iterable[int]) -> None:
    """Be a zombie: start as the writer of each partition, which fences the real one, and go away.

    Raises:
        KafkaError: the brokers do not answer.
    """

    async def one(partition: int) -> None:
        producer = AIOKafkaProducer(
            **connection.client_options(),
            transactional_id=writer_of(names, partition),
            transaction_timeout_ms=5_000,
        )
        try:
            await producer.start()
        finally:
            await producer.stop()

    await asyncio.gather(*map(one, partitions))


@asynccontextmanager
async def foreign_transaction(connection: KafkaConnection, topic: str, partition: int) -> AsyncIterator[AIOKafkaProducer]:
    """Hold a transaction of a stranger open on a partition; it is aborted at the end of the block unless that ended it.

    Raises:
        KafkaError: the brokers do not answer.
    """
    async with AIOKafkaProducer(
        **connection.client_options(), transactional_id=f"stranger.{topic}.{partition}", transaction_timeout_ms=300_000
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, None, key=b"stranger", partition=partition)
        try:
            yield producer
        finally:
            await producer.abort_transaction()


@asynccontextmanager
async def other_member(connection: KafkaConnection, names: TopicNames, session_s: float) -> AsyncIterator[AIOKafkaConsumer]:
    """Join the workers' group with a member that does nothing, and leave it again.

    Raises:
        StreamError: the brokers do not answer.
    """
    config = replace(SourceConfig(names.frames, names.group), session_timeout_s=session_s)
    async with open_consumer(connection, config) as consumer:
        consumer.subscribe([names.frames])
        yield consumer


@asynccontextmanager
async def administration(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    """An operator's client.

    Raises:
        KafkaError: the brokers do not answer.
    """
    admin = AIOKafkaAdminClient(**connection.client_options(), request_timeout_ms=15_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def delete_topic(connection: KafkaConnection, topic: str) -> None:
    """Delete a topic, and return when it is gone.

    Raises:
        TimeoutError: it stays.
    """
    async with administration(connection) as admin:
        await admin.delete_topics([topic])
        async with asyncio.timeout(GONE_BOUND_S):
            while topic in await admin.list_topics():  # noqa: ASYNC110  (only asking tells)
                await asyncio.sleep(0.05)


async def add_partitions(connection: KafkaConnection, topics: Sequence[str], count: int) -> None:
    """Let topics have so many partitions."""
    async with administration(connection) as admin:
        await admin.create_partitions({topic: NewPartitions(count) for topic in topics})


async def delete_records(connection: KafkaConnection, topic: str, before: Mapping[int, int]) -> None:
    """Delete what lies below an offset of each partition, as retention does."""
    async with administration(connection) as admin:
        await admin.delete_records({TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()})


async def configure(connection: KafkaConnection, topic: str, settings: Mapping[str, str]) -> None:
    """Change settings of a topic, and leave the others as they were set."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    async with administration(connection) as admin:
        (response,) = await admin.describe_configs([resource])
        # source 1 is what was set on the topic itself (Kafka protocol guide, DescribeConfigs); AlterConfigs replaces all of it
        own = {entry[0]: entry[1] for entry in response.resources[0][4] if entry[3] == 1}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=own | dict(settings))])


async def set_group_offsets(connection: KafkaConnection, names: TopicNames, offsets: Mapping[int, int]) -> None:
    """Commit for a group that has no members, as an operator's reset does."""
    async with AIOKafkaConsumer(**connection.client_options(), group_id=names.group, enable_auto_commit=False) as consumer:
        consumer.assign([TopicPartition(names.frames, number) for number in offsets])
        await consumer.commit({TopicPartition(names.frames, number): offset for number, offset in offsets.items()})


async def group_offsets(connection: KafkaConnection, names: TopicNames) -> dict[int, int]:
    """What the group has committed, by partition."""
    async with administration(connection) as admin:
        found = await admin.list_consumer_group_offsets(names.group)
    return {place.partition: each.offset for place, each in found.items()}


async def delete_group(connection: KafkaConnection, names: TopicNames) -> None:
    """Delete a group that has no members, and all its offsets.

    Raises:
        RuntimeError: the broker refused.
    """
    async with administration(connection) as admin:
        coordinator = await admin.find_coordinator(names.group)
        response = await admin._client.send(coordinator, DeleteGroupsRequest([names.group]))  # noqa: SLF001  (it has no call for it)
    if any(code for _, code in response.results):
        msg = f"the group was not deleted: {response}"
        raise RuntimeError(msg)
