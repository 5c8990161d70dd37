"""Publishes records to the frames topic as a camera should: explicit partitions, idempotent, in order, at event-time pace.

The core of `replay` and of the demo. Knows nothing of videos: it takes publications as they come. A run that goes on behind an
earlier one finds out from the topic itself where that stopped: what an idempotent producer leaves of a camera has no gap.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer, TopicPartition

from stream.cameras import CameraRegistry
from stream.errors import StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.topology import FRAME_MAX_BYTES
from stream.wire import FrameHead, frame_headers
from tools.publish.sent import last_sent
from tools.recordings import Publication
from tools.recordings.resume import Sent

SOURCE = "/pawsight/replay"
"""CloudEvents source of the frames."""

IN_FLIGHT_BYTES = 32 * 1024 * 1024
"""Not yet acknowledged: bounds memory, and the size of one produce request (a broker takes 100 MiB) over all partitions."""

LINGER_MS = 5
"""Waiting for company: small stills share a request."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where frames go."""

    connection: KafkaConnection
    topic: str
    registry: CameraRegistry
    """Names every camera that will publish."""


@dataclass(slots=True)
class Tally:
    """What the brokers acknowledged."""

    records: int = 0
    bytes: int = 0
    """Of payload."""
    cameras: set[str] = field(default_factory=set)


class Publisher:
    """One run of publishing: every camera is one stream with an uuid of its own, or goes on with that of an earlier run."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        destination: Destination,
        partition_of: Mapping[str, int],
        sent: Mapping[str, Sent],
    ) -> None:
        """Take a started producer, every camera's partition, and what lies there already; `opened` makes them."""
        self.tally = Tally()
        self.sent = sent
        """By camera that goes on; its publications must be those behind it."""
        self._producer = producer
        self._destination = destination
        self._partition_of = partition_of
        self._streams = {camera: sent[camera].stream if camera in sent else str(uuid4()) for camera in partition_of}
        self._in_flight: dict[asyncio.Future[Any], int] = {}
        self._failure: BaseException | None = None

    async def publish(
        self,
        publications: Iterable[Publication],
        speed: float | None,
        on_acknowledged: Callable[[Publication], None] = lambda _: None,
        executor: Executor | None = None,
    ) -> None:
        """Publish all and wait for the acknowledgements.

        Args:
            publications: by the time they are due; read in a thread, as reading may decode or wait.
            speed: event time per wall time, 1 as it happened; None as fast as the brokers take it.
            on_acknowledged: called once per record that the brokers have.
            executor: thread for reading; None takes the loop's.

        Raises:
            SourceLost, StreamRefused: the brokers did not take a record; what came before it may or may not be there.
        """
        loop = asyncio.get_running_loop()
        iterator, end = iter(publications), object()
        began_at, first_due_s = loop.time(), None
        try:
            while isinstance(one := await loop.run_in_executor(executor, next, iterator, end), Publication):
                first_due_s = one.due_s if first_due_s is None else first_due_s
                if speed is not None:
                    await asyncio.sleep(began_at + (one.due_s - first_due_s) / speed - loop.time())
                await self._settle(IN_FLIGHT_BYTES - len(one.payload))
                future = await self._send(one)
                self._in_flight[future] = len(one.payload)
                future.add_done_callback(partial(self._done, one, on_acknowledged))
        finally:  # an interrupt ends the reading, not what was sent
            await self._settle(0)

    async def _send(self, one: Publication) -> "asyncio.Future[Any]":
        head = FrameHead(
            camera_id=one.camera,
            captured_at_s=one.captured_at_s,
            content_type=one.content_type,
            source=SOURCE,
            stream=self._streams[one.camera],
            seq=one.seq,
            unit=one.unit,
        )
        async with reaching(self._destination.connection):
            future: asyncio.Future[Any] = await self._producer.send(
                self._destination.topic,
                one.payload,
                key=one.camera.encode(),
                partition=self._partition_of[one.camera],
                headers=frame_headers(head),
            )
        return future

    async def _settle(self, allowed_bytes: int) -> None:
        """Wait until no more than this is in flight, and raise what went wrong: nobody but the futures tells of a failure."""
        while self._in_flight and sum(self._in_flight.values()) > allowed_bytes:
            await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
        if self._failure is not None:
            async with reaching(self._destination.connection):
                raise self._failure

    def _done(self, one: Publication, on_acknowledged: Callable[[Publication], None], future: "asyncio.Future[Any]") -> None:
        del self._in_flight[future]
        self._failure = self._failure or (asyncio.CancelledError() if future.cancelled() else future.exception())
        if self._failure is None:
            self.tally.records += 1
            self.tally.bytes += len(one.payload)
            self.tally.cameras.add(one.camera)
            on_acknowledged(one)


@asynccontextmanager
async def opened(destination: Destination, resumed: Collection[str] = ()) -> AsyncIterator[Publisher]:
    """Connect to the brokers; what was sent is flushed at the end, after an interrupt, too.

    Args:
        destination: where to publish.
        resumed: cameras that go on behind their last record on the topic; whoever put it there must be gone.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: the topic is not there, it may not be read or written, or it cannot be told where a camera stopped.
    """
    async with reaching(destination.connection):
        producer = AIOKafkaProducer(
            **destination.connection.client_options(),
            enable_idempotence=True,
            compression_type=None,
            linger_ms=LINGER_MS,
            max_request_size=FRAME_MAX_BYTES,
        )
    try:
        async with reaching(destination.connection):
            await producer.start()
            partitions = await _partitions(producer, destination)
            placed = _placed(destination.registry, partitions)
            places = [TopicPartition(destination.topic, number) for number in range(partitions)]
            sent = await last_sent(destination.connection, places, {camera: placed[camera] for camera in resumed})
        yield Publisher(producer, destination, placed, sent)
    finally:
        await producer.stop()


async def _partitions(producer: AIOKafkaProducer, destination: Destination) -> int:
    """Count the topic's partitions; `producer.partitions_for` waits 40 s for a topic that is not there."""
    cluster = await producer.client.fetch_all_metadata()
    partitions = cluster.partitions_for_topic(destination.topic)
    if not partitions:
        where = destination.connection.bootstrap_servers
        msg = f"there is no topic {destination.topic!r} at {where}: create it with `tools/run topics`"
        raise StreamRefused(msg)
    return len(partitions)


def _placed(registry: CameraRegistry, partitions: int) -> dict[str, int]:
    """Give every camera its partition before anything is published."""
    try:
        return {camera: registry.partition_of(camera, partitions) for camera in registry.by_id}
    except ValueError as error:
        raise StreamRefused(str(error)) from error
