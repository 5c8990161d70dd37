"""What the state topic holds at the end of a run, in the words of the check."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition

from stream.camera_state import BehaviorState, CameraState
from stream.kafka.committed import committed_reader, read
from stream.kafka.connection import KafkaConnection
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames
from stream.state_codec import PARTITION_KEY, decode_camera, decode_partition
from stream.state_records import PartitionRecord
from tools.chaos.reading import high_watermarks


@dataclass(frozen=True, slots=True)
class Written:
    """One committed record of the state topic."""

    at_s: float
    """When it was written, Unix time."""
    key: bytes
    value: bytes | None


@dataclass(slots=True)
class Stored:
    """The last value of every key."""

    cameras: list[dict[str, Any]] = field(default_factory=list)
    partitions: dict[int, PartitionRecord] = field(default_factory=dict)


def neutral(state: CameraState) -> dict[str, Any]:
    """Give a camera's state in the fields of `tools.chaos.debounced.CameraReplay.state`."""
    return {
        "camera": state.camera_id,
        "epoch_ms": state.epoch_ms,
        "sightings": state.sightings,
        "lost": state.lost,
        "last_s": state.clock.last_s,
        "stream": state.clock.stream,
        "candidates_s": state.clock.candidates,
        "resets": state.clock.resets,
        "behaviors": {name: _behavior(each) for name, each in state.behaviors.items()},
    }


def _behavior(state: BehaviorState) -> dict[str, Any]:
    return {
        "level": state.level.value,
        "run_s": None if state.run is None else (state.run.began_s, state.run.last_s),
        "since_s": None if state.episode is None else state.episode.started_at_s,
        "episodes": state.episodes,
        "cooldown_until_s": state.cooldown_until_s,
    }


async def stored(connection: KafkaConnection, names: TopicNames) -> Stored:
    """Read the state topic to its end.

    Raises:
        KafkaError: the brokers do not answer.
    """
    found = Stored()
    for number, written in (await history(connection, names)).items():
        latest = {each.key: each.value for each in written}
        partition = latest.pop(PARTITION_KEY, None)
        if partition is not None:
            found.partitions[number] = decode_partition(partition)
        states = [decode_camera(value).state for value in latest.values() if value is not None]
        found.cameras += [neutral(state) | {"partition": number} for state in states]
    return found


async def history(connection: KafkaConnection, names: TopicNames) -> dict[int, list[Written]]:
    """Read all that the state topic still holds, by partition, in order.

    Raises:
        KafkaError: the brokers do not answer.
    """
    ends = await high_watermarks(connection, names.state)
    return {place.partition: [each async for each in _written(connection, place, end)] for place, end in ends.items()}


async def behind(connection: KafkaConnection, names: TopicNames) -> dict[int, int]:
    """Give, by partition of the frames, how many offsets are not done yet.

    Raises:
        KafkaError: the brokers do not answer.
    """
    done = (await stored(connection, names)).partitions
    ends = await high_watermarks(connection, names.frames)
    places = {place.partition: end for place, end in ends.items()}
    return {
        number: end - (done[number].resume_offset if number in done else 0)
        for number, end in places.items()
        if end and (number not in done or done[number].resume_offset != end)
    }


async def _written(connection: KafkaConnection, place: TopicPartition, end: int) -> AsyncIterator[Written]:
    retired = Retired()
    async with committed_reader(connection, retired) as consumer:
        first = (await consumer.beginning_offsets([place]))[place]
        async for record in read(consumer, place, first, end):
            yield Written(record.timestamp / 1000, record.key, record.value)
    await retired.gone(10.0)
