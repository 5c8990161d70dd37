"""Simulated cameras: encoded pictures on the frames topic at scheduled times, whatever becomes of them, and the books of it all.

One idempotent producer writes to partitions to which nobody else writes, so that a partition's records have the offsets 0, 1, 2
and so on in the order of sending. Capture times follow from the schedule, not from when there was time to send: what a busy
machine sends late counts as late.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.clock import Admission, ClockRules, ClockState, admit, event_time, whole_microseconds
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.topology import FRAME_MAX_BYTES
from stream.wire import FrameHead, frame_headers
from tools.publish import LINGER_MS
from tools.stress.kafka.pictures import Album, Shape

SOURCE = "/pawsight/stress"
"""CloudEvents source of the frames."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, less their whole parts, spread any number of cameras evenly over the time between two records."""
_STOP_TIMEOUT_S = 5.0
_YIELD_EVERY = 16
"""Records that are sent without a pause where the schedule is behind."""


@dataclass(frozen=True, slots=True)
class Steady:
    """A clock that nobody sets, counting from what the time was when it was made."""

    epoch_s: float = field(default_factory=lambda: time.time() - time.monotonic())

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self.epoch_s + time.monotonic()


@dataclass(frozen=True, slots=True)
class Sent:
    """One record."""

    asked_s: tuple[float, ...]
    """Capture times of its pictures that the camera's clock wants, seconds since the epoch."""
    newest_s: float
    """The latest such time of this and all earlier records of the partition."""


@dataclass(slots=True)
class _Camera:
    name: str
    partition: int
    number: int
    stream: str = ""
    """Uuid of the trial."""
    seq: int = 0
    records: int = 0
    """Of all trials."""
    clock: ClockState | None = None
    """As the worker keeps it."""


@dataclass(slots=True)
class Books:
    """What was sent."""

    partitions: list[list[Sent]]
    """By partition; the place in the list is the offset."""
    pictures: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """By camera and capture time in microseconds: which asked picture it is (record of the album, place in it)."""
    late_s: list[float] = field(default_factory=list)
    """By how much each record was sent behind its schedule."""
    asked: int = 0
    """Pictures that are to be asked."""

    @property
    def records(self) -> int:
        """Of all partitions."""
        return sum(map(len, self.partitions))


class Cameras:
    """Any number of cameras; what they send is in `books` before it is sent."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, books: Books, album: Album, rules: ClockRules) -> None:
        """Take a started producer, empty books, and by which rules workers sample."""
        self.books = books
        self._producer = producer
        self._topic = topic
        self._album = album
        self._rules = rules
        self._known: list[_Camera] = []
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._failure: BaseException | None = None

    @property
    def unacknowledged(self) -> int:
        """Records that are sent, and of which the brokers have not said that they have them."""
        return len(self._in_flight)

    @property
    def shape(self) -> Shape:
        """Of what each camera sends."""
        return self._album.shape

    async def publish(self, cameras: int, clock: Steady, begin_s: float, over: asyncio.Event) -> None:
        """Let so many cameras publish from a moment of the clock on until it is over, and wait for the acknowledgements.

        Raises:
            KafkaError: the brokers did not take a record.
        """
        line = self._line_up(cameras)
        every_s = self._album.shape.record_s
        for sent in count():
            round_, place = divmod(sent, len(line))
            offset_s, camera = line[place]
            due_s = begin_s + offset_s + float(round_ * every_s)
            if await _wait(due_s - clock.now_s(), over, is_polite=sent % _YIELD_EVERY == 0):
                break
            if self._failure is not None:
                break
            self.books.late_s.append(max(0.0, clock.now_s() - due_s))
            await self._send(camera, due_s)
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        if self._failure is not None:
            raise self._failure

    def _line_up(self, cameras: int) -> list[tuple[float, _Camera]]:
        """Give each camera its place within the time between two records, in order; it begins a new stream."""
        for number in range(len(self._known), cameras):
            self._known.append(_Camera(f"stress-{number:06d}", number % len(self.books.partitions), number))
        every_s = float(self._album.shape.record_s)
        for camera in self._known[:cameras]:
            camera.stream, camera.seq = str(uuid4()), 0
        return sorted(
            ((camera.number * _GOLDEN % 1.0 * every_s, camera) for camera in self._known[:cameras]), key=lambda one: one[0]
        )

    async def _send(self, camera: _Camera, ready_s: float) -> None:
        shape = self.shape
        captured_s = event_time(ready_s - float(shape.ready_after_s))
        shown = self._album.shown(camera.number, camera.records)
        self._enter(camera, captured_s, shown)
        head = FrameHead(camera.name, captured_s, shape.content_type, SOURCE, camera.stream, camera.seq)
        camera.seq += 1
        camera.records += 1
        future = await self._producer.send(
            self._topic,
            self._album.records[shown].payload,
            key=camera.name.encode(),
            partition=camera.partition,
            headers=frame_headers(head),
        )
        self._in_flight.add(future)
        future.add_done_callback(self._done)

    def _enter(self, camera: _Camera, captured_s: float, shown: int) -> None:
        """Foresee by the camera's clock which pictures of a record are asked, and put it down."""
        asked: list[float] = []
        for place, at_s in enumerate(self._offered(captured_s)):
            camera.clock, admission = admit(camera.clock, at_s, camera.stream, self._rules)
            if admission is Admission.ACCEPTED:
                asked.append(at_s)
                self.books.pictures[camera.name, whole_microseconds(at_s)] = (shown, place)
        sent = self.books.partitions[camera.partition]
        newest_s = max((sent[-1].newest_s if sent else 0.0), *asked, 0.0)
        sent.append(Sent(tuple(asked), newest_s))
        self.books.asked += len(asked)

    def _offered(self, captured_s: float) -> Sequence[float]:
        """Capture times of the pictures that a worker decodes: of a group no longer than the sampling interval the keyframe."""
        shape = self._album.shape
        if event_time(float(shape.record_s)) <= event_time(1 / self._rules.sample_fps):
            return (captured_s,)
        return [event_time(float(Fraction(captured_s) + place / shape.rate)) for place in range(shape.pictures)]

    def _done(self, future: "asyncio.Future[Any]") -> None:
        self._in_flight.discard(future)
        if future.cancelled():
            self._failure = self._failure or asyncio.CancelledError()
        else:
            self._failure = self._failure or future.exception()


async def _wait(early_s: float, over: asyncio.Event, *, is_polite: bool) -> bool:
    """Wait so long; say whether all is over. Behind the schedule the event loop has its turn only out of politeness."""
    if early_s > 0:
        await asyncio.sleep(early_s)
    elif is_polite:
        await asyncio.sleep(0)
    return over.is_set()


@asynccontextmanager
async def producing(connection: KafkaConnection) -> AsyncIterator[AIOKafkaProducer]:
    """Start a producer that publishes as `tools/run replay` does; what the brokers do not take within a bound at the end is left.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed.
    """
    async with reaching(connection):
        producer = AIOKafkaProducer(
            **connection.client_options(),
            enable_idempotence=True,
            compression_type=None,
            linger_ms=LINGER_MS,
            max_request_size=FRAME_MAX_BYTES,
        )
    try:
        async with reaching(connection):
            await producer.start()
        yield producer
    finally:
        await stop(producer)


async def stop(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
    """Stop a client within a bound: without brokers a producer waits for ever, and a consumer is cancelled by its own task."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await asyncio.gather(client.stop(), return_exceptions=True)
