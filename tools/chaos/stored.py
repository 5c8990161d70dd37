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
    for place, end in (await high_watermarks(connection, names.state)).items():
        latest = {key: value async for key, value in _records(connection, place, end)}
        partition = latest.pop(PARTITION_KEY, None)
        if partition is not None:
            found.partitions[place.partition] = decode_partition(partition)
        states = [decode_camera(value).state for value in latest.values() if value is not None]
        found.cameras += [neutral(state) | {"partition": place.partition} for state in states]
    return found


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


async def _records(connection: KafkaConnection, place: TopicPartition, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
    retired = Retired()
    async with committed_reader(connection, retired) as consumer:
        first = (await consumer.beginning_offsets([place]))[place]
        async for record in read(consumer, place, first, end):
            yield record.key, record.value
    await retired.gone(10.0)
