"""The negative control: what was delivered before there was exactly-once. Acknowledged first, then committed, nothing remembered.

An event and a dead letter go to the partition number of their frame. After a crash between acknowledgement and commit the same
frames are read again and may give the same events again; a new owner begins with empty debouncers at the group's offset.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from stream.alerts import AlertContext, AlertRecord, binary
from stream.errors import DeliveryFailed
from stream.kafka.connection import KafkaConnection
from stream.kafka.dead_letters import DeadLetterRecord, dead_letter_record, reference
from stream.kafka.faults import NOT_ALLOWED, as_stream_error, reaching
from stream.kafka.partition_client import Group
from stream.kafka.taking_up import Opened
from stream.kafka.topology import DEAD_LETTER_MAX_BYTES, TopicNames, check_partitions
from stream.ports import Assigned, Tick
from stream.types import DeadLetter

REQUEST_TIMEOUT_MS = 10_000
DELIVER_TIMEOUT_S = 30.0
"""Of one tick; a broker that restarts answers again within it."""
STOP_TIMEOUT_S = 15.0

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(slots=True)
class _Keeping:
    """One partition: where its group offset says, and nothing else."""

    tp: TopicPartition
    group: Group
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    incarnation: int = 0

    async def open(self, incarnation: int) -> Opened:
        """Begin at the group's offset."""
        self.incarnation = incarnation
        self.closed.clear()
        offset = await self.group.consumer.committed(self.tp)
        if offset is None:
            offset = (await self.group.consumer.beginning_offsets([self.tp]))[self.tp]
        self.group.consumer.seek(self.tp, offset)
        return Opened(offset, Assigned(self.tp.topic, self.tp.partition, incarnation))

    def discard(self) -> None:
        """It is over."""
        self.closed.set()


class AtLeastOnceSink:
    """`stream.ports.Sink` over one idempotent producer, and its `Delivery`; `async with` starts and stops it."""

    def __init__(self, connection: KafkaConnection, names: TopicNames, context: AlertContext) -> None:
        """Take the settings; nothing is reached before `async with`."""
        self._connection = connection
        self._names = names
        self._context = context
        self._keepings: dict[int, _Keeping] = {}
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Reach the cluster.

        Raises:
            SourceLost: no broker answers.
            StreamRefused: not allowed, or the topics do not fit each other.
        """
        await check_partitions(self._connection, self._names)
        async with reaching(self._connection):
            await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, within a bound."""
        self._discard(self._producer)
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=STOP_TIMEOUT_S)

    async def check(self) -> None:
        """Its topics were checked at the start."""

    def keep(self, tp: TopicPartition, group: Group, void: Callable[[], None]) -> _Keeping:
        """Begin with a partition; nothing of it is ever taken up again."""
        del void
        self._keepings[tp.partition] = _Keeping(tp, group)
        return self._keepings[tp.partition]

    async def deliver(self, tick: Tick) -> bool:
        """Send events, then dead letters; when all are acknowledged, have the resume offset committed in the background.

        Raises:
            DeliveryFailed: something was not acknowledged; what was may be there all the same.
            StreamRefused: not allowed.
        """
        alerts = [binary(event, self._context) for event in tick.events]
        producer = self._producer
        try:
            async with asyncio.timeout(DELIVER_TIMEOUT_S):
                producer = await self._started()
                await self._send_alerts(producer, tick.partition, alerts)
                await self._send_letters(producer, tick.partition, tick.dead_letters)
        except (KafkaError, OSError, TimeoutError) as error:
            self._discard(producer)
            if isinstance(error, NOT_ALLOWED):
                raise as_stream_error(error, self._connection) from error
            what = f"{len(alerts)} events and {len(tick.dead_letters)} dead letters of {tick.topic}[{tick.partition}]"
            msg = f"{what} were not acknowledged by Kafka at {self._connection.bootstrap_servers}: {error!r}"
            raise DeliveryFailed(msg) from error
        keeping = self._keepings[tick.partition]
        if keeping.incarnation != tick.incarnation or keeping.closed.is_set():
            return False
        if tick.resume_offset is not None:
            keeping.group.commits.offer(keeping.tp, tick.resume_offset)
        if tick.final:
            keeping.discard()
        return True

    async def _send_alerts(self, producer: AIOKafkaProducer, partition: int, alerts: Sequence[AlertRecord]) -> None:
        acknowledged = []
        for key, value, headers in alerts:
            sent = await producer.send(self._names.alerts, value, key, partition=partition, headers=headers)
            sent.add_done_callback(_look)
            acknowledged.append(sent)
        await asyncio.gather(*acknowledged)

    async def _send_letters(self, producer: AIOKafkaProducer, partition: int, letters: Sequence[DeadLetter]) -> None:
        """One after the other: they are rare, and a refusal leaves a hole in the sequence of those behind it."""
        for letter in letters:
            try:
                await self._post(producer, partition, dead_letter_record(letter))
            except _TOO_LARGE:  # the topic takes less than it should
                self._discard(producer)
                producer = await self._started()
                await self._post(producer, partition, reference(letter))

    async def _post(self, producer: AIOKafkaProducer, partition: int, record: DeadLetterRecord) -> None:
        """Send a batch of one, the only way to send neither key nor value."""
        batch = producer.create_batch()
        batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
        batch.close()
        await (await producer.send_batch(batch, self._names.dead_letters, partition=partition))

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection.client_options(),
                    enable_idempotence=True,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    max_request_size=DEAD_LETTER_MAX_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._stop_later(producer)
                    raise
                self._producer = producer
            return self._producer

    def _discard(self, producer: AIOKafkaProducer | None) -> None:
        """Never use a producer again after a failure; stop it behind our back, because that may wait for the broker."""
        if producer is not None and producer is self._producer:
            self._producer = None
            self._stop_later(producer)

    def _stop_later(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(producer.stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)


def _look(sent: asyncio.Future[object]) -> None:
    """Take note of a failure that nobody awaits any more, because another one came first."""
    if not sent.cancelled():
        sent.exception()
