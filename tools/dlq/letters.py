"""Reads the dead-letter topic, up to what is decided when the reading begins."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from stream.kafka.committed import CommittedConsumer, committed_reader, read
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.retired import Retired
from stream.kafka.topology import partition_count
from stream.timestamps import to_rfc3339
from stream.wire import DEAD_LETTER_PREFIX, REDRIVEN_HEADER

STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, order=True)
class At:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its payload."""

    at: At
    """Where it lies itself."""
    written_ms: int
    """When it was, milliseconds since the epoch."""
    origin: At
    """Where the record lay that could not be used."""
    key: bytes | None
    stage: str
    reason: str
    message: str
    value_bytes: int
    """Of the record."""
    has_value: bool
    """Whether the value is here: a reference stands for one that was too large, and some records never had any."""
    redriven: str | None
    """If the record was redriven before: where the dead letter lay that it was then."""

    @property
    def camera(self) -> str | None:
        """The key as text."""
        return None if self.key is None else self.key.decode(errors="backslashreplace")

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "topic": self.origin.topic,
            "partition": self.origin.partition,
            "offset": self.origin.offset,
            "camera": self.camera,
            "stage": self.stage,
            "reason": self.reason,
            "message": self.message,
            "value_bytes": self.value_bytes,
            "has_value": self.has_value,
            "redriven": self.redriven,
            "dead_letter": {"topic": self.at.topic, "partition": self.at.partition, "offset": self.at.offset},
            "written_at": to_rfc3339(self.written_ms / 1000),
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; what is empty or None does not matter."""

    reasons: frozenset[str] = frozenset()
    cameras: frozenset[str] = frozenset()
    since_s: float | None = None
    """Written then or later, seconds since the epoch."""
    newest: int | None = None
    """At most so many of those, the newest."""

    def of(self, letters: Sequence[Letter]) -> list[Letter]:
        """Choose, oldest first."""
        chosen = [
            letter
            for letter in letters
            if (not self.reasons or letter.reason in self.reasons)
            and (not self.cameras or letter.camera in self.cameras)
            and (self.since_s is None or letter.written_ms >= self.since_s * 1000)
        ]
        chosen.sort(key=lambda letter: (letter.written_ms, letter.at))
        return chosen if self.newest is None else chosen[len(chosen) - min(self.newest, len(chosen)) :]


@dataclass(slots=True)
class Found:
    """What lies on a dead-letter topic."""

    letters: list[Letter] = field(default_factory=list)
    foreign: int = 0
    """Records that are no dead letters of ours."""


def letter_of(record: ConsumerRecord) -> Letter | None:
    """Read a record of the dead-letter topic; None if it is no dead letter."""
    headers = dict(record.headers)  # of repeated headers the last counts: ours are behind the record's own

    def said(name: str) -> str:
        return (headers[DEAD_LETTER_PREFIX + name] or b"").decode()

    try:
        is_reference = DEAD_LETTER_PREFIX + "value.sha256" in headers
        redriven = headers.get(REDRIVEN_HEADER)
        return Letter(
            at=At(record.topic, record.partition, record.offset),
            written_ms=record.timestamp,
            origin=At(said("topic"), int(said("partition")), int(said("offset"))),
            key=record.key,
            stage=said("stage"),
            reason=said("class.name"),
            message=said("message"),
            value_bytes=int(said("value.bytes")) if is_reference else len(record.value or b""),
            has_value=bool(record.value),
            redriven=None if redriven is None else redriven.decode(errors="backslashreplace"),
        )
    except (KeyError, ValueError):
        return None


async def find_letters(connection: KafkaConnection, topic: str, on_partition: Callable[[int, int], None]) -> Found:
    """Read a dead-letter topic to its end.

    Args:
        connection: the cluster.
        topic: the dead-letter topic.
        on_partition: told how many partitions are read, of how many that hold anything.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed, or there is no such topic.
    """
    found = Found()
    count = await partition_count(connection, topic)
    async with reading(connection) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        # aiokafka 0.14 cannot be stopped right after an assignment of which nothing was read, so the empty ones are left out
        filled = [tp for tp in partitions if begins[tp] < ends[tp]]
        for number, tp in enumerate(filled):
            async for record in read(consumer, tp, begins[tp], ends[tp]):
                letter = letter_of(record)
                if letter is None:
                    found.foreign += 1
                else:
                    found.letters.append(letter)
            on_partition(number + 1, len(filled))
    return found


async def records_of(connection: KafkaConnection, letters: Sequence[Letter]) -> AsyncIterator[tuple[Letter, ConsumerRecord]]:
    """Read dead letters whole, one partition after the other, in their order.

    Raises:
        SourceLost: no broker answers.
    """
    by_partition: dict[TopicPartition, dict[int, Letter]] = {}
    for letter in letters:
        by_partition.setdefault(TopicPartition(letter.at.topic, letter.at.partition), {})[letter.at.offset] = letter
    async with reading(connection) as consumer:
        for tp, wanted in by_partition.items():
            async for record in read(consumer, tp, min(wanted), max(wanted) + 1):
                if record.offset in wanted:
                    yield wanted[record.offset], record


@asynccontextmanager
async def reading(connection: KafkaConnection) -> AsyncIterator[CommittedConsumer]:
    """Open a reader of committed records.

    Raises:
        SourceLost: no broker answers, or reading failed.
        StreamRefused: not allowed.
    """
    retired = Retired()
    try:
        async with reaching(connection), committed_reader(connection, retired) as consumer:
            yield consumer
    finally:
        await retired.gone(STOP_TIMEOUT_S)
