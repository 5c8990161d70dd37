"""The compiled contenders: one artifact per precision, made in this process and loaded."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.backends import backend
from pipeline.backends.backend import Precision, Spec
from pipeline.capacity import DEFAULT_CAPACITY, Capacity
from pipeline.checkpoint import Checkpoint
from pipeline.compile import Report, Trial, compile_artifact
from pipeline.engine import Device, Engine
from pipeline.packing import pack
from pipeline.questions import Question, QuestionSet
from pipeline.stages import Layout
from tools.compile import scenes
from tools.train.model import WORDINGS

BACKEND = "cpu"
PICTURES = 4
"""Different pictures in a batch; larger buckets repeat them. `generate()` takes 9 s for each at the base model's size."""
_COMPARED = 2
"""Pictures that `compile` compares on; the contest compares by itself, so this only makes the artifact whole."""
EIGHT_TOKENS = "is there a dog barking?"
"""Six words and marks, [CLS] and [SEP]."""

Source = Callable[[], Checkpoint]
"""Makes the same checkpoint anew: a compiled one may be changed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    questions: QuestionSet
    buckets: tuple[int, ...]
    """Batch sizes, ascending."""
    precisions: tuple[Precision, ...]
    """Fp32 among them."""
    rounds: int
    torch_compile_s: float | None
    """Longest time for torch.compile, seconds; None leaves it out."""

    def __post_init__(self) -> None:
        """Hold what the figures rely on."""
        assert Precision.FP32 in self.precisions, self.precisions


def question_set(count: int) -> QuestionSet:
    """So many questions of a pet camera's usual length; beyond eight the wordings repeat."""
    return QuestionSet(tuple(Question(f"question_{index + 1}", WORDINGS[index % len(WORDINGS)]) for index in range(count)))


def rung_set(count: int) -> QuestionSet:
    """So many questions of eight tokens each."""
    return QuestionSet(tuple(Question(f"question_{index + 1}", EIGHT_TOKENS) for index in range(count)))


def refusal(precision: Precision, buckets: tuple[int, ...]) -> str | None:
    """Why this machine cannot compute in a precision; None if it can."""
    return backend(BACKEND).refusal(_spec(precision, buckets, DEFAULT_CAPACITY))


def compile_engines(source: Source, plan: Plan, folder: Path, report: Report) -> dict[Precision, Engine]:
    """Compile and load one engine per precision; the memory of each checkpoint is free again before the next."""
    engines = {}
    for precision in plan.precisions:
        report(f"{precision.value}: building the model", 0, 1)
        engines[precision] = _compile(source(), precision, plan, folder, report)
        gc.collect()  # exported graphs refer to themselves
    return engines


def _compile(checkpoint: Checkpoint, precision: Precision, plan: Plan, folder: Path, report: Report) -> Engine:
    needed = pack(plan.questions, checkpoint.vocabulary).inputs.size
    capacity = Capacity(max(DEFAULT_CAPACITY.slots, needed.slots), max(DEFAULT_CAPACITY.tokens, needed.tokens))
    pictures = scenes(_COMPARED, checkpoint.image.size)
    artifact = compile_artifact(
        checkpoint,
        _spec(precision, plan.buckets, capacity),
        Trial(plan.questions, pictures, is_forced=True),  # a deviation is reported, not died of
        folder / precision.value,
        lambda what, done, total: report(f"{precision.value}: {what}", done, total),
    )
    return Engine(artifact, Device(BACKEND), plan.questions)


def _spec(precision: Precision, buckets: tuple[int, ...], capacity: Capacity) -> Spec:
    return Spec(BACKEND, precision, Layout.FUSED, buckets, capacity)
