"""Reading committed records of a compacted topic: all of them, also where the cleaner left what the client cannot read.

And an end to it where the client gives nothing any more, but for an open transaction.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.record.util import calc_crc32c

from stream.kafka.committed import EMPTY_CONTROL_BATCH, CommittedConsumer, committed_reader, read
from stream.kafka.connection import KafkaConnection
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames, create_topics
from tests.integration.error_table import Code
from tests.integration.kafka_world import publish
from tests.integration.mock_cluster import MockCluster, mock_clusters
from tests.integration.restart_world import Group
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

WRITERS = ("one", "two", "three")
EACH = 5
FETCH, LIST_OFFSETS = 1, 2
"""Their numbers among the requests (Kafka protocol guide, "API Keys")."""
BOUND_S = 2.0
"""How long a reader may stand still here."""
STATE = TopicPartition("state", 0)


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockCluster]:
    """A cluster with a topic, on which a reader may stand still for a short time only."""
    monkeypatch.setattr("stream.kafka.committed.STANDSTILL_S", BOUND_S)
    with mock_clusters(1) as (cluster,):
        cluster.create_topic(STATE.topic)
        yield cluster


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


async def test_reading_waits_for_an_open_transaction_without_a_bound(
    broker: FoundBroker, names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say what is committed behind it, however long it takes; a reader that hears nothing more of it has no excuse."""
    monkeypatch.setattr("stream.kafka.committed.STANDSTILL_S", BOUND_S)
    await create_topics(broker.connection, names, partitions=1)
    place, group = TopicPartition(names.state, 0), Group(broker, names)
    async with group.writer("one") as one, group.writer("two") as two:
        await one.begin_transaction()
        await one.send_and_wait(names.state, b"v", b"aborted", partition=0)
        async with two.transaction():
            await two.send_and_wait(names.state, b"v", b"behind", partition=0)
        async with _reader(broker.connection) as consumer:
            reading = asyncio.create_task(_keys(consumer, place, end=3))
            await asyncio.sleep(2 * BOUND_S)
            assert not reading.done()
            consumer.pause(place)  # as one whose fetching has ended
            with pytest.raises(KafkaTimeoutError, match="came no further than 0"):
                await asyncio.wait_for(reading, 5 * BOUND_S)
        async with _reader(broker.connection) as consumer:
            await one.abort_transaction()
            assert await _keys(consumer, place, end=3) == [b"behind"]


async def test_reader_to_which_the_broker_gives_nothing_ends(mock: MockCluster) -> None:
    """Its disk is broken, say: the client only logs that, and would go on asking for ever."""
    connection = KafkaConnection(mock.bootstrap_servers)
    await publish(connection, STATE.topic, [b"0", b"1"])
    async with _reader(connection) as consumer:
        for _ in range(100):
            mock.answer_late(FETCH, Code.KAFKA_STORAGE_ERROR, after_ms=50)
        with pytest.raises(KafkaTimeoutError, match="came no further than 0"):
            await asyncio.wait_for(_keys(consumer, STATE, end=2), 5 * BOUND_S)


async def test_reader_that_finds_no_place_ends(mock: MockCluster) -> None:
    """What it was to read is gone, and where the log begins is not answered: the client would ask for ever."""
    async with _reader(KafkaConnection(mock.bootstrap_servers)) as consumer:
        mock.answer(LIST_OFFSETS, [Code.UNKNOWN_SERVER_ERROR] * 100)
        with pytest.raises(KafkaTimeoutError, match="lost its place"):
            await asyncio.wait_for(_keys(consumer, STATE, end=2, start=1), 5 * BOUND_S)


async def test_reading_ends_where_the_log_is_shorter_than_it_was(mock: MockCluster) -> None:
    """Truncated by an unclean election: what lay there does not come, and no transaction is why."""
    connection = KafkaConnection(mock.bootstrap_servers)
    await publish(connection, STATE.topic, [b"0", b"1"])
    async with _reader(connection) as consumer:
        with pytest.raises(KafkaTimeoutError, match="came no further than 2"):
            await asyncio.wait_for(_keys(consumer, STATE, end=5), 5 * BOUND_S)


async def test_whoever_takes_the_records_may_take_long(mock: MockCluster) -> None:
    """The reader has no part in that."""
    connection = KafkaConnection(mock.bootstrap_servers)
    await publish(connection, STATE.topic, [b"0"])
    await publish(connection, STATE.topic, [b"1"])
    async with _reader(connection) as consumer:
        reading = read(consumer, STATE, 0, 2)
        assert (await anext(reading)).value == b"0"
        await asyncio.sleep(1.5 * BOUND_S)
        assert [each.value async for each in reading] == [b"1"]


@asynccontextmanager
async def _reader(connection: KafkaConnection) -> AsyncIterator[CommittedConsumer]:
    retired = Retired()
    async with committed_reader(connection, retired) as consumer:
        yield consumer
    await retired.gone(10.0)


async def _keys(consumer: CommittedConsumer, place: TopicPartition, end: int, start: int = 0) -> list[bytes | None]:
    return [each.key async for each in read(consumer, place, start, end)]


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
