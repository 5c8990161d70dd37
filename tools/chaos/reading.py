"""Reading whole topics to their high watermark, and telling whether anything still holds their last stable offset back."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Literal, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CorruptRecordException

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import partition_count

READ_TIMEOUT_S = 60.0
"""Longest stand-still; then something is wrong that waiting does not mend."""

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]


def consumer(connection: KafkaConnection, isolation: Isolation) -> AIOKafkaConsumer:
    """Make a consumer that joins no group."""
    return AIOKafkaConsumer(
        **connection.client_options(), enable_auto_commit=False, auto_offset_reset="earliest", isolation_level=isolation
    )


async def read_all(connection: KafkaConnection, topic: str, isolation: Isolation) -> AsyncGenerator[ConsumerRecord, None]:
    """Give a topic's records, one partition after the other, up to the high watermark of now. Not for compacted topics.

    Args:
        connection: the cluster.
        topic: the topic.
        isolation: `read_committed` gives only what lies below the last stable offset, and waits for it to reach the end.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: the last stable offset stays below the high watermark.
    """
    ends = await high_watermarks(connection, topic)
    async with consumer(connection, isolation) as reader:
        reader.assign(list(ends))
        begins = await reader.beginning_offsets(list(ends))
        for place, end in ends.items():
            position = begins[place]
            reader.seek(place, position)
            while position < end:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    records: Sequence[ConsumerRecord] = ()
                    while not records and position < end:
                        records, position = await _take(reader, place, position)
                for record in records:
                    if record.offset < end:
                        yield record


async def _take(reader: AIOKafkaConsumer, place: TopicPartition, position: int) -> tuple[Sequence[ConsumerRecord], int]:
    """Read on from a position; passes, one offset at a time, what the client cannot read: it was put there on purpose."""
    try:
        records = (await reader.getmany(place, timeout_ms=500)).get(place, ())
    except (UnicodeDecodeError, CorruptRecordException):
        reader.seek(place, position)
        try:
            records = (await reader.getmany(place, timeout_ms=500, max_records=1)).get(place, ())
        except (UnicodeDecodeError, CorruptRecordException):
            reader.seek(place, position + 1)
            return (), position + 1
    return records, await reader.position(place)  # which also passes what is no record


async def high_watermarks(connection: KafkaConnection, topic: str) -> dict[TopicPartition, int]:
    """Give every partition's end, transactions that are open included.

    Raises:
        KafkaError: the brokers do not answer.
    """
    return await _ends(connection, topic, "read_uncommitted")


async def unsettled(connection: KafkaConnection, topic: str) -> list[str]:
    """Name the partitions whose last stable offset is below the high watermark: a transaction on them is open.

    Raises:
        KafkaError: the brokers do not answer.
    """
    high = await high_watermarks(connection, topic)
    stable = await _ends(connection, topic, "read_committed")
    return [
        f"{topic}[{place.partition}]: last stable offset {stable[place]}, high watermark {end}"
        for place, end in high.items()
        if stable[place] != end
    ]


async def places(connection: KafkaConnection, topic: str) -> list[TopicPartition]:
    """Give a topic's partitions.

    Raises:
        StreamRefused: there is no such topic.
    """
    return [TopicPartition(topic, number) for number in range(await partition_count(connection, topic))]


async def _ends(connection: KafkaConnection, topic: str, isolation: Isolation) -> dict[TopicPartition, int]:
    wanted = await places(connection, topic)
    async with consumer(connection, isolation) as asking:
        ends: dict[TopicPartition, int] = await asking.end_offsets(wanted)
    return ends
