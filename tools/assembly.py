"""Joins a model, a questions file and a decoder into the worker's ports: what `worker`, `watch` and `demo` have in common.

Threads live here: one for the device (calls must not overlap) and a few for decoding, so that neither ever runs on the event
loop, where Kafka's heartbeats are.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.checkpoint import load
from pipeline.engine import CpuEngine
from stream.alerts import AlertContext
from stream.cameras import CameraRegistry
from stream.decode import Decoded, DecodeLimits, DecodeRequest, decode
from stream.ports import Sink, Source
from stream.types import FramePacket
from stream.worker import Ports, Worker, WorkerConfig
from tools.questions import QuestionFile, load_cameras, load_questions

DECODE_THREADS = 4
"""Decoders wait for memory more than for each other; four keep a small host's cores busy."""


@dataclass(frozen=True, slots=True)
class Device:
    """A warmed engine on its own thread, the decoder threads, and what was asked."""

    engine: CpuEngine
    asked: QuestionFile
    cameras: CameraRegistry
    _device_thread: ThreadPoolExecutor
    _decode_threads: ThreadPoolExecutor

    async def infer(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer a batch on the device's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._device_thread, self.engine.answer, pixels, n)

    async def decode(self, packet: FramePacket, interval_s: float, admit: Callable[[float], bool]) -> Decoded:
        """Decode a packet on a decoder thread."""
        request = DecodeRequest(size=self.engine.image_size, interval_s=interval_s, limits=DecodeLimits())
        return await asyncio.get_running_loop().run_in_executor(self._decode_threads, decode, packet, request, admit)

    def worker(self, source: Source, sink: Sink) -> Worker:
        """Wire a worker between a source and a sink."""
        config = WorkerConfig(
            behaviors=self.asked.questions.behaviors,
            debounce=self.asked.debounce,
            clock=self.asked.clock,
            cameras=self.cameras,
            buckets=self.engine.buckets,
        )
        return Worker(Ports(source, sink, self.decode, self.infer), config)

    def alert_context(self, group: str) -> AlertContext:
        """What every alert says about its origin."""
        return AlertContext(
            source=f"/pawsight/{quote(group, safe='')}",
            model=self.engine.model_id,
            artifact=self.engine.weights,
            questions=self.asked.questions.fingerprint,
        )


@contextmanager
def open_device(model: str, questions: Path, cameras: Path | None) -> Iterator[Device]:
    """Load and warm a model for a questions file.

    Raises:
        CheckpointError, QuestionError, CommandError, DeviceLost: what is wrong with the model, the file or the device.
    """
    asked = load_questions(questions)
    registry = load_cameras(cameras, asked)
    engine = CpuEngine(load(model), asked.questions)
    engine.warm()
    device = ThreadPoolExecutor(1, thread_name_prefix="device")
    decoders = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")
    try:
        yield Device(engine, asked, registry, device, decoders)
    finally:  # never wait: after a failure a thread may hang in the device for ever
        device.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=False, cancel_futures=True)
