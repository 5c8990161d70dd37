"""What a kind of device must offer: compile a stage, load an artifact's programs on a core, run them, classify its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.capacity import RUNGS, Capacity
from pipeline.packing import QuestionInputs
from pipeline.stages import STAGES, Layout, Stage

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pipeline.blip import BlipVqa


class Precision(StrEnum):
    """What the matrix products are computed in; answers are float32 always."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to be compiled."""

    backend: str
    precision: Precision
    layout: Layout
    buckets: tuple[int, ...]
    """Batch sizes, ascending."""
    capacity: Capacity
    """The largest question set."""
    has_separate_weights: bool = False
    """Neuron: weights beside the program, so that they can be replaced without compiling; the device loads them at start."""

    def rungs(self) -> tuple[Capacity, ...]:
        """Question capacities that static shapes are compiled in, ascending; the last is `capacity`."""
        return (*(rung for rung in RUNGS if rung != self.capacity and self.capacity.holds(rung)), self.capacity)


@dataclass(frozen=True, slots=True)
class Component:
    """One compiled program: a stage, at fixed sizes where the device wants them."""

    stage: Stage
    bucket: int | None = None
    """Frames; None: any number up to the largest bucket."""
    capacity: Capacity | None = None
    """Question inputs; None: any up to the artifact's capacity, or the stage reads none."""

    @property
    def name(self) -> str:
        """Name of its folder in the artifact, such as `fused` or `text-encoder-b4-16x128`."""
        sizes = [f"b{self.bucket}"] * (self.bucket is not None) + [str(self.capacity)] * (self.capacity is not None)
        return "-".join([self.stage.value, *sizes])


def one_program_each(spec: Spec) -> tuple[Component, ...]:
    """Components of a device whose programs take any size."""
    return tuple(Component(stage) for stage in STAGES[spec.layout])


class Failure(Enum):
    """What to do about an error of a running program."""

    RETRY = "the batch can be tried again"
    BAD_INPUT = "the device is well, this batch it cannot answer"
    DEVICE_LOST = "the device is of no more use to this process"


class Runner(Protocol):
    """An artifact's programs on one core, answering one question set at a time."""

    submitters: int
    """Threads that may be in `run` at once; more gain nothing."""
    takes_any_batch: bool
    """Whether fewer frames than a bucket may be given, and cost less."""

    def ask(self, questions: QuestionInputs) -> None:
        """Take a question set. Called while nothing runs.

        Raises:
            QuestionError: it is over the capacity.
            DeviceUnavailable: what is prepared for its size does not fit into the device's memory.
        """
        ...

    def run(self, frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score frames, uint8 (bucket, S, S, 3), to float32 (bucket, D or more, 2); thread-safe for `submitters` threads.

        Raises:
            Exception: the device's own; `Backend.classify` says what it means.
        """
        ...

    def close(self) -> None:
        """Let go of the device. Nothing runs any more."""
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """What a backend loads."""

    spec: Spec
    folders: Mapping[Component, Path]
    """Folder of each component, written by the same backend's `compile`."""
    shared: Path
    """Folder of what `prepare` left for all of them (weights, say)."""


class Backend(Protocol):
    """A kind of device. Importing its file and calling anything but `compile` and `load` needs no vendor package."""

    name: str

    def refusal(self, spec: Spec) -> str | None:
        """Say why this machine cannot compile that, in a sentence with the remedy; None if it can."""
        ...

    def environment(self, core: int) -> Mapping[str, str]:
        """Environment variables that must be set before the vendor package is imported."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Versions that a program depends on, by package; they must be the same where it runs.

        Raises:
            DeviceUnavailable: the vendor package is not installed, with the way to install it.
        """
        ...

    def flags(self, spec: Spec) -> tuple[str, ...]:
        """What the compiler is told, for the manifest."""
        ...

    def components(self, spec: Spec) -> tuple[Component, ...]:
        """Programs to compile, in order."""
        ...

    def prepare(self, blip: "BlipVqa", spec: Spec, shared: Path) -> "tuple[BlipVqa, torch.dtype]":
        """Bring a float32 model, which may be changed in place, to the precision.

        Returns:
            The model to compile, and the dtype of what passes between its stages.
        """
        ...

    def compile(self, stage: "nn.Module", inputs: "Sequence[Tensor]", component: Component, spec: Spec, folder: Path) -> None:
        """Write the program of one component into its (empty) folder.

        Raises:
            CompileFailed: the compiler refused; with its last words.
        """
        ...

    def load(self, programs: Programs, core: int) -> Runner:
        """Load an artifact on a core.

        Raises:
            DeviceUnavailable: there is no such device here, or it is taken.
        """
        ...

    def classify(self, error: Exception) -> Failure:
        """Say what an error of `Runner.run` means."""
        ...

    def remedy(self, error: Exception) -> str:
        """Say what whoever runs the host can do about it."""
        ...
