"""Watches from outside what workers commit: a read_committed reader of their partition records and alerts, and when it saw them.

A partition's record says up to which offset everything is done, in the same transaction as the alerts that follow from it. When
the reader sees it, that transaction is committed: no flag in the worker is needed, and what is measured is what a subscriber
would see. It is seen late by the broker's and the reader's own time (`FETCH_WAIT_MS`), and never early.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream.clock import whole_microseconds
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.topology import TopicNames
from stream.state_codec import PARTITION_KEY, decode_partition
from stream.timestamps import from_rfc3339
from tools.stress.kafka.cameras import Books, Steady, stop
from tools.stress.kafka.pictures import Album

FETCH_WAIT_MS = 100
"""How long a broker waits for news before it answers with none. A commit wakes it all the same: measured on two cores under a
load of 20, with waits of 20, 100 and 500, half of the commits are seen within 2 ms of the committer's return, 90 % within 35."""
_FETCH_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Seen:
    """What was committed, as far as it was seen."""

    commits: list[list[tuple[float, int]]]
    """By partition: when (by `Observer.clock`), and the resume offset; both ascending."""
    writers: dict[int, str] = field(default_factory=dict)
    """Who wrote a partition's last record."""
    alerts: int = 0
    """Alerts whose score could be compared."""
    foreign: int = 0
    """Those whose score is not their picture's, or that are of no picture at all."""
    dead_letters: int = 0

    def resume_offset(self, partition: int) -> int:
        """Everything of the partition below it is done; 0 while nothing was seen."""
        return self.commits[partition][-1][1] if self.commits[partition] else 0

    @property
    def committed(self) -> int:
        """Records that are done, over all partitions."""
        return sum(map(self.resume_offset, range(len(self.commits))))


class Observer:
    """One reader over all partitions of state, alerts and dead letters."""

    def __init__(self, consumer: AIOKafkaConsumer, names: TopicNames, books: Books, album: Album) -> None:
        """Take a started consumer that is at the beginning of the topics."""
        self.clock = Steady()
        self.seen = Seen([[] for _ in books.partitions])
        self._consumer = consumer
        self._names = names
        self._books = books
        self._album = album
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            KafkaError: the brokers do not answer.
        """
        while True:
            taken = await self._consumer.getmany(timeout_ms=1000)
            now_s = self.clock.now_s()
            for messages in taken.values():
                for message in messages:
                    self._take(message, now_s)
            if taken:
                self._moved.set()

    async def until(self, is_so: Callable[[Seen], bool], timeout_s: float) -> bool:
        """Wait until something is seen to be so; False: it did not come in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so(self.seen):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return is_so(self.seen)
        return True

    def _take(self, message: ConsumerRecord, now_s: float) -> None:
        if message.topic == self._names.alerts:
            self._compare(message)
        elif message.topic == self._names.dead_letters:
            self.seen.dead_letters += 1
        elif message.key == PARTITION_KEY and message.value is not None:
            record = decode_partition(message.value)
            self.seen.writers[message.partition] = record.writer
            self.seen.commits[message.partition].append((now_s, record.resume_offset))

    def _compare(self, message: ConsumerRecord) -> None:
        """Hold an alert to the picture that decided it; what no picture decided (a lost stream) says nothing."""
        data = json.loads(message.value or b"{}")
        score = data.get("score")
        if score is None:
            return
        self.seen.alerts += 1
        at_us = whole_microseconds(from_rfc3339(data["at"]))
        picture = self._books.pictures.get((data["camera"], at_us))
        if picture is None or self._album.is_foreign(picture, data["behavior"], score):
            self.seen.foreign += 1


@asynccontextmanager
async def observing(connection: KafkaConnection, names: TopicNames, books: Books, album: Album) -> AsyncIterator[Observer]:
    """Start a reader at the beginning of the group's topics.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed.
    """
    async with reaching(connection):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
    try:
        async with reaching(connection):
            await consumer.start()
            topics, numbers = (names.state, names.alerts, names.dead_letters), range(len(books.partitions))
            consumer.assign([TopicPartition(topic, number) for topic in topics for number in numbers])
            for place in consumer.assignment():
                consumer.seek(place, 0)  # new topics begin there, and to ask is too early for some of them
        yield Observer(consumer, names, books, album)
    finally:
        await stop(consumer)
