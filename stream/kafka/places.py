"""Where reading a partition begins: at the group's committed offset, as far as the log still holds it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

StartFrom = Literal["earliest", "latest"]

LOOK_UP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where to read on."""

    offset: int
    skipped: int = 0
    """Offsets between the wanted place and this one, gone by retention."""
    restarted: bool = False
    """The wanted place lies behind the log's end: the topic was recreated or truncated, its offsets mean other records now."""


def place(wanted: int | None, first: int, end: int, start_from: StartFrom) -> Place:
    """Choose.

    Args:
        wanted: next offset that was not done, None if nothing was ever done.
        first: lowest offset of the log.
        end: offset after the last record.
        start_from: where a partition without a wanted place begins.
    """
    if wanted is None:
        return Place(first if start_from == "earliest" else end)
    if wanted > end:
        return Place(first, restarted=True)
    return Place(max(wanted, first), skipped=max(0, first - wanted))


async def find_places(
    consumer: AIOKafkaConsumer, expected: Mapping[TopicPartition, int | None], start_from: StartFrom
) -> dict[TopicPartition, Place]:
    """Look the places up: what is not expected anywhere begins at its committed offset.

    Raises:
        KafkaError, TimeoutError: the cluster did not answer; worth another try.
    """
    partitions = list(expected)
    unknown = [partition for partition in partitions if expected[partition] is None]
    async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
        committed = await asyncio.gather(*(consumer.committed(partition) for partition in unknown))
        wanted = dict(expected) | dict(zip(unknown, committed, strict=True))
        firsts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    return {each: place(wanted[each], firsts[each], ends[each], start_from) for each in partitions}
