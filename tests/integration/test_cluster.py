"""Three real brokers: one may be lost, and all may be."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Producer

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from tools.broker.cluster import Cluster, ClusterLaunch, await_whole
from tools.broker.find import broker_jars, why_no_broker
from tools.broker.jars import kafka_version
from tools.broker.metadata import cluster_view
from tools.broker.ports import HOST
from tools.broker.process import BrokerProcess

PATIENCE_S = 60.0
QUICK = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER: {why_no_broker()}"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes for all tests of this file."""
    with Cluster(ClusterLaunch(broker_jars(), settings=QUICK), kafka_version()) as started:
        yield started


def test_topics_have_three_copies(cluster: Cluster, names: TopicNames) -> None:
    """The nodes know of each other, and topics made by the tools have three copies of which two must be in sync."""
    asyncio.run(create_topics(KafkaConnection(cluster.bootstrap_servers), names, partitions=3))
    await_whole(cluster.nodes)
    for node in cluster.nodes:
        view = cluster_view(HOST, node.node.port)
        assert view is not None
        assert (view.brokers, view.short, view.leaderless) == (3, 0, 0)
    assert asyncio.run(_copies(cluster, names.frames)) == [3, 3, 3]


def test_one_node_may_be_lost_at_a_time(cluster: Cluster, names: TopicNames) -> None:
    """Two nodes killed in turn and the third stopped cleanly: what all copies must acknowledge is taken, and nothing is lost."""
    asyncio.run(create_topics(KafkaConnection(cluster.bootstrap_servers), names, partitions=3))
    sent: list[bytes] = []
    for lose in (BrokerProcess.kill, BrokerProcess.kill, BrokerProcess.stop):
        node = cluster.nodes[len(sent) % 3]
        lose(node)
        sent.append(b"without node %d" % node.node.node_id)
        asyncio.run(_publish(cluster, names, sent[-1]))
        assert not node.is_running
        node.start()
        await_whole(cluster.nodes, PATIENCE_S)
    assert sorted(asyncio.run(_read(cluster, names, len(sent)))) == sorted(sent)


@pytest.mark.proof
def test_all_nodes_may_be_killed_at_once(cluster: Cluster, names: TopicNames) -> None:
    """Started again side by side on their data they are the same cluster, with every acknowledged record."""
    asyncio.run(create_topics(KafkaConnection(cluster.bootstrap_servers), names, partitions=3))
    asyncio.run(_publish(cluster, names, b"before"))
    servers, pids = cluster.bootstrap_servers, [node.pid for node in cluster.nodes]
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.begin()
    for node in cluster.nodes:
        node.await_answer()
    await_whole(cluster.nodes, PATIENCE_S)
    assert cluster.bootstrap_servers == servers
    assert not set(pids) & {node.pid for node in cluster.nodes}
    assert asyncio.run(_read(cluster, names, 1)) == [b"before"]


@pytest.mark.proof
def test_one_node_alone_takes_nothing(cluster: Cluster, names: TopicNames) -> None:
    """Without a second copy in sync nothing is acknowledged; with it back everything goes on."""
    asyncio.run(create_topics(KafkaConnection(cluster.bootstrap_servers), names, partitions=3))
    await_whole(cluster.nodes, PATIENCE_S)
    lost = cluster.nodes[1:]
    for node in lost:
        node.kill()
    is_taken: list[bool] = []
    foreign = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", "message.timeout.ms": 3000})
    foreign.produce(names.frames, b"alone", callback=lambda error, _: is_taken.append(error is None))
    assert foreign.flush(PATIENCE_S) == 0
    assert is_taken == [False]
    for node in lost:
        node.begin()
    for node in lost:
        node.await_answer()
    await_whole(cluster.nodes, PATIENCE_S)
    asyncio.run(_publish(cluster, names, b"together"))


async def _publish(cluster: Cluster, names: TopicNames, value: bytes) -> None:
    """Send one record that all copies in sync must acknowledge."""
    async with (
        asyncio.timeout(PATIENCE_S),
        AIOKafkaProducer(bootstrap_servers=cluster.bootstrap_servers, enable_idempotence=True, acks="all") as producer,
    ):
        await producer.send_and_wait(names.frames, value)


async def _read(cluster: Cluster, names: TopicNames, count: int) -> list[bytes]:
    """The first records of all partitions."""
    servers = cluster.direct_servers
    async with AIOKafkaConsumer(names.frames, bootstrap_servers=servers, auto_offset_reset="earliest") as consumer:
        async with asyncio.timeout(PATIENCE_S):
            return [(await consumer.getone()).value for _ in range(count)]


async def _copies(cluster: Cluster, topic: str) -> list[int]:
    """How many copies in sync each partition of a topic has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=cluster.bootstrap_servers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return [len(partition["isr"]) for partition in described["partitions"]]
