"""A member that ends while its group does not answer: it waits no longer than it may, and leaves nothing open."""

import asyncio
import time

import pytest

from stream.kafka import consumer
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig, open_consumer
from tests.integration.error_bench import NAMES, Listener
from tests.integration.mock_cluster import mock_clusters

pytestmark = pytest.mark.asyncio

JOIN_GROUP = 11
"""Its number among the requests (Kafka protocol guide, "API Keys")."""
PATIENCE_S = 10.0


async def test_a_rejoin_that_is_not_answered_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a worker is told to end while the group waits for another one that is gone."""
    monkeypatch.setattr(consumer, "STOP_TIMEOUT_S", 0.5)
    with mock_clusters(1) as (mock,):
        mock.create_topic(NAMES.frames)
        before, listener = asyncio.all_tasks(), Listener()
        config = SourceConfig(NAMES.frames, "group", session_timeout_s=1.0)
        async with open_consumer(KafkaConnection(mock.bootstrap_servers), config) as member:
            member.subscribe([NAMES.frames], listener=listener)
            until_s = time.monotonic() + PATIENCE_S
            while not listener.assigned:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.01)
            mock.answer_late(JOIN_GROUP, 0, 5_000)
            member.unsubscribe()
            member.subscribe([NAMES.frames], listener=listener)
            await asyncio.sleep(0.5)
            assert (listener.assigned, listener.revoked) == (1, 1)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 2.0
        await asyncio.sleep(0.1)  # the connections end a step after they were closed
        assert not asyncio.all_tasks() - before
