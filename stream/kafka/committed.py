"""Reads committed records of one partition, up to a given end, and passes what the client stumbles over.

The cleaner of a compacted topic leaves control batches without a record, at which aiokafka's read_committed raises for ever; they
are passed batch by batch. Where exactly that is comes out one record at a time: a larger read loses the records before it.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

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


async def read(consumer: CommittedConsumer, tp: TopicPartition, start: int, end: int) -> AsyncIterator[ConsumerRecord]:
    """Give every committed record from `start` up to `end`; waits until all transactions below `end` are over."""
    consumer.assign([tp])
    consumer.seek(tp, start)
    expected, most, moved_s = start, BATCH, time.monotonic()
    while start < end and await consumer.position(tp) < end:
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
        if not taken and time.monotonic() - moved_s > SAY_EVERY_S:
            moved_s = time.monotonic()
            log.warning("%s is decided up to %d, and ends at %d: waiting for an open transaction on it", tp, expected, end)
        for records in taken.values():
            for record in records:
                moved_s = time.monotonic()
                expected = record.offset + 1
                if record.offset < end:
                    yield record
