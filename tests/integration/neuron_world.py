"""The Neuron backend on the stand-in of torch_neuronx: compile and load in this process or in a child."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline import stages
from pipeline.backends.backend import Precision, Programs, Spec
from pipeline.backends.neuron import make
from pipeline.blip import BlipVqa
from pipeline.capacity import Capacity
from pipeline.packing import QuestionInputs
from pipeline.questions import Question, QuestionSet
from pipeline.stages import Layout

STAND_IN = Path(__file__).parent / "neuron_stand_in"
ROOT = Path(__file__).parents[2]
SMALL, LARGE = Capacity(8, 72), Capacity(16, 128)
BUCKETS = (1, 2)
MANY = QuestionSet(tuple(Question(f"asked_{index}", "is there a dog?") for index in range(11)))
"""Takes the larger rung; `QUESTIONS` the smaller."""


def spec_of(layout: Layout, *, precision: Precision = Precision.FP32, has_separate_weights: bool = False) -> Spec:
    """Two buckets, two rungs."""
    return Spec("neuron", precision, layout, BUCKETS, LARGE, has_separate_weights)


@contextmanager
def machine(folder: Path, *, core: int = 1, packages: Path = STAND_IN, **asked: str) -> Iterator[None]:
    """Be a process on a machine with the stand-in: environment as the backend wants it, package on the path, not yet imported."""
    patch = pytest.MonkeyPatch()
    said = dict(make().environment(core)) | {"STAND_IN_HOST": str(folder)} | asked
    for name, value in said.items():
        patch.setenv(name, value)
    patch.syspath_prepend(packages)
    patch.setattr(torch.jit, "load", torch.jit.load)  # which the stand-in replaces at import
    try:
        yield
    finally:
        if "torch_neuronx" in sys.modules:
            host().release()
        for name in [name for name in sys.modules if name.split(".")[0] == "torch_neuronx"]:
            del sys.modules[name]
        patch.undo()


def host() -> Any:
    """The stand-in's view of the machine; the backend must have imported it."""
    return sys.modules["torch_neuronx"].HOST


def fail_next(folder: Path, text: str) -> None:
    """Let the next execution on the machine raise."""
    (folder / "fail").write_text(text, encoding="utf-8")


def compile_all(blip: BlipVqa, spec: Spec, folder: Path) -> Programs:
    """Compile what the backend says an artifact consists of."""
    backend = make()
    model, dtype = backend.prepare(blip, spec, folder)
    shapes = stages.Shapes.of(model)
    folders = {}
    for part in backend.components(spec):
        assert part.bucket is not None
        folders[part] = folder / part.name
        folders[part].mkdir(parents=True)
        inputs = stages.example(part.stage, shapes, part.bucket, part.capacity or spec.capacity, dtype)
        backend.compile(stages.module(model, part.stage), inputs, part, spec, folders[part])
    return Programs(spec, folders, folder)


def expected(blip: BlipVqa, frames: NDArray[np.uint8], questions: QuestionInputs) -> NDArray[np.float32]:
    """What the reference module says, without any padding."""
    with torch.no_grad():
        said: NDArray[np.float32] = blip(torch.tensor(frames), *map(torch.tensor, questions.arrays)).numpy()
    return said


def child(script: str, folder: Path, *arguments: str, core: int = 0, **asked: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own on the machine."""
    told = dict(make().environment(core)) | {"STAND_IN_HOST": str(folder), "PYTHONPATH": f"{ROOT}:{STAND_IN}"} | asked
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        env=os.environ | told,  # noqa: TID251  (a child's environment, not ours)
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
