"""Reads the record batch that aiokafka cannot: one record with a header key that is no UTF-8 text blocks its partition for ever.

Kafka accepts any bytes as header key, aiokafka raises on them at every read. Here the batch is fetched as bytes and read
leniently, so that only the records at fault are dead-lettered and their neighbours in the batch go on. What even that cannot
read (a wrong checksum, garbage) becomes a stub that has no content but its place.
"""

import struct
from dataclasses import dataclass, replace

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NoError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record import MemoryRecords

from stream.kafka.connection import KafkaConnection
from stream.kafka.retired import bootstrap_whole
from stream.state_records import RecordMark, mark_of
from stream.wire import Fault

BAD_BATCH = "unreadable_batch"

_BATCH = struct.Struct(">qiibIhiqqqhii")
"""Record batch v2 (Kafka protocol guide, "Record Batch"): base offset, length, leader epoch, magic, crc, attributes,
last offset delta, base and maximal timestamp, producer id, epoch and sequence, number of records."""
_MAGIC = 2
_COMPRESSED = 0x07
_LOG_APPEND_TIME = 0x08
_CONTROL = 0x20
_READ_BYTES = 1024 * 1024
"""Asked of the broker; one batch that is larger comes whole all the same."""


@dataclass(frozen=True, slots=True)
class SavedRecord:
    """A record as it lies in the batch."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    """Bytes of a key that are no UTF-8 are written as `\\xff`."""
    fault: str | None = None
    """Why it cannot be used; None: nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """What could be read at an offset."""

    records: tuple[SavedRecord, ...]
    """In offset order, none below the offset asked for."""
    next_offset: int
    """Where reading goes on."""

    @property
    def is_healthy(self) -> bool:
        """Nothing here explains why a client failed."""
        return bool(self.records) and all(record.fault is None for record in self.records)


async def salvage(connection: KafkaConnection, partition: TopicPartition, offset: int) -> Salvage:
    """Fetch the batch that holds `offset` and read what can be read of it.

    Raises:
        OffsetOutOfRangeError: the log does not hold it (any more).
        KafkaError: the broker did not give it; worth another try.
    """
    raw = await _fetch(connection, partition, offset)
    try:
        return read_batch(raw, offset)
    except (ValueError, IndexError, struct.error, KafkaError):  # aiokafka has an error of its own for a batch cut short
        stub = SavedRecord(offset, timestamp_ms=0, key=None, value=None, headers=(), fault=BAD_BATCH)
        return Salvage((stub,), offset + 1)


async def mark_at(connection: KafkaConnection, partition: TopicPartition, offset: int) -> RecordMark | None:
    """Give the mark of the record at `offset`; None if there is none.

    Raises:
        KafkaError: the broker did not give it; worth another try.
    """
    for record in (await salvage(connection, partition, offset)).records:
        if record.offset == offset:
            return mark_of(record.offset, record.timestamp_ms, record.key, record.value)
    return None


def read_batch(raw: bytes, offset: int) -> Salvage:
    """Read the first batch of `raw` from `offset` on.

    Raises:
        ValueError, IndexError, struct.error: it is compressed, does not match its checksum, or is no batch.
    """
    base, length, _, magic, _, attributes, last_delta, base_ms, max_ms, _, _, _, count = _BATCH.unpack_from(raw)
    end = 12 + length
    if magic != _MAGIC or attributes & _COMPRESSED or end > len(raw) or not MemoryRecords(raw[:end]).next_batch().validate_crc():
        msg = f"no readable record batch at offset {offset}"
        raise ValueError(msg)
    if attributes & _CONTROL:
        return Salvage((), base + last_delta + 1)
    records = []
    at = _BATCH.size
    for _ in range(count):
        record, at = _read_record(raw, at, base, base_ms)
        if attributes & _LOG_APPEND_TIME:
            record = replace(record, timestamp_ms=max_ms)
        if record.offset >= offset:
            records.append(record)
    return Salvage(tuple(records), max(base + last_delta, offset) + 1)


async def _fetch(connection: KafkaConnection, partition: TopicPartition, offset: int) -> bytes:
    client = AIOKafkaClient(**connection.client_options())
    bootstrap_whole(client)
    try:
        await client.bootstrap()
        client.add_topic(partition.topic)
        await client.force_metadata_update()
        leader = client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            msg = f"{partition} has no leader"
            raise KafkaConnectionError(msg)
        where = [(partition.topic, [(partition.partition, offset, _READ_BYTES)])]
        response = await client.send(leader, FetchRequest(500, 1, _READ_BYTES, 0, where))
    finally:
        await client.close()
    (_, ((_, code, *_, raw),)) = response.topics[0]
    if for_code(code) is OffsetOutOfRangeError:
        raise OffsetOutOfRangeError({partition: offset})
    if for_code(code) is not NoError or not raw:
        msg = f"nothing was read at {partition} offset {offset}: {for_code(code).__name__}"
        raise KafkaError(msg)
    return bytes(raw)


def _read_record(raw: bytes, at: int, base: int, base_ms: int) -> tuple[SavedRecord, int]:
    length, at = _read_varint(raw, at)
    end = at + length
    ms_delta, at = _read_varint(raw, at + 1)  # one byte of attributes, unused
    delta, at = _read_varint(raw, at)
    key, at = _read_bytes(raw, at)
    value, at = _read_bytes(raw, at)
    count, at = _read_varint(raw, at)
    headers = []
    fault = None
    for _ in range(count):
        name, at = _read_bytes(raw, at)
        content, at = _read_bytes(raw, at)
        try:
            text = (name or b"").decode()
        except UnicodeDecodeError:
            text, fault = (name or b"").decode(errors="backslashreplace"), Fault.BAD_HEADER.value
        headers.append((text, content))
    if at != end:
        msg = f"a record ends at {at} instead of {end}"
        raise ValueError(msg)
    return SavedRecord(base + delta, base_ms + ms_delta, key, value, tuple(headers), fault), end


def _read_bytes(raw: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = _read_varint(raw, at)
    if size < 0:
        return None, at
    if at + size > len(raw):
        msg = f"{size} bytes at {at} reach past the end"
        raise ValueError(msg)
    return raw[at : at + size], at + size


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """Zigzag varint, as in Protocol Buffers."""
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  (the continuation bit)
            return (value >> 1) ^ -(value & 1), at
        shift += 7
