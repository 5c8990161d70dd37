"""Compiles small checkpoints in this process, for tests that are about what comes behind the compiler."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifact import Artifact
from pipeline.backends.backend import Precision, Spec
from pipeline.capacity import DEFAULT_CAPACITY, Capacity
from pipeline.checkpoint import Checkpoint, load
from pipeline.compile import Trial, compile_artifact
from pipeline.engine import Device, Engine
from pipeline.questions import QuestionSet
from pipeline.stages import Layout
from tests.integration.tiny_checkpoint import QUESTIONS, pictures

BUCKETS = (1, 2, 4, 8)


def spec(
    *,
    backend: str = "cpu",
    precision: Precision = Precision.FP32,
    layout: Layout = Layout.FUSED,
    buckets: tuple[int, ...] = BUCKETS,
    capacity: Capacity = DEFAULT_CAPACITY,
) -> Spec:
    """What most tests compile."""
    return Spec(backend, precision, layout, buckets, capacity)


def compiled(
    model: Checkpoint | Path,
    folder: Path,
    wanted: Spec | None = None,
    questions: QuestionSet = QUESTIONS,
    *,
    is_forced: bool = False,
) -> Artifact:
    """Compile a checkpoint into `folder`, compared on four pictures."""
    checkpoint = load(str(model)) if isinstance(model, Path) else model
    trial = Trial(questions, pictures(4, checkpoint.image.size), is_forced)
    return compile_artifact(checkpoint, wanted or spec(), trial, folder, lambda _what, _done, _total: None)


def on_cpu(artifact: Artifact, questions: QuestionSet = QUESTIONS) -> Engine:
    """Load an artifact."""
    return Engine(artifact, Device("cpu"), questions)


def padded(frames_NSS3: NDArray[np.uint8], bucket: int, filling: int = 0) -> NDArray[np.uint8]:
    """A bucket that begins with these frames."""
    batch = np.full((bucket, *frames_NSS3.shape[1:]), filling, np.uint8)
    batch[: len(frames_NSS3)] = frames_NSS3
    return batch
