"""The state topic under the cleaner: control batches that are left empty, at which the client raises for ever."""

import asyncio
import time

from aiokafka import AIOKafkaProducer, TopicPartition

from stream.kafka.committed import EMPTY_CONTROL_BATCH
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import topic_specs
from tools.chaos.reading import consumer, high_watermarks
from tools.chaos.scenarios import cluster
from tools.chaos.scenarios.act import Act

CLEANER = {
    "log.cleaner.backoff.ms": "500",
    "log.cleaner.delete.retention.ms": "200",
    "log.segment.delete.delay.ms": "100",
}
"""Broker settings with which the cleaner comes at once."""
_OFTEN = {"segment.ms": "500", "delete.retention.ms": "0", "max.compaction.lag.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
_ROUNDS = 6


async def compacted(act: Act) -> None:
    """Abort transactions of passing ids on the state while the cleaner runs every half second, then restart on what it left."""
    names, direct = act.stage.names, act.stage.direct
    await cluster.configure(direct, names.state, _OFTEN)
    for number in range(_ROUNDS):
        for partition in act.populated:
            await _aborted(direct, names.state, partition, number)
        await cluster.fence(direct, names, act.populated)
        await asyncio.sleep(3.0)
    await act.flows()
    spec = next(each for each in topic_specs(names) if each.name == names.state)
    safe = dict(spec.settings) | {key: str(value) for key, value in spec.at_least.items()}
    await cluster.configure(direct, names.state, safe)  # workers refuse others
    found = act.figures["partitions_with_empty_control_batches"] = await _stumbling(direct, names.state)
    if not found:
        act.problems.append("the cleaner left no empty control batch: nothing was there to stumble over")
    began_s = time.monotonic()
    act.kill_workers()
    act.start_workers()
    await act.flows()
    act.figures["recovery_s"] = round(time.monotonic() - began_s, 1)


async def _aborted(connection: KafkaConnection, topic: str, partition: int, number: int) -> None:
    """Let an id write once and be aborted by its successor, which writes nothing: the last batch of its life is a marker."""
    options = {"transactional_id": f"passing.{partition}.{number}", "transaction_timeout_ms": 5_000}
    async with AIOKafkaProducer(**connection.client_options(), **options) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, None, key=b"passing", partition=partition)
        async with AIOKafkaProducer(**connection.client_options(), **options):
            pass


async def _stumbling(connection: KafkaConnection, topic: str) -> int:
    """On how many partitions a plain client stumbles over an empty control batch."""
    count = 0
    for place, end in (await high_watermarks(connection, topic)).items():
        count += await _stumbles(connection, place, end)
    return count


async def _stumbles(connection: KafkaConnection, place: TopicPartition, end: int) -> bool:
    async with consumer(connection, "read_committed") as reader:
        reader.assign([place])
        await reader.seek_to_beginning(place)
        until_s = time.monotonic() + 20.0
        try:
            while await reader.position(place) < end and time.monotonic() < until_s:
                await reader.getmany(place, timeout_ms=200)
        except Exception as error:  # noqa: BLE001  (it has no class of its own)
            return EMPTY_CONTROL_BATCH in str(error)
    return False
