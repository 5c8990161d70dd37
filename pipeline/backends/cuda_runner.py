"""Runs programs on a GPU: a CUDA graph per bucket, and copies that overlap with computing.

Batches compute one after the other on one stream. Two are in flight: while one computes, the other is brought to the card on a
stream of its own, through pinned memory, and waits for its turn there. The card is never without work, each batch has all of it,
and the graphs' memory is needed once.

Legend: B frames of a bucket, M frames of the largest, S image side, D answer slots of the rung.
"""

import contextlib
import queue
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import load
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule

from pipeline.backends import cuda_kernels
from pipeline.backends.backend import Spec
from pipeline.capacity import Capacity
from pipeline.errors import DeviceUnavailable
from pipeline.packing import QuestionInputs
from pipeline.stages import Program, Stage, join

assert cuda_kernels.__doc__  # programs name its operators, which exist once it is imported


class CudaRunner:
    """An artifact's programs on one GPU. See `Runner`."""

    submitters = 2  # one computes, one copies
    takes_any_batch = False

    def __init__(self, files: Mapping[Stage, Path], spec: Spec, core: int) -> None:
        """Load the programs.

        Raises:
            DeviceUnavailable: the GPU is taken, or has too little memory left.
        """
        self._device = torch.device("cuda", core)
        self._spec = spec
        self._rung: Capacity | None = None
        self._asked: tuple[Tensor, ...] = ()
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}
        self._turn = threading.Lock()
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        with _taking(self._device):
            programs = {stage: _load(file, self._device) for stage, file in files.items()}
            side = next(_side(program) for stage, program in programs.items() if stage in {Stage.FUSED, Stage.IMAGE})
            self._program: Program = join(programs)
            self._stream = _stream(self._device)
            self._frames_MSS3 = torch.zeros(spec.buckets[-1], side, side, 3, dtype=torch.uint8, device=self._device)
            for _ in range(self.submitters):
                self._free.put(_Lane(self._frames_MSS3, spec.capacity))

    def ask(self, questions: QuestionInputs) -> None:
        """See `Runner`. Graphs are captured anew only where the set takes another rung.

        Raises:
            QuestionError: it is over the capacity.
            DeviceUnavailable: the graphs do not fit into the GPU's memory.
        """
        self._spec.capacity.refuse(questions.size)
        rung = next(rung for rung in self._spec.rungs() if rung.holds(questions.size))
        arrays = [torch.from_numpy(array) for array in questions.padded(rung).arrays]
        with _taking(self._device):
            if rung == self._rung:
                for held, array in zip(self._asked, arrays, strict=True):
                    held.copy_(array)
            else:
                self._asked = tuple(array.to(self._device) for array in arrays)
            torch.cuda.synchronize(self._device)  # the graphs' stream does not wait for the one that the copies ran on
            if rung != self._rung:
                self._rung = None
                self._capture()
                self._rung = rung

    def run(self, frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runner`."""
        lane = self._free.get()
        try:
            return self._run(lane, frames_BSS3)
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """See `Runner`."""
        self._graphs.clear()
        self._free = queue.SimpleQueue()
        self._asked = ()
        del self._program, self._frames_MSS3
        torch.cuda.empty_cache()

    def _capture(self) -> None:
        """Record the program once per bucket, reading `_asked`; the graphs share one pool of memory."""
        self._graphs.clear()
        torch.cuda.empty_cache()
        pool = torch.cuda.graph_pool_handle()
        for bucket in reversed(self._spec.buckets):  # the largest first: the others fit into its memory
            inputs = (self._frames_MSS3[:bucket], *self._asked)
            with torch.no_grad(), torch.cuda.stream(self._stream):
                self._program(*inputs)  # libraries choose their kernels and take their workspaces outside of the capture
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # other threads may use the card meanwhile, for another artifact, say
            with torch.no_grad(), torch.cuda.graph(graph, pool, self._stream, capture_error_mode="thread_local"):
                scores_BD2 = self._program(*inputs)
            self._graphs[bucket] = graph, scores_BD2

    def _run(self, lane: "_Lane", frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        bucket = len(frames_BSS3)
        graph, scores_BD2 = self._graphs[bucket]
        arrived_BSS3 = lane.bring(frames_BSS3)
        with self._turn, torch.no_grad(), torch.cuda.stream(self._stream):  # nothing of another batch may come in between
            self._stream.wait_event(lane.arrived)
            self._frames_MSS3[:bucket].copy_(arrived_BSS3)
            graph.replay()
            host_scores_BD2 = lane.fetch(scores_BD2)
        lane.done.synchronize()
        return host_scores_BD2.numpy().copy()


class _Lane:
    """What one batch in flight needs of its own: pinned buffers, a place on the card, a stream to get there."""

    def __init__(self, frames_MSS3: Tensor, capacity: Capacity) -> None:
        largest = len(frames_MSS3)
        self.arrived, self.done = _event(), _event()
        self._stream = _stream(frames_MSS3.device)
        self._frames_MSS3 = torch.zeros_like(frames_MSS3)
        self._host_frames_MSS3 = torch.zeros(frames_MSS3.shape, dtype=torch.uint8, pin_memory=True)
        self._host_view_MSS3: NDArray[np.uint8] = self._host_frames_MSS3.numpy()
        self._host_scores = torch.zeros(largest * capacity.slots * 2, dtype=torch.float32, pin_memory=True)

    def bring(self, frames_BSS3: NDArray[np.uint8]) -> Tensor:
        """Begin to copy a batch to the card; `arrived` tells when it is there."""
        bucket = len(frames_BSS3)
        np.copyto(self._host_view_MSS3[:bucket], frames_BSS3)
        with torch.no_grad(), torch.cuda.stream(self._stream):
            self._frames_MSS3[:bucket].copy_(self._host_frames_MSS3[:bucket], non_blocking=True)
            self.arrived.record()
        return self._frames_MSS3[:bucket]

    def fetch(self, scores_BD2: Tensor) -> Tensor:
        """Begin to copy scores to the host on the current stream; `done` tells when they are there."""
        host_scores_BD2 = self._host_scores[: scores_BD2.numel()].view(scores_BD2.shape)
        host_scores_BD2.copy_(scores_BD2, non_blocking=True)
        self.done.record()
        return host_scores_BD2


def _stream(device: torch.device) -> torch.cuda.Stream:
    untyped: Any = torch.cuda.Stream
    made: torch.cuda.Stream = untyped(device)
    return made


def _event() -> torch.cuda.Event:
    untyped: Any = torch.cuda.Event
    made: torch.cuda.Event = untyped(blocking=True)  # a waiting thread sleeps: decoders need the cores
    return made


def _load(file: Path, device: torch.device) -> GraphModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export speaks of its own internals
        program = move_to_device_pass(load(file), device).module(check_guards=False)
    assert isinstance(program, GraphModule), type(program)
    return program


def _side(program: GraphModule) -> int:
    """Side of the frames that a program reads, which are its first input."""
    frames_BSS3 = program.graph.find_nodes(op="placeholder")[0].meta["val"]
    return int(frames_BSS3.shape[1])


@contextlib.contextmanager
def _taking(device: torch.device) -> Iterator[None]:
    """Make the device the current one; say it if it cannot be had.

    Raises:
        DeviceUnavailable: it is taken, or its memory is.
    """
    try:
        with torch.cuda.device(device):
            yield
    except torch.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info(device)
        msg = (
            f"{device} has too little memory ({free >> 20} of {total >> 20} MiB are free): "
            "compile smaller buckets, or give the worker a GPU of its own"
        )
        raise DeviceUnavailable(msg) from error
    except RuntimeError as error:
        msg = f"{device} cannot be used: {error}"
        raise DeviceUnavailable(msg) from error
