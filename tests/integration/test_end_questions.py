"""How a source asks where its partitions end."""

import asyncio
import time

import pytest
from aiokafka import TopicPartition

from stream.kafka.topology import TopicNames, create_topics
from tests.integration.kafka_world import joined
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio


async def test_one_question_for_the_end_at_a_time(
    broker: FoundBroker, names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that stands still is not asked every second: answered in a row, the questions would hide that it stood still."""
    await create_topics(broker.connection, names, partitions=1)
    async with joined(broker.connection, names) as member:
        await member.watch(lambda seen: seen.proofs)
        asked = 0

        async def no_answer(_partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
            nonlocal asked
            asked += 1
            await asyncio.Event().wait()
            return {}

        monkeypatch.setattr(member.source._consumer, "end_offsets", no_answer)
        until_s = time.monotonic() + 3.5
        while time.monotonic() < until_s:
            await member.source.poll(0.1, frozenset())
        assert asked == 1
