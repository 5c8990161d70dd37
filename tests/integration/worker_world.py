"""A worker between a scripted source and a remembering sink, with real decoding and a brightness oracle for a device.

The pictures are real PNG records; a white picture means yes and a black one no, so a test reads as the scene it shows.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.decode import DecodeRequest
from stream.errors import UnusableRecord
from stream.intake import IntakeConfig
from stream.ports import Assigned, Poll, Tick
from stream.timestamps import to_rfc3339
from stream.types import Event, FramePacket, Record
from stream.worker import Ports, Worker, WorkerConfig

T = TypeVar("T")

TOPIC = "frames"
SIZE = 8
T0_S = 1_767_225_600.0

RULE = DebounceRule("glowing", start_above=0.65, stop_below=0.35, start_after_s=1.0, stop_after_s=1.0, cooldown_s=0.0)

CONFIG = WorkerConfig(
    behaviors=("glowing",),
    debounce=DebounceRules.of([RULE]),
    intake=IntakeConfig(ClockRules(sample_fps=2.0), CameraRegistry.parse({}), SIZE, lost_after_s=30.0),
    buckets=(1, 2, 4),
)

ASSIGNED = Assigned(TOPIC, 0, 1)


def picture(level: int) -> bytes:
    """A PNG of one brightness, 0 to 255."""
    done, data = cv2.imencode(".png", np.full((SIZE, SIZE, 3), level, np.uint8))
    assert done
    return data.tobytes()


WHITE, BLACK = picture(255), picture(0)


def record(offset: int, at_s: float, value: bytes, *, camera: str = "den", partition: int = 0, incarnation: int = 1) -> Record:
    """A camera's picture, captured `at_s` seconds after the test's beginning of time."""
    return Record(
        topic=TOPIC,
        partition=partition,
        offset=offset,
        timestamp_ms=0,
        key=camera.encode(),
        value=value,
        headers=(("ce_time", to_rfc3339(T0_S + at_s).encode()),),
        incarnation=incarnation,
        arrived_at_s=T0_S + at_s,
    )


def scene(pictures: Sequence[bytes], *, first_offset: int = 0, camera: str = "den") -> tuple[Record, ...]:
    """Pictures two a second, as records of partition 0."""
    return tuple(
        record(first_offset + index, (first_offset + index) / 2, value, camera=camera) for index, value in enumerate(pictures)
    )


@dataclass
class ScriptedSource:
    """Gives its polls one after the other; then idles, or ends."""

    polls: list[Poll]
    bounded: bool = True
    polled: int = 0
    held: list[frozenset[tuple[str, int]]] = field(default_factory=list)

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Give the next poll at once; wait out the timeout where nothing is scripted or left."""
        self.held.append(held)
        if self.polls:
            self.polled += 1
            await asyncio.sleep(timeout_s if self.polls[0] == Poll() else 0)
            return self.polls.pop(0)
        if self.bounded:
            return Poll(ended=True)
        await asyncio.sleep(timeout_s)
        return Poll()


@dataclass
class RememberingSink:
    """Keeps every tick."""

    ticks: list[Tick] = field(default_factory=list)

    async def deliver(self, tick: Tick) -> bool:
        """Remember the tick."""
        self.ticks.append(tick)
        return True

    @property
    def events(self) -> list[Event]:
        """All events delivered so far."""
        return [event for tick in self.ticks for event in tick.events]

    @property
    def kinds(self) -> list[str]:
        """What the events say."""
        return [event.kind.value for event in self.events]


@dataclass
class BrightnessDevice:
    """Answers P(yes) = brightness; takes `seconds` of the loop's time for a batch."""

    seconds: float = 0.0
    batches: list[int] = field(default_factory=list)
    questions: int = 1
    """How many are asked: each has the same answer."""

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer after the device's time."""
        await asyncio.sleep(self.seconds)
        self.batches.append(n)
        brightness = pixels[:n].mean(axis=(1, 2, 3), dtype=np.float32)[:, None] / np.float32(255)
        answers = np.repeat(brightness, self.questions, axis=1)
        return Answers(p_yes=answers, share=np.ones_like(answers))

    async def ask(self, prepared: object) -> None:
        """Answer so many questions from here on."""
        assert isinstance(prepared, int)
        self.questions = prepared


async def here(work: Callable[[], T]) -> T:
    """The real decoder, on this thread: virtual time knows no threads."""
    return work()


@dataclass
class Trial:
    """Remembers what it was given to try, and refuses the payloads that are to kill their decoder."""

    deadly: bytes | None = None
    tried: list[int] = field(default_factory=list)

    async def attempt(self, packet: FramePacket, request: DecodeRequest) -> None:
        """Refuse what is deadly."""
        del request
        self.tried.append(packet.position.offset)
        if packet.payload == self.deadly:
            raise UnusableRecord(stage="decode", reason="kills_decoder", message="it killed its decoder twice")


@dataclass
class World:
    """One worker and all that it touches."""

    source: ScriptedSource
    sink: RememberingSink = field(default_factory=RememberingSink)
    device: BrightnessDevice = field(default_factory=BrightnessDevice)
    trial: Trial = field(default_factory=Trial)
    config: WorkerConfig = CONFIG

    def worker(self) -> Worker:
        """The worker, not running yet."""
        return Worker(Ports(self.source, self.sink, self.device, here, self.trial), self.config)


def world(*polls: Poll, bounded: bool = True, device_s: float = 0.0, **config: object) -> World:
    """A world whose source assigns partition 0 and then gives `polls`."""
    source = ScriptedSource([Poll(assigned=(ASSIGNED,)), *polls], bounded=bounded)
    return World(source, device=BrightnessDevice(device_s), config=replace(CONFIG, **config))  # type: ignore[arg-type]
