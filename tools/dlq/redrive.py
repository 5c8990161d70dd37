"""Publishes dead letters again, as the records that they were."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from aiokafka import AIOKafkaProducer, ConsumerRecord

from stream.kafka.connection import KafkaConnection
from stream.kafka.dead_letters import DeadLetterRecord
from stream.kafka.faults import reaching
from stream.kafka.topology import FRAME_MAX_BYTES, partition_count
from stream.wire import DEAD_LETTER_PREFIX, REDRIVEN_HEADER
from tools.dlq.letters import Letter, records_of

IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""Sent and not yet acknowledged."""
_TIMESTAMP = DEAD_LETTER_PREFIX + "timestamp"


class Obstacle(StrEnum):
    """Why a dead letter cannot be published again."""

    NO_VALUE = "no value"
    """It is a reference to a record that was too large, or the record had none."""
    OTHER_TOPIC = "of another topic"
    NO_PARTITION = "partition is gone"
    TOO_LARGE = "too large with the header of its own"


@dataclass(slots=True)
class Redrive:
    """What is to be published, and what became of it."""

    letters: list[Letter] = field(default_factory=list)
    """Oldest first."""
    again: int = 0
    """Not to be published: it was redriven, failed again, and is here as that later letter."""
    left: dict[Obstacle, int] = field(default_factory=dict)
    """How many cannot be published, and why."""
    published: int = 0
    """Acknowledged by the brokers."""

    def leave(self, obstacle: Obstacle) -> None:
        """Count one that cannot be published."""
        self.left[obstacle] = self.left.get(obstacle, 0) + 1


def plan(chosen: Sequence[Letter], all_letters: Sequence[Letter], topic: str, partitions: int) -> Redrive:
    """Say which of the chosen dead letters can be published again.

    Args:
        chosen: what is wanted, oldest first.
        all_letters: everything that was found: tells what failed again.
        topic: where they are to go.
        partitions: how many it has.
    """
    redrive = Redrive()
    came_back = {letter.redriven for letter in all_letters}
    for letter in chosen:
        if str(letter.at) in came_back:
            redrive.again += 1
        elif letter.origin.topic != topic:
            redrive.leave(Obstacle.OTHER_TOPIC)
        elif letter.origin.partition >= partitions:
            redrive.leave(Obstacle.NO_PARTITION)
        elif not letter.has_value:
            redrive.leave(Obstacle.NO_VALUE)
        else:
            redrive.letters.append(letter)
    return redrive


async def planned(connection: KafkaConnection, topic: str, chosen: Sequence[Letter], all_letters: Sequence[Letter]) -> Redrive:
    """Look at the frames topic and `plan`.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed, or there is no such topic.
    """
    return plan(chosen, all_letters, topic, await partition_count(connection, topic))


async def publish(connection: KafkaConnection, redrive: Redrive, on_published: Callable[[int], None]) -> None:
    """Publish what was planned, each on its own partition, in order.

    Args:
        connection: the cluster.
        redrive: the plan; counts what the brokers have.
        on_published: told how many more they have.

    Raises:
        SourceLost: no broker answers; what was acknowledged is counted.
        StreamRefused: not allowed.
    """
    async with _producer(connection) as producer, reaching(connection):
        waiting: list[asyncio.Future[object]] = []
        size_bytes = 0

        async def settle() -> None:
            nonlocal size_bytes
            for sent in waiting:
                await sent
                redrive.published += 1
            on_published(len(waiting))
            waiting.clear()
            size_bytes = 0

        async for letter, record in records_of(connection, redrive.letters):
            again = original(letter, record)
            if again.size_bytes > FRAME_MAX_BYTES:
                redrive.leave(Obstacle.TOO_LARGE)
                continue
            waiting.append(
                await producer.send(
                    letter.origin.topic,
                    again.value,
                    again.key,
                    partition=letter.origin.partition,
                    timestamp_ms=timestamp_ms(record),
                    headers=list(again.headers),
                )
            )
            size_bytes += again.size_bytes
            if size_bytes > IN_FLIGHT_BYTES:
                await settle()
        await settle()


def original(letter: Letter, record: ConsumerRecord) -> DeadLetterRecord:
    """Give the record as it was, and the mark that it is published again."""
    own = tuple(
        (name, value) for name, value in record.headers if not name.startswith(DEAD_LETTER_PREFIX) and name != REDRIVEN_HEADER
    )
    return DeadLetterRecord(record.key, record.value, (*own, (REDRIVEN_HEADER, str(letter.at).encode())))


def timestamp_ms(record: ConsumerRecord) -> int | None:
    """Give the record's first timestamp if that was its capture time; None, which is now, if `ce_time` tells that."""
    headers = dict(record.headers)
    said = headers.get(_TIMESTAMP)
    if headers.get("ce_time") or not (said or b"").isdigit():
        return None
    return int(said or b"")


@asynccontextmanager
async def _producer(connection: KafkaConnection) -> AsyncIterator[AIOKafkaProducer]:
    async with reaching(connection):
        producer = AIOKafkaProducer(
            **connection.client_options(), enable_idempotence=True, compression_type=None, max_request_size=FRAME_MAX_BYTES
        )
    try:
        async with reaching(connection):
            await producer.start()
        yield producer
    finally:
        await producer.stop()
