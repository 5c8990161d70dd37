"""`stream.kafka.port.Port` over aiokafka: the group's consumer, one transactional producer, and readers that come and go.

The producer is started twice. The first one ends what a dead owner left, with short retries; the second has a back-off above
the transaction's deadline, so that no request of it is ever sent again behind our back: a request that arrives late, after its
retry, would commit half of the next transaction (KAFKA-17754).
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from stream.alerts import AlertRecord
from stream.errors import TopicMissing
from stream.kafka.commits import Commits
from stream.kafka.committed import committed_reader, read
from stream.kafka.connection import KafkaConnection
from stream.kafka.dead_letters import DeadLetterRecord
from stream.kafka.port import Log, Published
from stream.kafka.retired import Retired, bootstrap_whole
from stream.kafka.salvage import mark_at
from stream.kafka.topology import DEAD_LETTER_MAX_BYTES, TopicNames, partition_count
from stream.protocol import StartFrom
from stream.state_records import RecordMark

SOURCE_HEADER = "ce_source"
ID_HEADER = "ce_id"
MAX_BATCH_BYTES = 512 * 1024
"""A tick's states in a few requests; half of what a topic takes by default."""
ASK_AGAIN_S = 5.0
"""Between two questions whether a topic is there: a broker that has just begun, or is apart, may not know of it yet."""


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """How long delivery may take, and where a new partition begins."""

    writer: str
    """This worker's name in the partitions' records, for people: host and process."""
    start_from: StartFrom = "earliest"
    deadline_s: float = 8.0
    """Of one transaction, and of each step of taking a partition up; past it the outcome is unknown, which is a failure."""
    revision: int = 1
    """Of the questions file, at the start."""

    @property
    def transaction_timeout_s(self) -> float:
        """After which the broker aborts: later than the deadline, so that nobody commits what was given up."""
        return self.deadline_s + 2.0


@dataclass(frozen=True, slots=True)
class Group:
    """This worker as a member of its group."""

    consumer: AIOKafkaConsumer
    commits: Commits


@dataclass(frozen=True, slots=True)
class Cluster:
    """What all partitions of a worker have in common."""

    connection: KafkaConnection
    names: TopicNames
    source: str
    """CloudEvents source of our events: tells them from others' on the same topic."""
    config: DeliveryConfig
    retired: Retired
    undecided: set[TopicPartition] = field(default_factory=set)
    """Of state and alerts: what lies behind somebody's open transaction, and is waited for."""


