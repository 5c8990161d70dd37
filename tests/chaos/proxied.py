"""What tests do with brokers behind a proxy: topics and readers that go past the proxy, producers that go through it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tools.chaos.brokers import Brokers

PATIENCE_S = 30.0


async def create(brokers: Brokers, *topics: str) -> None:
    """Create topics of one partition and wait until they can be used."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers.direct_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, len(brokers.nodes)) for topic in topics])
        async with asyncio.timeout(PATIENCE_S):
            while not set(topics) <= set(await admin.list_topics()):  # noqa: ASYNC110  (only asking tells)
                await asyncio.sleep(0.02)
    finally:
        await admin.close()


@asynccontextmanager
async def producer(brokers: Brokers, client: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """A producer behind the proxy."""
    async with AIOKafkaProducer(
        bootstrap_servers=brokers.bootstrap_servers, client_id=client, request_timeout_ms=10_000, **options
    ) as running:
        yield running


async def committed(brokers: Brokers, topic: str) -> list[bytes]:
    """What a read_committed reader beside the proxy sees now."""
    async with AIOKafkaConsumer(
        bootstrap_servers=brokers.direct_servers,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    ) as consumer:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        (end,) = (await consumer.end_offsets([partition])).values()
        seen: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(partition, timeout_ms=200)).values():
                    seen += [record.value for record in records]
        return seen
