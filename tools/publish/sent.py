"""Finds out from the frames topic itself how far an earlier run came: the last record of each camera, read back from the end.

The last one is enough: what an idempotent producer leaves of a camera, however it ended, has no gap.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream import wire
from stream.errors import StreamRefused, UnusableRecord
from stream.kafka.connection import KafkaConnection
from stream.types import Record
from tools.recordings.resume import Sent, digest

READ_TIMEOUT_S = 30.0
"""Longest wait for the next records; a healthy broker answers in milliseconds."""


@dataclass(frozen=True, slots=True)
class LookBack:
    """How far a partition is read back from its end."""

    first_records: int = 32
    """Read at first; as long as a camera is missing, twice as many before those."""
    max_bytes: int = 1024**3
    """Of values; the read that passes it is the last one. On a fleet's topic a partition may hold a thousand times as much."""


async def last_sent(
    connection: KafkaConnection,
    places: Sequence[TopicPartition],
    partition_of: Mapping[str, int],
    bounds: LookBack = LookBack(),
) -> dict[str, Sent]:
    """Read the last record of each camera that has one.

    Args:
        connection: the cluster.
        places: all partitions of the frames topic.
        partition_of: partition by camera.
        bounds: how far back to read.

    Raises:
        KafkaError, TimeoutError: the brokers do not answer.
        StreamRefused: it cannot be told where a camera stopped, or it stopped on another partition.
    """
    found: dict[str, Sent] = {}
    if not partition_of:
        return found
    async with AIOKafkaConsumer(**connection.client_options(), auto_offset_reset="earliest") as consumer:
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            cameras = {camera for camera, partition in partition_of.items() if partition == place.partition}
            found |= await _look_back(consumer, place, (begins[place], ends[place]), cameras, bounds)
        missing = partition_of.keys() - found.keys()
        for place in places if missing else ():
            begin = max(begins[place], ends[place] - bounds.first_records)
            elsewhere, _ = await _read(consumer, place, (begin, ends[place]), missing)
            for camera in elsewhere:
                msg = (
                    f"--resume: camera {camera!r} lies on {_name(place)}, but these arguments put it on partition "
                    f"{partition_of[camera]}: give all the videos, and the --cameras, that it began with"
                )
                raise StreamRefused(msg)
    return found


async def _look_back(
    consumer: AIOKafkaConsumer, place: TopicPartition, span: tuple[int, int], cameras: Collection[str], bounds: LookBack
) -> dict[str, Sent]:
    """Read the last record of each of these cameras between two offsets, from behind, as far as the bounds let."""
    found: dict[str, Sent] = {}
    (first, end), records, read_bytes = span, bounds.first_records, 0
    while (missing := set(cameras) - found.keys()) and end > first:
        if read_bytes > bounds.max_bytes:
            msg = (
                f"--resume: camera {min(missing)!r} is not in the last {read_bytes / 1e6:.0f} MB of {_name(place)}: "
                "where it stopped cannot be told. Start without --resume, on a topic of its own"
            )
            raise StreamRefused(msg)
        begin = max(first, end - records)
        last, size = await _read(consumer, place, (begin, end), missing)
        found |= last
        end, records, read_bytes = begin, 2 * records, read_bytes + size
    return found


async def _read(
    consumer: AIOKafkaConsumer, place: TopicPartition, span: tuple[int, int], cameras: Collection[str]
) -> tuple[dict[str, Sent], int]:
    """Read from one offset to another; give the last record of each of these cameras, and how many bytes all had."""
    wanted = {camera.encode(): camera for camera in cameras}
    last: dict[str, ConsumerRecord] = {}
    (position, end), size = span, 0
    consumer.assign([place])
    consumer.seek(place, position)
    while position < end:
        records, position = await _next(consumer, place, position)
        for record in records:
            size += len(record.value or b"")
            if record.offset < end and record.key in wanted:
                last[wanted[record.key]] = record
    return {camera: _sent(camera, record) for camera, record in last.items()}, size


async def _next(consumer: AIOKafkaConsumer, place: TopicPartition, before: int) -> tuple[Sequence[ConsumerRecord], int]:
    """Wait for the next records; also give the offset behind them, and behind what is no record."""
    records: Sequence[ConsumerRecord] = ()
    position = before
    async with asyncio.timeout(READ_TIMEOUT_S):
        while position == before:
            try:
                records = (await consumer.getmany(place, timeout_ms=500)).get(place, ())
            except UnicodeDecodeError as error:  # Kafka lets a header's name be any bytes, aiokafka does not
                msg = f"--resume: a record of {_name(place)} has a header whose name is no text: it cannot be read back"
                raise StreamRefused(msg) from error
            position = await consumer.position(place)
    return records, position


def _sent(camera: str, found: ConsumerRecord) -> Sent:
    """Trust a camera's last record, or say why not."""
    record = Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        timestamp_ms=found.timestamp,
        key=found.key,
        value=found.value,
        headers=tuple(found.headers),
        incarnation=0,
        arrived_at_s=0.0,
    )
    try:
        packet = wire.read(record)
    except UnusableRecord as error:
        raise _not_a_replays(record, camera, str(error)) from error
    if packet.stream is None or packet.seq is None:
        raise _not_a_replays(record, camera, "it has no stream or no seq")
    return Sent(camera, packet.stream, packet.seq, packet.captured_at_s, packet.content_type, digest(packet.payload))


def _not_a_replays(record: Record, camera: str, why: str) -> StreamRefused:
    where = f"{record.topic}[{record.partition}] at offset {record.offset}"
    return StreamRefused(f"--resume: the last record of camera {camera!r}, {where}, was not published by replay: {why}")


def _name(place: TopicPartition) -> str:
    return f"{place.topic}[{place.partition}]"
