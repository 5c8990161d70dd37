"""Where a publisher goes on that was killed: the frames topic itself knows which pictures were sent."""

from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.connection import KafkaConnection
from tools.chaos.reading import consumer as opened
from tools.chaos.records import FIRST_HEADER, FRAMES_HEADER

_WINDOW = 400
"""Records read from a partition's end at first; twice as many each time that a camera is not among them."""


async def last_sent(connection: KafkaConnection, topic: str, partition_of: Mapping[str, int]) -> dict[str, int]:
    """Read the number of the last picture of each camera that sent any.

    Args:
        connection: the cluster.
        topic: the frames topic.
        partition_of: partition by camera.

    Raises:
        KafkaError: the brokers do not answer.
    """
    found: dict[str, int] = {}
    places = [TopicPartition(topic, number) for number in sorted(set(partition_of.values()))]
    async with opened(connection, "read_uncommitted") as consumer:
        consumer.assign(places)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        for place in places:
            wanted = {camera for camera, partition in partition_of.items() if partition == place.partition}
            end, window = ends[place], _WINDOW
            while wanted - found.keys() and end > begins[place]:
                begin = max(begins[place], end - window)
                tail = await _numbers(consumer, place, begin, end)
                found = tail | found
                end, window = begin, 2 * window
    return found


async def _numbers(consumer: AIOKafkaConsumer, place: TopicPartition, begin: int, end: int) -> dict[str, int]:
    """Read the largest number of each camera between two offsets."""
    numbers: dict[str, int] = {}
    consumer.seek(place, begin)
    while await consumer.position(place) < end:
        for record in (await consumer.getmany(place, timeout_ms=500)).get(place, ()):
            headers = dict(record.headers)
            if record.offset < end and record.key and FIRST_HEADER in headers:
                last = int(headers[FIRST_HEADER]) + int(headers[FRAMES_HEADER]) - 1
                camera = record.key.decode()
                numbers[camera] = max(last, numbers.get(camera, last))
    return numbers
