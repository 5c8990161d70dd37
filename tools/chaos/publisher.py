"""The cameras of a script as a process: `python -m tools.chaos.publisher JSON`, with the fields of `Settings`.

Publishes in real time until SIGTERM. It may be killed at any time: the next one reads from the topic how far each camera was, and
goes on a little before that as a new stream, as a camera does whose upload broke off. It does the same by itself when the brokers
failed a record. One line of JSON to standard output for what it does.
"""

import asyncio
import json
import logging
import random
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import FRAME_MAX_BYTES
from tools.chaos.cameras import CameraStream, FrameRecord
from tools.chaos.resume import last_sent
from tools.chaos.truth import UNITS, Camera, Form, Script

REQUEST_TIMEOUT_MS = 5_000
"""A request that is swallowed is sent again after this; well under lost_after_s, so that no camera falls silent by it."""
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0
PROGRESS_EVERY_S = 1.0
_RETRY_AFTER_S = 0.5
_MOST_REPEATED = 5
"""Pictures that a new stream sends once more, at most."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process is told."""

    name: str
    """Kafka client id."""
    bootstrap_servers: str
    topic: str
    script: Script
    speed: float = 1.0
    """Event time per wall time."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Settings":
        """Read the process's argument; `folder` is for other programs."""
        fields = {name: value for name, value in told.items() if name != "folder"}
        return cls(**{**fields, "script": Script.from_json(told["script"])})


class Publisher:
    """One process: one life after the other, each with a producer and stream uuids of its own."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is touched before `run`."""
        self._settings = settings
        self._script = settings.script
        self._cameras = self._script.plan()
        self._stopping = asyncio.Event()
        self._left_behind: set[asyncio.Task[None]] = set()
        self._records = 0
        self._pictures = 0
        self._acknowledged = 0

    def stop(self) -> None:
        """Send no further pictures; `run` returns when the rest is acknowledged."""
        self._stopping.set()

    async def run(self) -> None:
        """Publish until `stop`."""
        told = ""
        while not self._stopping.is_set():
            try:
                await self._live()
            except (KafkaError, TimeoutError) as error:
                if repr(error) != told:
                    _say("broken", error=repr(error))
                told = repr(error)
                await self._sleep(_RETRY_AFTER_S)
        if self._left_behind:
            await asyncio.wait(self._left_behind, timeout=STOP_TIMEOUT_S)
        _say("stopped", records=self._records, pictures=self._pictures, acknowledged=self._acknowledged)

    async def _live(self) -> None:
        """Go on with every camera where the topic ends.

        Raises:
            KafkaError, TimeoutError: the brokers did not answer, or did not take a record.
        """
        settings = self._settings
        connection = KafkaConnection(settings.bootstrap_servers, client_id=settings.name)
        producer = AIOKafkaProducer(
            **connection.client_options(),
            enable_idempotence=True,
            compression_type=None,
            linger_ms=5,
            max_request_size=FRAME_MAX_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                last = await last_sent(connection, settings.topic, {camera.name: camera.partition for camera in self._cameras})
                await producer.start()
            numbers = {camera: self._first(camera, last.get(camera.name)) for camera in self._cameras}
            _say("begun", first={camera.name: first for camera, first in numbers.items()})
            await self._publish(_Life(self, producer), numbers)
        finally:
            # never cancelled: its sender would live on for ever (notes/exactly-once.md 5)
            stopping = asyncio.create_task(producer.stop())
            self._left_behind.add(stopping)
            stopping.add_done_callback(self._left_behind.discard)

    def _first(self, camera: Camera, last: int | None) -> int:
        """Choose the picture to go on with: up to some before the end, but none whose time would set the clock back."""
        if last is None:
            return 0
        ends_at = self._script.ends_at(camera)
        if ends_at is not None and last >= ends_at - 2 * _MOST_REPEATED:
            return ends_at
        first = last + 1
        for _ in range(random.Random(f"{self._script.seed}/{camera.name}/{first}").randint(0, _MOST_REPEATED)):
            if first > 0 and camera.shift_us(first - 1) == camera.shift_us(last):
                first -= 1
        return first

    async def _publish(self, life: "_Life", numbers: dict[Camera, int]) -> None:
        streams = {camera: CameraStream(camera, str(uuid4())) for camera in self._cameras}
        loop = asyncio.get_running_loop()
        began_s, told_s = loop.time(), loop.time()
        tick_s = 1 / (self._script.fps * self._settings.speed)
        ticks = 0
        while not self._stopping.is_set():
            await life.send(await asyncio.to_thread(self._feed, streams, numbers))
            if loop.time() - told_s >= PROGRESS_EVERY_S:
                told_s = loop.time()
                _say("progress", records=self._records, pictures=self._pictures, acknowledged=self._acknowledged)
            ticks += 1
            await self._sleep(began_s + ticks * tick_s - loop.time())
        await life.send(self._finish(streams, numbers))
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await life.settle()

    def _feed(self, streams: Mapping[Camera, CameraStream], numbers: dict[Camera, int]) -> list[FrameRecord]:
        """Let every camera take its next picture."""
        records: list[FrameRecord] = []
        for camera, stream in streams.items():
            n, ends_at = numbers[camera], self._script.ends_at(camera)
            if ends_at is None or n < ends_at:
                numbers[camera] = n + 1
                records += stream.feed(n)
                if n + 1 == ends_at:
                    records += stream.finish()
        return records

    def _finish(self, streams: Mapping[Camera, CameraStream], numbers: Mapping[Camera, int]) -> list[FrameRecord]:
        """End every stream; a still of a new stream lets the last pictures of access units out of the worker's decoder."""
        records: list[FrameRecord] = []
        for camera, stream in streams.items():
            ends_at = self._script.ends_at(camera)
            if ends_at is None or numbers[camera] < ends_at:
                records += stream.finish()
                if camera.form in UNITS:
                    records += CameraStream(replace(camera, form=Form.PNG), str(uuid4())).feed(numbers[camera])
        return records

    def sent(self, record: FrameRecord) -> None:
        """Count a record."""
        self._records += 1
        self._pictures += record.frames

    def acknowledged(self) -> None:
        """Count a record that the brokers have."""
        self._acknowledged += 1

    @property
    def topic(self) -> str:
        """The frames topic."""
        return self._settings.topic

    async def _sleep(self, seconds: float) -> None:
        """Wait, but not past the stop."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopping.wait()
        except TimeoutError:
            pass


class _Life:
    """What one producer has in flight."""

    def __init__(self, publisher: Publisher, producer: AIOKafkaProducer) -> None:
        self._publisher = publisher
        self._producer = producer
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None

    async def send(self, records: Iterable[FrameRecord]) -> None:
        """Send records in order, after the failures of earlier ones were raised: past one nothing may follow."""
        for record in records:
            if self._failure is not None:
                raise self._failure
            future = await self._producer.send(
                self._publisher.topic, record.value, key=record.key, partition=record.partition, headers=record.headers
            )
            self._publisher.sent(record)
            self._in_flight.add(future)
            future.add_done_callback(self._done)

    async def settle(self) -> None:
        """Wait for every acknowledgement."""
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        if self._failure is not None:
            raise self._failure

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._in_flight.discard(future)
        if future.cancelled():
            return
        failure = future.exception()
        self._failure = self._failure or failure
        if failure is None:
            self._publisher.acknowledged()


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


async def _main(settings: Settings) -> None:
    publisher = Publisher(settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, publisher.stop)
    await publisher.run()


if __name__ == "__main__":
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers fail on purpose here, twice a second
    asyncio.run(_main(Settings.from_json(json.loads(sys.argv[1]))))
