"""Three brokers, each behind its own listener of the proxy: clients use nothing else, and one node may be lost."""

import asyncio

import pytest
from aiokafka import TopicPartition

from tests.chaos.proxied import committed, create, producer
from tools.broker.cluster import await_whole
from tools.broker.find import why_no_broker
from tools.chaos.brokers import brokers_behind_proxy
from tools.chaos.frames import EVERYTHING
from tools.chaos.rules import Swallow

TOPIC = "copies"


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER: {why_no_broker()}")
@pytest.mark.asyncio
async def test_cluster_is_reached_through_the_proxy_alone() -> None:
    """A client finds the next leader through the proxy, a rule stops it whomever it asks, and a judge goes past the proxy."""
    async with brokers_behind_proxy(3) as brokers:
        await create(brokers, TOPIC)
        assert not brokers.proxy.passed
        async with producer(brokers, "w1", enable_idempotence=True, acks="all") as sender:
            await sender.send_and_wait(TOPIC, b"0", partition=0)
            leader = brokers.nodes[sender.client.cluster.leader_for_partition(TopicPartition(TOPIC, 0)) - 1]
            leader.kill()
            await sender.send_and_wait(TOPIC, b"1", partition=0)
            assert brokers.proxy.passed["produce"] >= 2
            await asyncio.to_thread(leader.start)
            await asyncio.to_thread(await_whole, brokers.nodes)
            applied = brokers.proxy.apply(Swallow(EVERYTHING, lasts_s=3.0, client="w1"))
            sending = asyncio.create_task(sender.send_and_wait(TOPIC, b"2", partition=0))
            assert await committed(brokers, TOPIC) == [b"0", b"1"]
            assert not sending.done()
            assert await applied.wait(5.0)
            await sending
        assert await committed(brokers, TOPIC) == [b"0", b"1", b"2"]
