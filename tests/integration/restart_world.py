"""Workers on a real broker that are stopped in order or dropped where they stand, and what their topics hold afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as Place

from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.exactly_once import ExactlyOnce
from stream.kafka.partition_client import DeliveryConfig
from stream.kafka.port import Port
from stream.kafka.source import KafkaSource
from stream.kafka.topology import TopicNames
from stream.protocol import Policy
from stream.state_codec import PARTITION_KEY, decode_camera, decode_partition
from stream.state_records import CameraRecord, PartitionRecord, QuestionRevision
from stream.worker import Ports, Worker, WorkerConfig
from tests.integration.kafka_world import PATIENCE_S
from tests.integration.worker_world import CONFIG, BrightnessDevice, Trial, here, record
from tests.unit.alert_samples import CONTEXT
from tools.broker.find import FoundBroker

QUICK = replace(CONFIG, max_wait_s=0.02, poll_timeout_s=0.1, tick_s=0.1)
"""Delivers at once, so that a test waits for nothing but the cluster."""


@dataclass(frozen=True, slots=True)
class Group:
    """Workers of one group on one broker, one after the other or side by side."""

    broker: FoundBroker
    names: TopicNames

    @property
    def connection(self) -> KafkaConnection:
        """The cluster."""
        return self.broker.connection

    @asynccontextmanager
    async def worker(
        self,
        *,
        policy: Policy = Policy(),  # noqa: B008  (frozen)
        config: WorkerConfig = QUICK,
        device: "BrightnessDevice | None" = None,
        trial: Trial | None = None,
        decorate: Callable[[Port], Port] = lambda port: port,
    ) -> AsyncIterator["Life"]:
        """A worker at work; what is not stopped in order is dropped at the end of the block, without a last tick."""
        asked = config.questions or QuestionRevision(1, CONTEXT.questions)
        settings, context = DeliveryConfig("test", revision=asked.number), replace(CONTEXT, questions=asked.fingerprint)
        delivery = ExactlyOnce(self.connection, self.names, context, settings, policy, decorate)
        source = KafkaSource(self.connection, SourceConfig(self.names.frames, self.names.group, 6.0), delivery)
        device, trial = device or BrightnessDevice(), trial or Trial()
        async with AsyncExitStack() as joined:
            await joined.enter_async_context(delivery)
            await joined.enter_async_context(source)
            worker = Worker(Ports(source, delivery, device, here, trial, device.ask), config)
            running = asyncio.create_task(worker.run())
            life = Life(worker, source, delivery, device, trial, running, joined)
            try:
                yield life
                if running.done():
                    running.result()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def publish(self, pictures: Sequence[bytes], first: int = 0, *, partition: int = 0, camera: str = "den") -> None:
        """Publish pictures two a second; `first` is the number of the first one, of which its capture time follows."""
        async with AIOKafkaProducer(**self.connection.client_options(), enable_idempotence=True) as producer:
            for number, value in enumerate(pictures, first):
                headers = list(record(0, number / 2, value).headers)
                await producer.send_and_wait(self.names.frames, value, camera.encode(), partition=partition, headers=headers)

    async def read(self, topic: str, partition: int = 0) -> list[Message]:
        """Everything that is committed, as another client reads it."""
        return await asyncio.to_thread(_read_all, self.broker.bootstrap_servers, topic, partition)

    async def kinds(self, partition: int = 0) -> list[str]:
        """What the alerts say, in order."""
        types = [dict(each.headers())["ce_type"].decode() for each in await self.read(self.names.alerts, partition)]
        return [each.rpartition(".")[2] for each in types]

    async def state(self, partition: int = 0) -> tuple[PartitionRecord | None, dict[str, CameraRecord]]:
        """What the state topic holds of a partition."""
        latest = {each.key(): each.value() for each in await self.read(self.names.state, partition)}
        own = latest.pop(PARTITION_KEY, None)
        cameras = {key.decode(): decode_camera(value) for key, value in latest.items() if value is not None}
        return None if own is None else decode_partition(own), cameras

    async def record(self, partition: int = 0) -> PartitionRecord:
        """The partition's own record."""
        found, _ = await self.state(partition)
        assert found is not None
        return found

    @asynccontextmanager
    async def writer(self, transactional_id: str | None = None, partition: int = 0) -> AsyncIterator[AIOKafkaProducer]:
        """A transactional producer; by default under the very id of the partition's owner, which it fences."""
        own = f"pawsight.{self.names.group}.{self.names.frames}.{partition}"
        options: dict[str, Any] = {**self.connection.client_options(), "transaction_timeout_ms": 60_000}
        async with AIOKafkaProducer(**options, transactional_id=transactional_id or own) as producer:
            yield producer


@dataclass(frozen=True, slots=True)
class Life:
    """One worker."""

    worker: Worker
    source: KafkaSource
    delivery: ExactlyOnce
    device: BrightnessDevice
    trial: Trial
    running: "asyncio.Task[None]"
    joined: AsyncExitStack

    async def until(self, done: Callable[[], object]) -> None:
        """Wait until something holds; fail if the worker ends before, or if it takes too long."""
        until_s = time.monotonic() + PATIENCE_S
        while not done():
            if self.running.done():
                self.running.result()
            assert not self.running.done(), "the worker has ended"
            assert time.monotonic() < until_s, (self.worker.counts, self.source.counts, self.delivery.parked)
            await asyncio.sleep(0.02)

    async def answered(self, count: int) -> None:
        """Wait until so many pictures were answered and everything about them is delivered."""
        await self.until(lambda: self.worker.counts.answered >= count)
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until nothing is left to deliver."""
        await self.until(lambda: not self.delivery.writing and not any(each.due for each in self.worker._partitions.values()))

    async def stop(self) -> None:
        """Stop in order, and leave the group."""
        self.worker.stop()
        await asyncio.wait_for(self.running, PATIENCE_S)
        await self.joined.aclose()

    def ready(self, count: int = 1) -> bool:
        """Whether so many partitions were taken up."""
        return self.source.counts["partitions_taken_up"] >= count


def _read_all(bootstrap_servers: str, topic: str, partition: int) -> list[Message]:
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"reader-of-{topic}",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
        }
    )
    reader.assign([Place(topic, partition, 0)])
    messages: list[Message] = []
    until_s = time.monotonic() + PATIENCE_S
    try:
        while True:
            assert time.monotonic() < until_s, messages
            message = reader.poll(0.2)
            if message is None:
                continue
            if message.error() is None:
                messages.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                return messages
    finally:
        reader.close()
