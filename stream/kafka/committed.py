"""Reads committed records of one partition, up to a given end, and passes what the client stumbles over.

The cleaner of a compacted topic leaves control batches without a record, at which aiokafka's read_committed raises for ever; they
are passed batch by batch. Where exactly that is comes out one record at a time: a larger read loses the records before it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from stream.kafka.connection import KafkaConnection
from stream.kafka.retired import Retired, bootstrap_whole
from stream.kafka.salvage import salvage

log = logging.getLogger(__name__)

EMPTY_CONTROL_BATCH = "Control batch did not contain any records"
"""aiokafka 0.14's words for it; it has no class of its own."""
BATCH = 1_000
"""Records of one read."""
SAY_EVERY_S = 10.0
"""A transaction that holds readers up for so long is told of."""
STANDSTILL_S = 60.0
"""A reader that comes no further for so long, and no open transaction is why, never will. Longer than a request may take."""
FETCH_WAIT_MS = 100
"""Longest wait of the broker for news: the last batch of what is read may be a marker, which wakes nobody."""


class CommittedConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka's base is untyped
    """Without a group; sees committed records only."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Take the cluster; nothing is reached yet."""
        self.connection = connection
        super().__init__(
            **connection.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        bootstrap_whole(self._client)


@asynccontextmanager
async def committed_reader(connection: KafkaConnection, retired: Retired) -> AsyncIterator[CommittedConsumer]:
    """Start a consumer that sees committed records only; it is stopped behind our back."""
    consumer = CommittedConsumer(connection)
    try:
        await consumer.start()
        yield consumer
    finally:
        retired.add(consumer)


class _Watch:
    """Tells a reader that an open transaction holds up, for as long as that takes, from one that is locked up.

    aiokafka 0.14 only logs most errors that a broker answers a fetch with, and its fetching may end unseen: either way a read
    gives nothing for ever.
    """

    def __init__(self, consumer: CommittedConsumer, tp: TopicPartition, end: int, undecided: set[TopicPartition]) -> None:
        self.tp = tp
        self.end = end
        self._consumer = consumer
        self._undecided = undecided
        self._is_held_up = False
        """A transaction is open, as the broker said last."""
        self._position = -1
        self._answered_ms: int | None = None
        self._moved_s = self._told_s = time.monotonic()

    async def position(self) -> int:
        """Give where the reader stands.

        Raises:
            KafkaTimeoutError: it is locked up.
        """
        try:
            async with asyncio.timeout(STANDSTILL_S):  # one that lost its place looks for it without a bound
                position: int = await self._consumer.position(self.tp)
        except TimeoutError:
            msg = f"the reader of {self.tp} lost its place, and found none for {STANDSTILL_S:g} s"
            raise KafkaTimeoutError(msg) from None
        is_answered = self._hear()
        if position != self._position or (is_answered and self._is_held_up):
            self._position, self._moved_s = position, time.monotonic()
        elif time.monotonic() - self._moved_s > STANDSTILL_S:
            msg = f"the reader of {self.tp} came no further than {position} for {STANDSTILL_S:g} s, and heard of no transaction"
            raise KafkaTimeoutError(msg)
        return position

    def came(self) -> None:
        """Something came, or nobody waits any more."""
        self._told_s = time.monotonic()
        self._undecided.discard(self.tp)

    def came_nothing(self) -> None:
        """Where a transaction is why: a figure says so at once, the log after a while."""
        if not self._is_held_up:
            return
        self._undecided.add(self.tp)
        if time.monotonic() - self._told_s > SAY_EVERY_S:
            self._told_s = time.monotonic()
            said = "%s is decided up to %d, and ends at %d: waiting for an open transaction on it"
            log.warning(said, self.tp, self._position, self.end)

    def _hear(self) -> bool:
        """Say whether the broker has answered anew: an old answer says nothing of the transactions that are open now.

        That the reader stands below the stable offset proves nothing: what lies between may have been cleaned away.
        """
        before_ms, self._answered_ms = self._answered_ms, self._consumer.last_poll_timestamp(self.tp)
        stable, highwater = self._consumer.last_stable_offset(self.tp), self._consumer.highwater(self.tp)
        self._is_held_up = stable is not None and highwater is not None and stable < highwater
        return self._answered_ms != before_ms


async def read(
    consumer: CommittedConsumer, tp: TopicPartition, start: int, end: int, undecided: set[TopicPartition] | None = None
) -> AsyncIterator[ConsumerRecord]:
    """Give every committed record from `start` up to `end`; waits until all transactions below `end` are over.

    Args:
        consumer: a started one.
        tp: the partition.
        start: first offset.
        end: offset after the last record.
        undecided: holds `tp` while it waits for an open transaction.

    Raises:
        KafkaError: reading failed, or came no further although no transaction was open.
    """
    watch = _Watch(consumer, tp, end, set() if undecided is None else undecided)
    try:
        async for record in _read(consumer, start, watch):
            yield record
    finally:
        watch.came()


async def _read(consumer: CommittedConsumer, start: int, watch: _Watch) -> AsyncIterator[ConsumerRecord]:
    tp, end = watch.tp, watch.end
    consumer.assign([tp])
    consumer.seek(tp, start)
    expected, most = start, BATCH
    while start < end and await watch.position() < end:
        try:
            taken = await consumer.getmany(tp, timeout_ms=FETCH_WAIT_MS, max_records=most)
        except KafkaError as error:
            if EMPTY_CONTROL_BATCH not in str(error):
                raise
            if most == 1:  # nothing committed lies before it: over the next batch, its offsets may be far apart
                expected = (await salvage(consumer.connection, tp, expected)).next_offset
            consumer.seek(tp, expected)  # a batch that raises loses what lies before: one by one up to the place
            most = BATCH if most == 1 else 1
            continue
        if not taken:
            watch.came_nothing()
        for records in taken.values():
            for record in records:
                watch.came()
                expected = record.offset + 1
                if record.offset < end:
                    yield record
