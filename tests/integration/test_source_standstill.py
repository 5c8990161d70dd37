"""The source's watchdog: a consumer that gives nothing although there is more ends the worker, and no other silence does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition

from stream.errors import SourceLost
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.partition_client import Group
from stream.kafka.source import KafkaSource
from stream.kafka.taking_up import Opened
from stream.kafka.topology import TopicNames, create_topics
from stream.ports import Assigned
from tests.integration import restart_world
from tests.integration.kafka_world import NONE_HELD, PATIENCE_S, Seen, joined, publish
from tests.integration.mock_cluster import MockCluster, mock_clusters
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

STANDSTILL_S, PAUSE_S = 2.0, 1.0
"""The watchdog's, here."""
ASKED_S = 3.0
"""After it was taken up, the end of a partition is known."""
FETCH = 1
"""Its number among the requests (Kafka protocol guide, "API Keys")."""
NO_ERROR = 0
FRAMES = TopicPartition("frames", 0)
HELD = frozenset({(FRAMES.topic, FRAMES.partition)})


class AtOnce:
    """Takes a partition up at its beginning, as no delivery does: a mock cluster has no transactions to judge by."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._group: Group

    async def check(self) -> None:
        """All is as it must be."""

    def keep(self, tp: TopicPartition, group: Group, void: Callable[[], None]) -> "AtOnce":  # noqa: ARG002
        """Keep it."""
        self._group = group
        return self

    async def open(self, incarnation: int) -> Opened:
        """Begin."""
        self._group.consumer.seek(FRAMES, 0)
        return Opened(0, Assigned(FRAMES.topic, FRAMES.partition, incarnation))

    def discard(self) -> None:
        """It is over."""
        self.closed.set()


@pytest.fixture(autouse=True)
def watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strikes early."""
    monkeypatch.setattr("stream.kafka.source.STANDSTILL_S", STANDSTILL_S)
    monkeypatch.setattr("stream.kafka.source.PAUSE_S", PAUSE_S)


@pytest.fixture
def mock() -> Iterator[MockCluster]:
    """A cluster with the topic; it gives one batch at a time."""
    with mock_clusters(1) as (cluster,):
        cluster.create_topic(FRAMES.topic)
        yield cluster


async def test_consumer_that_stands_still_ends_the_worker(mock: MockCluster) -> None:
    """It holds more, and a fetch is not answered: with a sentence, and not before its time."""
    async with _behind(mock) as source:
        mock.answer_late(FETCH, NO_ERROR, after_ms=int(6 * STANDSTILL_S * 1000))
        assert await _values(source, 1) == [b"0"]
        began_s = time.monotonic()
        with pytest.raises(SourceLost, match="gave nothing for 2 s at offset 1, and holds more: restart the worker"):
            await _values(source, 1)
        assert STANDSTILL_S - 0.5 < time.monotonic() - began_s < 3 * STANDSTILL_S


async def test_what_the_worker_holds_back_does_not_stand_still(mock: MockCluster) -> None:
    """Backpressure: nothing is read of a partition for longer than that, and it goes on afterwards."""
    async with _behind(mock) as source:
        until_s = time.monotonic() + 2 * STANDSTILL_S
        while time.monotonic() < until_s:
            assert not (await source.poll(0.2, HELD)).records
        assert await _values(source, 2) == [b"0", b"1"]


async def test_what_the_worker_itself_held_up_does_not_stand_still(mock: MockCluster) -> None:
    """It did not poll for longer than that; what it then waits for only comes a moment later."""
    async with _behind(mock) as source:
        paused_s = STANDSTILL_S + PAUSE_S
        mock.answer_late(FETCH, NO_ERROR, after_ms=int((paused_s + STANDSTILL_S / 2) * 1000))
        assert await _values(source, 1) == [b"0"]
        await asyncio.sleep(paused_s)
        assert await _values(source, 1) == [b"1"]


async def test_where_control_records_are_left_nothing_stands_still(broker: FoundBroker, names: TopicNames) -> None:
    """A foreign camera's marker is the last that lies there: no record comes of it, and yet the end is proven again and again."""
    await create_topics(broker.connection, names, partitions=1)
    async with restart_world.Group(broker, names).writer("a camera's") as camera, camera.transaction():
        await camera.send_and_wait(names.frames, b"x", b"den", partition=0)
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: seen.records)
        until_s = time.monotonic() + 2 * STANDSTILL_S
        await member.watch(lambda _: time.monotonic() > until_s, seen)
    assert len(seen.proofs) > 1


@asynccontextmanager
async def _behind(mock: MockCluster) -> AsyncIterator[KafkaSource]:
    """A source that knows of two records, of which it has fetched one and handed out none."""
    connection = KafkaConnection(mock.bootstrap_servers)
    for value in (b"0", b"1"):
        await publish(connection, FRAMES.topic, [value])
    async with KafkaSource(connection, SourceConfig(FRAMES.topic, "group", 6.0), AtOnce()) as source:
        seen, until_s = Seen(), time.monotonic() + PATIENCE_S
        while not seen.assigned:
            assert time.monotonic() < until_s
            seen.polls.append(await source.poll(0.2, HELD))
        until_s = time.monotonic() + ASKED_S
        while time.monotonic() < until_s:
            seen.polls.append(await source.poll(0.2, HELD))
        assert not seen.records
        yield source


async def _values(source: KafkaSource, count: int) -> list[bytes | None]:
    """What comes, up to a number of records."""
    seen, until_s = Seen(), time.monotonic() + PATIENCE_S
    while len(seen.records) < count:
        assert time.monotonic() < until_s
        seen.polls.append(await source.poll(0.2, NONE_HELD))
    return seen.values()
