"""Publishing to a real broker, also what no well-behaved client publishes, and polling a source until something was seen."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record import default_records

from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.exactly_once import ExactlyOnce
from stream.kafka.partition_client import DeliveryConfig
from stream.kafka.port import Port
from stream.kafka.source import KafkaSource
from stream.kafka.topology import TopicNames
from stream.ports import Assigned, Poll, Proof, Revoked, Tick
from stream.protocol import Policy, StartFrom
from stream.state_records import mark_of
from stream.types import DeadLetter, Record
from tests.unit.alert_samples import CONTEXT

PATIENCE_S = 30.0
"""How long a test waits for something before it fails."""


@dataclass(slots=True)
class Seen:
    """All that a source handed out, in order."""

    polls: list[Poll] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """Records in the order in which they were handed out."""
        return [each for poll in self.polls for each in poll.records]

    @property
    def poison(self) -> list[DeadLetter]:
        """What the source could not read."""
        return [each for poll in self.polls for each in poll.poison]

    @property
    def assigned(self) -> list[Assigned]:
        """Every assignment."""
        return [each for poll in self.polls for each in poll.assigned]

    @property
    def revoked(self) -> list[Revoked]:
        """Every revocation."""
        return [each for poll in self.polls for each in poll.revoked]

    @property
    def proofs(self) -> list[Proof]:
        """Every proof."""
        return [each for poll in self.polls for each in poll.proofs]

    def values(self, partition: int = 0) -> list[bytes | None]:
        """Values of a partition."""
        return [record.value for record in self.records if record.partition == partition]

    def held(self) -> dict[int, int]:
        """Partitions that are assigned now, with their incarnations, by the order of the protocol."""
        held: dict[int, int] = {}
        for poll in self.polls:
            for lost in poll.revoked:
                del held[lost.partition]
            for got in poll.assigned:
                assert got.partition not in held, got
                held[got.partition] = got.incarnation
        return held


NONE_HELD: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Joined:
    """A member of a group without a worker: what a source hands out, and where progress is delivered."""

    source: KafkaSource
    delivery: ExactlyOnce

    async def watch(
        self, done: Callable[[Seen], object], seen: Seen | None = None, *, held: frozenset[tuple[str, int]] = NONE_HELD
    ) -> Seen:
        """Poll until `done`, and fail if that does not come. What is to be drained is given up at once, as it stood."""
        seen = Seen() if seen is None else seen
        until_s = time.monotonic() + PATIENCE_S
        while not done(seen):
            assert time.monotonic() < until_s, f"not seen within {PATIENCE_S} s: {seen}"
            seen.polls.append(await self.source.poll(0.5, held))
            for each in seen.polls[-1].draining:
                await self.delivery.deliver(Tick(each.topic, each.partition, each.incarnation, None, final=True))
        return seen

    async def progress(self, record: Record, resume_offset: int, **more: object) -> bool:
        """Deliver that everything below an offset of a record's partition is done; `record` is the last one that is."""
        mark = mark_of(record.offset, record.timestamp_ms, record.key, record.value)
        return await self.delivery.deliver(
            Tick(record.topic, record.partition, record.incarnation, resume_offset, last_record=mark, **more)  # type: ignore[arg-type]
        )


@asynccontextmanager
async def joined(
    connection: KafkaConnection,
    names: TopicNames,
    *,
    policy: Policy = Policy(),  # noqa: B008  (frozen)
    start_from: StartFrom = "earliest",
    decorate: Callable[[Port], Port] = lambda port: port,
    **source: object,
) -> AsyncIterator[Joined]:
    """Join the test's group; leave it at the end, without a last tick."""
    delivery = ExactlyOnce(connection, names, CONTEXT, DeliveryConfig("test", start_from), policy, decorate)
    config = replace(SourceConfig(names.frames, names.group, session_timeout_s=6.0), **source)  # type: ignore[arg-type]
    async with delivery, KafkaSource(connection, config, delivery) as member:
        yield Joined(member, delivery)


async def publish(
    connection: KafkaConnection, topic: str, values: Sequence[bytes], *, partition: int = 0, key: bytes = b"den"
) -> None:
    """Publish records as one batch."""
    async with AIOKafkaProducer(**connection.client_options(), enable_idempotence=True, max_request_size=2**24) as producer:
        batch = producer.create_batch()
        for value in values:
            if batch.append(timestamp=None, key=key, value=value) is None:
                await (await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                batch.append(timestamp=None, key=key, value=value)
        await (await producer.send_batch(batch, topic, partition=partition))


async def publish_at(connection: KafkaConnection, topic: str, times_s: Sequence[float], *, partition: int = 0) -> None:
    """Publish a record of each of these record timestamps; its value says which."""
    async with AIOKafkaProducer(**connection.client_options(), enable_idempotence=True) as producer:
        for time_s in times_s:
            value, timestamp_ms = str(time_s).encode(), int(time_s * 1000)
            await producer.send_and_wait(topic, value, b"den", partition=partition, timestamp_ms=timestamp_ms)


class _Bytes(str):
    """A header key that is encoded to bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:  # type: ignore[override]
        return b"\xff\xfe"


async def publish_bad_header(connection: KafkaConnection, topic: str, values: Sequence[bytes], bad: int) -> None:
    """Publish values[0], then one batch of the others whose record number `bad` has the header key ff fe; the broker takes it."""
    builder = default_records._DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 2**20)
    for index, value in enumerate(values[1:]):
        headers = [(_Bytes("x"), b"1")] if index == bad else []
        builder.append(index, int(time.time() * 1000), b"den", value, headers)
    async with AIOKafkaProducer(**connection.client_options()) as producer:
        await producer.send_and_wait(topic, values[0], key=b"den", partition=0)  # a new topic's leader may still refuse
        leader = producer.client.cluster.leader_for_partition(TopicPartition(topic, 0))
        request = ProduceRequest(
            required_acks=-1, timeout=5000, topics=[(topic, [(0, bytes(builder.build()))])], transactional_id=None
        )
        response = await producer.client.send(leader, request)
    ((_, ((_, code, *_rest),)),) = response.topics
    assert code == 0, response