class PartitionClient:
    """One assignment of one partition."""

    def __init__(self, tp: TopicPartition, group: Group, cluster: Cluster) -> None:
        """Take the group's consumer and the settings; nothing is reached yet."""
        self._tp = tp
        self._consumer = group.consumer
        self._commits = group.commits
        self._connection = cluster.connection
        self._names = cluster.names
        self._source = cluster.source.encode()
        self._config = cluster.config
        self._retired = cluster.retired
        self._undecided = cluster.undecided
        self._producer: AIOKafkaProducer | None = None

    async def prove(self, offset: int) -> None:
        """See `Port`."""
        await self._consumer.commit({self._tp: offset})

    async def group_offset(self) -> int | None:
        """See `Port`."""
        offset: int | None = await self._consumer.committed(self._tp)
        return offset

    async def clear(self) -> None:
        """See `Port`."""
        producer = self._new_producer(retry_backoff_ms=100)
        try:
            await producer.start()
        finally:
            self._retired.add(producer)

    async def init(self) -> None:
        """See `Port`."""
        self._producer = self._new_producer(retry_backoff_ms=int(self._config.deadline_s * 1000) + 1000)
        await self._producer.start()

    async def state_end(self) -> int:
        """See `Port`."""
        try:
            return await self._end(TopicPartition(self._names.state, self._tp.partition))
        except KafkaTimeoutError:  # what the client says of a partition that is not there, too, and would say for ever
            await self._look_for_state()
            raise

    async def state_records(self, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
        """See `Port`."""
        state = TopicPartition(self._names.state, self._tp.partition)
        async with committed_reader(self._connection, self._retired) as consumer:
            first = (await self._consumer.beginning_offsets([state]))[state]
            async for record in read(consumer, state, first, end, self._undecided):
                yield record.key, record.value

    async def log(self) -> Log:
        """See `Port`."""
        first = (await self._consumer.beginning_offsets([self._tp]))[self._tp]
        end = await self._end(self._tp)
        start_from = self._config.start_from
        if isinstance(start_from, float):
            found = (await self._consumer.offsets_for_times({self._tp: int(start_from * 1000)}))[self._tp]
            return Log(first, end, end if found is None else found.offset)
        return Log(first, end, first if start_from == "earliest" else end)

    async def found(self, offset: int) -> RecordMark | None:
        """See `Port`."""
        return await mark_at(self._connection, self._tp, offset)

    async def published(self, offset: int) -> Published:
        """See `Port`."""
        alerts = TopicPartition(self._names.alerts, self._tp.partition)
        end = await self._end(alerts)
        if offset >= end:
            return Published((), end)
        ids = []
        async with committed_reader(self._connection, self._retired) as consumer:
            async for record in read(consumer, alerts, offset, end, self._undecided):
                headers = dict(record.headers)
                if headers.get(SOURCE_HEADER) == self._source:
                    ids.append((headers.get(ID_HEADER) or b"").decode())
        return Published(tuple(ids), end)

    def seek(self, offset: int) -> None:
        """See `Port`."""
        self._consumer.seek(self._tp, offset)

    async def begin(self) -> None:
        """See `Port`."""
        await self._writer.begin_transaction()

    async def send_alerts(self, alerts: tuple[AlertRecord, ...]) -> int | None:
        """See `Port`."""
        sent = [
            await self._writer.send(self._names.alerts, value, key, partition=self._tp.partition, headers=headers)
            for key, value, headers in alerts
        ]
        # a commit succeeds although a send failed, if nobody awaited it
        written = await asyncio.gather(*sent)
        return max((each.offset for each in written), default=None)

    async def send_dead_letter(self, record: DeadLetterRecord) -> None:
        """See `Port`. As a batch of one: the only way to send neither key nor value."""
        batch = self._writer.create_batch()
        batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
        batch.close()
        await (await self._writer.send_batch(batch, self._names.dead_letters, partition=self._tp.partition))

    async def send_state(self, records: tuple[tuple[bytes, bytes | None], ...]) -> None:
        """See `Port`."""
        sent = [await self._writer.send(self._names.state, value, key, partition=self._tp.partition) for key, value in records]
        await asyncio.gather(*sent)

    async def commit(self) -> None:
        """See `Port`."""
        await self._writer.commit_transaction()

    def commit_group(self, offset: int) -> None:
        """See `Port`."""
        self._commits.offer(self._tp, offset)

    def discard(self) -> None:
        """See `Port`."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._retired.add(producer)

    @property
    def _writer(self) -> AIOKafkaProducer:
        assert self._producer is not None, f"{self._tp} has no writer"
        return self._producer

    async def _look_for_state(self) -> None:
        """Return if the state's partition is there; believe that it is not only if it is said twice."""
        try:
            await self._see_state()
        except TopicMissing:
            await asyncio.sleep(ASK_AGAIN_S)
            await self._see_state()

    async def _see_state(self) -> None:
        count, number = await partition_count(self._connection, self._names.state), self._tp.partition
        if number >= count:
            msg = (
                f"topic {self._names.state!r} at {self._connection.bootstrap_servers} has {count} partitions, and none for "
                f"partition {number} of {self._names.frames!r}: they must have the same number"
            )
            raise TopicMissing(msg)

    async def _end(self, tp: TopicPartition) -> int:
        """High watermark: the group's consumer reads uncommitted records, too."""
        end: int = (await self._consumer.end_offsets([tp]))[tp]
        return end

    def _new_producer(self, retry_backoff_ms: int) -> AIOKafkaProducer:
        return Writer(
            **self._connection.client_options(),
            # a fixed prefix, the group, the topic and the partition; never a version, a host or a setting
            transactional_id=f"pawsight.{self._names.group}.{self._tp.topic}.{self._tp.partition}",
            transaction_timeout_ms=int(self._config.transaction_timeout_s * 1000),
            request_timeout_ms=int(self._config.deadline_s * 1000),
            retry_backoff_ms=retry_backoff_ms,
            max_request_size=DEAD_LETTER_MAX_BYTES,
            max_batch_size=MAX_BATCH_BYTES,
        )


class Writer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka's base is untyped
    """A transactional producer that closes its connections however it ends."""

    def __init__(self, **options: Any) -> None:
        """Take aiokafka's options; nothing is reached yet."""
        super().__init__(**options)
        bootstrap_whole(self.client)

    async def stop(self) -> None:
        """Stop; aiokafka 0.14 leaves the client at work for ever where the request that its sender waits for fails."""
        try:
            await super().stop()
        except Exception:
            await self.client.close()
            raise
