"""Record batches as foreign publishers write them: any bytes as header keys, and compressions that this house does not use."""

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.util import calc_crc32c

from stream.kafka.connection import KafkaConnection

ZSTD = 4
"""Number of the compression in a batch's attributes (Kafka protocol guide, "Record Batch")."""
_ZSTD_MAGIC = 0xFD2FB528
_RAW_BLOCK_BYTES = 100_000
"""Well below the 128 KiB that RFC 8878 3.1.1.2 allows."""
_AFTER_CRC = struct.Struct(">hiqqqhii")
"""Attributes, last offset delta, base and maximal timestamp, producer id, epoch and sequence, number of records."""


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """One record to be."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[bytes, bytes]] = ()


async def publish(
    connection: KafkaConnection, place: TopicPartition, records: Sequence[ForeignRecord], compression: int = 0
) -> None:
    """Publish records as one batch; `compression` is 0 or `ZSTD`.

    Raises:
        KafkaError: the broker does not answer.
        ValueError: it does not take them.
    """
    client = AIOKafkaClient(**connection.client_options())
    try:
        await client.bootstrap()
        client.add_topic(place.topic)
        await client.force_metadata_update()
        leader = client.cluster.leader_for_partition(place)
        topics = [(place.topic, [(place.partition, _batch(records, compression))])]
        request = ProduceRequest(required_acks=-1, timeout=5_000, topics=topics, transactional_id=None)
        response = await client.send(leader, request)
    finally:
        await client.close()
    ((_, ((_, code, *_rest),)),) = response.topics
    if code:
        msg = f"the broker answered {code}"
        raise ValueError(msg)


def _batch(records: Sequence[ForeignRecord], compression: int) -> bytes:
    body = b"".join(_record(number, record) for number, record in enumerate(records))
    if compression == ZSTD:
        body = _zstd(body)
    now_ms, count = int(time.time() * 1000), len(records)
    checked = _AFTER_CRC.pack(compression, count - 1, now_ms, now_ms, -1, -1, -1, count) + body
    behind = struct.pack(">ibI", -1, 2, calc_crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(behind)) + behind


def _record(number: int, record: ForeignRecord) -> bytes:
    headers = b"".join(_bytes(name) + _bytes(value) for name, value in record.headers)
    content = _bytes(record.key) + _bytes(record.value) + _varint(len(record.headers)) + headers
    body = b"\0" + _varint(0) + _varint(number) + content
    return _varint(len(body)) + body


def _bytes(value: bytes | None) -> bytes:
    return _varint(-1) if value is None else _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Zigzag varint, as in Protocol Buffers."""
    rest, out = (value << 1) ^ (value >> 63), bytearray()
    while rest > 0x7F:  # noqa: PLR2004  (seven bits a byte)
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def _zstd(data: bytes) -> bytes:
    """Write a zstd frame of raw blocks (RFC 8878 3.1.1): valid, although nothing gets smaller."""
    single_segment_size_of_4_bytes = 0xA0
    frame = struct.pack("<IBI", _ZSTD_MAGIC, single_segment_size_of_4_bytes, len(data))
    for at in range(0, len(data), _RAW_BLOCK_BYTES):
        block = data[at : at + _RAW_BLOCK_BYTES]
        is_last = at + len(block) == len(data)
        frame += (len(block) << 3 | is_last).to_bytes(3, "little") + block
    return frame
