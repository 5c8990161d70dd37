"""Publishing to a real broker, also what no well-behaved client publishes, and polling a source until something was seen."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record import default_records

from stream.kafka.connection import KafkaConnection
from stream.kafka.source import KafkaSource
from stream.ports import Assigned, Poll, Proof, Revoked
from stream.types import DeadLetter, Record

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


async def watch(source: KafkaSource, done: Callable[[Seen], object], seen: Seen | None = None) -> Seen:
    """Poll until `done`, and fail if that does not come."""
    seen = Seen() if seen is None else seen
    until_s = time.monotonic() + PATIENCE_S
    while not done(seen):
        assert time.monotonic() < until_s, f"not seen within {PATIENCE_S} s: {seen}"
        seen.polls.append(await source.poll(0.5))
    return seen


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
