"""Joins a model, a questions file and a decoder into the worker's ports: what `worker`, `watch` and `demo` have in common.

Threads live here: one for the device (calls must not overlap) and a few for decoding, so that neither ever runs on the event
loop, where Kafka's heartbeats are. They have their names in the process table, too: there `top -H` and `stress` see whose
processor time it is.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from pipeline.answers import Answers
from pipeline.engine import Engine
from pipeline.errors import DeviceLost
from stream.alerts import AlertContext
from stream.answering import Reload
from stream.cameras import CameraRegistry
from stream.decode.trial import Trial
from stream.intake import IntakeConfig
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.exactly_once import ExactlyOnce
from stream.kafka.partition_client import DeliveryConfig
from stream.kafka.source import KafkaSource
from stream.kafka.topology import TopicNames
from stream.ports import Sink, Source
from stream.protocol import Policy, StartFrom
from stream.state_records import QuestionRevision
from stream.types import Observation
from stream.worker import Ports, Worker, WorkerConfig
from tools import settings
from tools.devices import DeviceChoice, start
from tools.questions import QuestionFile, load_cameras, load_questions, reload_questions
from tools.screen import err

T = TypeVar("T")

DECODE_THREADS = 4
"""Decoders wait for memory more than for each other; four keep a small host's cores busy."""


@dataclass(slots=True)
class Device:
    """A warmed engine on its own thread, the decoder threads, and what was asked."""

    engine: Engine
    asked: QuestionFile
    cameras: CameraRegistry
    trial: Trial
    """Where records are decoded that may have killed a worker."""
    _device_thread: ThreadPoolExecutor
    _decode_threads: ThreadPoolExecutor

    async def infer(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer a batch on the device's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._device_thread, self.engine.answer, pixels, n)

    async def prepare(self, asked: QuestionFile) -> Reload:
        """Get ready to ask what another questions file says; the device goes on with what it asks.

        Raises:
            QuestionError: the questions do not fit the model.
        """
        prepared = await self.in_thread(lambda: self.engine.prepare(asked.questions))
        return Reload(asked.questions.behaviors, asked.debounce, asked.revision, prepared)

    async def ask(self, prepared: object) -> None:
        """Turn to what was prepared, on the device's thread.

        Raises:
            DeviceLost: the device did not turn; what it asks now is not known.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._device_thread, self.engine.ask, cast("Any", prepared))  # what `prepare` returned
        except Exception as error:
            msg = f"{self.engine.device} did not take the other questions: {error}"
            raise DeviceLost(msg) from error

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run a decoder's work on a decoder thread."""
        return await asyncio.get_running_loop().run_in_executor(self._decode_threads, work)

    def worker(self, source: Source, sink: Sink, on_observation: Callable[[Observation], None] | None = None) -> Worker:
        """Wire a worker between a source and a sink; `on_observation` hears what was observed on each frame."""
        config = WorkerConfig(
            behaviors=self.asked.questions.behaviors,
            debounce=self.asked.debounce,
            intake=IntakeConfig(
                clock=self.asked.clock,
                cameras=self.cameras,
                image_size=self.engine.image_size,
                lost_after_s=self.asked.debounce.lost_after_s,
            ),
            questions=self.asked.revision,
            buckets=self.engine.buckets,
            submitters=self.engine.submitters,
        )
        return Worker(Ports(source, sink, self.infer, self.in_thread, self.trial, self.ask, on_observation), config)

    def alert_context(self, group: str) -> AlertContext:
        """What every alert says about its origin."""
        return AlertContext(
            source=f"/pawsight/{quote(group, safe='')}",
            model=self.engine.model_id,
            artifact=self.engine.artifact.manifest.id,
            questions=self.asked.questions.fingerprint,
        )


@contextmanager
def open_device(choice: DeviceChoice, cameras: Path | None) -> Iterator[Device]:
    """Start a device and warm it for a questions file.

    Raises:
        PipelineError, CommandError: what is wrong with the model, the file or the device.
    """
    asked = load_questions(choice.questions)
    registry = load_cameras(cameras, asked)
    engine = start(choice, asked.questions)
    _warn_of_foreign_scores(asked, engine, choice.questions)
    device = named_threads(engine.submitters, "device")
    decoders = named_threads(DECODE_THREADS, "decode")
    try:
        yield Device(engine, asked, registry, Trial(), device, decoders)
    finally:  # never wait: after a failure a thread may hang in the device for ever
        device.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=False, cancel_futures=True)


def named_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Make threads that bear their name in Linux's process table, too."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_tell_name, initargs=(name,))


def _tell_name(name: str) -> None:
    """Name this thread as Python does from 3.14 on; threads that it starts inherit the name."""
    with suppress(OSError):  # no Linux
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name, encoding="ascii")


def _warn_of_foreign_scores(asked: QuestionFile, engine: Engine, questions: Path) -> None:
    if asked.calibrated_for not in (None, engine.artifact.manifest.weights):
        said = f"{questions} was calibrated for other weights than {engine.model_id}'s: calibrate it again for these"
        err.print(f"[yellow]warning:[/] {escape(said)}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a worker is attached to a cluster."""

    connection: KafkaConnection
    names: TopicNames
    start_from: StartFrom = "earliest"
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class Attached:
    """A worker on a cluster, and what it rests on."""

    worker: Worker
    source: KafkaSource
    delivery: ExactlyOnce
    _device: Device
    _policy: Policy

    async def reload(self, questions: Path) -> QuestionRevision:
        """Read the questions file again; from the next batch on what it says is asked.

        Raises:
            CommandError, QuestionError: the file cannot be taken, and nothing has changed.
        """
        device, accept_older = self._device, self._policy.accept_older_revision
        before, cameras = device.asked, device.cameras
        asked = await device.in_thread(lambda: reload_questions(questions, before, cameras, accept_older=accept_older))
        _warn_of_foreign_scores(asked, device.engine, questions)
        await self.delivery.turn(self.worker, await device.prepare(asked))
        device.asked = asked
        return asked.revision


@asynccontextmanager
async def attached(
    device: Device, attachment: Attachment, on_observation: Callable[[Observation], None] | None = None
) -> AsyncIterator[Attached]:
    """Join the group, with a worker that is ready to run; leave it at the end.

    Args:
        device: what answers.
        attachment: to which cluster, and how.
        on_observation: hears what was observed on each frame; of one that is done again, again.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed, or there is no such topic.
    """
    names = attachment.names
    revision = device.asked.revision.number
    config = DeliveryConfig(writer=settings.worker_name(), start_from=attachment.start_from, revision=revision)
    delivery = ExactlyOnce(attachment.connection, names, device.alert_context(names.group), config, attachment.policy)
    async with delivery, KafkaSource(attachment.connection, SourceConfig(names.frames, names.group), delivery) as source:
        try:
            yield Attached(device.worker(source, delivery, on_observation), source, delivery, device, attachment.policy)
        finally:
            await device.trial.close()
