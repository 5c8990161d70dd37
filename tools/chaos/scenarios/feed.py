"""Cameras that a scenario lets send by itself, where the publisher process would do too much: wrong clocks, silences, repeats."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from typing import Self
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import FRAME_MAX_BYTES
from tools.chaos.cameras import CameraStream, FrameRecord
from tools.chaos.truth import UNITS, Camera, Form, Habits

KEPT = 20
"""Pictures of a camera whose records are kept, to be sent again: 2 s, so that no repeat looks like a clock that was set back."""


@dataclass(frozen=True, slots=True)
class Skewed(Camera):
    """A camera whose clock is wrong as a scenario says."""

    skews: tuple[tuple[int, int, int], ...] = ()
    """From this picture, before that one, so many microseconds; they add up."""

    @classmethod
    def of(cls, camera: Camera, *skews: tuple[int, int, int]) -> Self:
        """A camera of the script without its habits."""
        fields = {each.name: getattr(camera, each.name) for each in dataclass_fields(Camera)} | {"habits": Habits()}
        return cls(**fields, skews=skews)

    def shift_us(self, n: int) -> int:
        """How far a picture's capture time lies from its place in the row."""
        return sum(by_us for first, last, by_us in self.skews if first <= n < last)


@dataclass(slots=True)
class Feed:
    """Cameras that send when they are told."""

    producer: AIOKafkaProducer
    topic: str
    streams: dict[Camera, CameraStream]
    sent: dict[str, list[FrameRecord]] = field(default_factory=dict)
    """The last records of each camera."""

    async def play(self, numbers: Iterable[int], fps: float) -> None:
        """Let every camera take these pictures, in step."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        for n in numbers:
            await self._send(await asyncio.to_thread(self._feed, n))
            due_s += 1 / fps
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    async def repeat(self) -> None:
        """Send the last records of each camera again, as they are."""
        for records in list(self.sent.values()):
            await self._send(records[:])

    async def finish(self, n: int) -> None:
        """End every stream; a still lets the last pictures of access units out of the worker's decoder."""
        for camera, stream in self.streams.items():
            await self._send(stream.finish())
            if camera.form in UNITS:
                await self._send(CameraStream(replace(camera, form=Form.PNG), str(uuid4())).feed(n))

    async def _send(self, records: Sequence[FrameRecord]) -> None:
        for record in records:
            kept = self.sent.setdefault(record.key.decode(), [])
            kept.append(record)
            while sum(each.frames for each in kept) > KEPT:
                del kept[0]
        for record in records:
            await self.producer.send_and_wait(
                self.topic, record.value, key=record.key, partition=record.partition, headers=record.headers
            )

    def _feed(self, n: int) -> list[FrameRecord]:
        return [record for stream in self.streams.values() for record in stream.feed(n)]


@asynccontextmanager
async def feed(
    connection: KafkaConnection, topic: str, cameras: Sequence[Camera], uuids: Mapping[str, str] | None = None
) -> AsyncIterator[Feed]:
    """Begin a stream of each camera.

    Args:
        connection: the cluster.
        topic: the frames topic.
        cameras: who sends.
        uuids: of the streams by camera; None draws new ones.
    """
    streams = {camera: CameraStream(camera, str(uuid4()) if uuids is None else uuids[camera.name]) for camera in cameras}
    async with AIOKafkaProducer(
        **connection.client_options(), enable_idempotence=True, linger_ms=0, max_request_size=FRAME_MAX_BYTES
    ) as producer:
        yield Feed(producer, topic, streams)
