"""A Neuron artifact's programs on one core. Needs nothing of AWS's: a loaded program is a callable of CPU tensors."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backends.backend import Component, Spec
from pipeline.capacity import Capacity
from pipeline.packing import QuestionInputs
from pipeline.stages import READS_QUESTIONS, STAGES, Program, Stage, join


class NeuronRunner:
    """See `pipeline.backends.backend.Runner`.

    Two threads keep a core busy: one batch's tensors move while the other is computed (AWS's NeuronPerf: 2 threads per model).
    A call of a ScriptModule lets go of the interpreter's lock.
    """

    submitters = 2
    takes_any_batch = False

    def __init__(self, spec: Spec, loaded: Mapping[Component, Program]) -> None:
        """Take what was loaded, and torch's threads: the host has two cores to a NeuronCore and decodes frames on them.

        Args:
            spec: what was compiled.
            loaded: a program per component of it.
        """
        self._spec = spec
        self._joined = {
            (bucket, rung): join({stage: loaded[_component(stage, bucket, rung)] for stage in STAGES[spec.layout]})
            for bucket in spec.buckets
            for rung in spec.rungs()
        }
        self._rung: Capacity | None = None
        self._questions: tuple[Tensor, ...] = ()
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(1)

    def ask(self, questions: QuestionInputs) -> None:
        """Pad to the smallest rung that holds them."""
        self._spec.capacity.refuse(questions.size)
        rung = next(rung for rung in self._spec.rungs() if rung.holds(questions.size))
        self._questions = tuple(map(torch.from_numpy, questions.padded(rung).arrays))
        self._rung = rung

    def run(self, frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score exactly a bucket of frames, to float32 (bucket, D of the rung, 2)."""
        bucket = len(frames_BSS3)
        assert frames_BSS3.dtype == np.uint8, frames_BSS3.dtype
        assert bucket in self._spec.buckets, (bucket, self._spec.buckets)
        assert self._rung is not None, "ask first"
        # torch refuses to share what may not be written
        frames = frames_BSS3 if frames_BSS3.flags.writeable else frames_BSS3.copy()
        with torch.no_grad():
            scores_BD2: NDArray[np.float32] = self._joined[bucket, self._rung](torch.from_numpy(frames), *self._questions).numpy()
        return scores_BD2

    def close(self) -> None:
        """Let go of the programs. The core itself stays this process's until it ends."""
        self._joined.clear()
        torch.set_num_threads(self._threads_before)


def _component(stage: Stage, bucket: int, rung: Capacity) -> Component:
    return Component(stage, bucket, rung if stage in READS_QUESTIONS else None)
