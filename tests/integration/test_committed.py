"""Reading committed records of a compacted topic: all of them, also where the cleaner left what the client cannot read."""

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.record.util import calc_crc32c

from stream.kafka.committed import EMPTY_CONTROL_BATCH, committed_reader, read
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames, create_topics
from tests.integration.restart_world import Group
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

WRITERS = ("one", "two", "three")
EACH = 5


async def test_batches_that_the_cleaner_left_empty_are_passed(broker: FoundBroker, names: TopicNames) -> None:
    """Abort markers without a record, at which the client raises for ever: every committed record before and after is found."""
    assert broker.own is not None
    await create_topics(broker.connection, names, partitions=1)
    for writer in WRITERS:
        async with Group(broker, names).writer(f"{writer} of {names.state}") as producer:
            await _transact(producer, names.state, writer)
    await _clean([broker.own.folder / "data" / f"{names.state}-0" / f"{0:020}.log"])
    place, retired = TopicPartition(names.state, 0), Retired()
    async with committed_reader(broker.connection, retired) as consumer:
        end = (await consumer.end_offsets([place]))[place]
        found = [each.key.decode() async for each in read(consumer, place, 0, end)]
        with pytest.raises(KafkaError, match=EMPTY_CONTROL_BATCH):  # a client alone does not come past them
            await _read_plainly(consumer, place)
    await retired.gone(10.0)
    assert found == [f"{writer} {number}" for writer in WRITERS for number in range(EACH)]


async def test_reading_ends_at_the_end_that_was_asked_for(broker: FoundBroker, names: TopicNames) -> None:
    """What is written behind it, a trailing marker, and an empty partition change nothing."""
    await create_topics(broker.connection, names, partitions=1)
    place, retired = TopicPartition(names.state, 0), Retired()
    async with committed_reader(broker.connection, retired) as consumer:
        assert [each async for each in read(consumer, place, 0, 0)] == []
        async with Group(broker, names).writer(f"writer of {names.state}") as producer:
            await _transact(producer, names.state, "one")
        found = [each.offset async for each in read(consumer, place, 2, 7)]
        assert found == [2, 4, 6]  # a marker after each
    await retired.gone(10.0)


async def _transact(producer: AIOKafkaProducer, topic: str, name: str) -> None:
    """Commit some records, then abort one."""
    for number in range(EACH):
        async with producer.transaction():
            await producer.send_and_wait(topic, b"v", f"{name} {number}".encode(), partition=0)
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"v", b"aborted", partition=0)
    await producer.abort_transaction()


async def _read_plainly(consumer: AIOKafkaConsumer, place: TopicPartition) -> None:
    consumer.seek(place, 0)
    async with asyncio.timeout(10):
        while True:
            await consumer.getmany(place, timeout_ms=200)


async def _clean(segments: list[Path]) -> None:
    """Leave every abort marker as the cleaner leaves the last batch of a producer: a head without a record."""
    emptied = 0
    async with asyncio.timeout(10):
        while emptied < len(WRITERS):  # a marker comes after its transaction was answered
            await asyncio.sleep(0.05)
            emptied += sum(_empty_markers(path) for path in segments)


# Record batch v2 (Kafka protocol guide, "Record Batch"): where what is changed here stands in it
_LENGTH_AT, _CRC_AT, _ATTRIBUTES_AT, _COUNT_AT, _RECORD_AT = 8, 17, 21, 57, 61
_CONTROL = 0x20
_MARKER_BYTES = 17
"""Size of a marker's only record."""
_ABORTED = len("aborted")


def _empty_markers(path: Path) -> int:
    """Move the bytes of every abort marker's record into the aborted record before it, so that no other batch moves."""
    raw = path.read_bytes()
    emptied, before = 0, (0, 0)
    for begin, end in _batches(raw):
        is_control = struct.unpack_from(">h", raw, begin + _ATTRIBUTES_AT)[0] & _CONTROL
        if is_control and end - begin > _RECORD_AT and struct.unpack_from(">h", raw, begin + _RECORD_AT + 7)[0] == 0:
            changed = _lengthened(raw[before[0] : before[1]]) + _emptied(raw[begin:end])
            with path.open("r+b") as log:
                log.seek(before[0])
                log.write(changed)
            emptied += 1
        before = (begin, end)
    return emptied


def _batches(raw: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at + _RECORD_AT <= len(raw):
        length = struct.unpack_from(">i", raw, at + _LENGTH_AT)[0]
        yield at, at + 12 + length
        at += 12 + length


def _lengthened(batch: bytes) -> bytes:
    """A batch of one record with so many bytes more in its value; all lengths stay zigzag varints of one byte."""
    value_at = _RECORD_AT + 5 + _ABORTED
    head, record, tail = batch[:_RECORD_AT], bytearray(batch[_RECORD_AT : value_at + 1]), batch[value_at + 1 :]
    record[0] += 2 * _MARKER_BYTES
    record[-1] += 2 * _MARKER_BYTES
    return _sealed(head + bytes(record) + b"." * _MARKER_BYTES + tail)


def _emptied(batch: bytes) -> bytes:
    head = bytearray(batch[:_RECORD_AT])
    struct.pack_into(">i", head, _COUNT_AT, 0)
    return _sealed(bytes(head))


def _sealed(batch: bytes) -> bytes:
    """The batch with the length and the checksum that it has now."""
    sealed = bytearray(batch)
    struct.pack_into(">i", sealed, _LENGTH_AT, len(batch) - 12)
    struct.pack_into(">I", sealed, _CRC_AT, calc_crc32c(bytes(sealed[_ATTRIBUTES_AT:])))
    return bytes(sealed)
