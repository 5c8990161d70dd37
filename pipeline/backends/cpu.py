"""The host's processor: one `torch.export` program per stage that takes any batch and any question set up to the capacity.

Nothing is compiled for the machine at hand: the programs call the kernels of PyTorch and oneDNN, which choose by instruction set
when they run. So an artifact moves between hosts, and neither side needs a C++ compiler.
"""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export, load, save
from torch.fx import GraphModule, Node

from pipeline.backends.backend import Component, Failure, Programs, Spec, one_program_each
from pipeline.backends.cpu_layers import attends_in_half, keep_freed_memory, lower, missing_instructions
from pipeline.blip import BlipVqa
from pipeline.capacity import Capacity
from pipeline.errors import CompileFailed, DeviceUnavailable
from pipeline.packing import QuestionInputs
from pipeline.stages import Program, Stage, dynamic_axes, join

_PROGRAM = "program.pt2"


class Cpu:
    """The backend `cpu`."""

    name = "cpu"

    def refusal(self, spec: Spec) -> str | None:
        """See `Backend`."""
        return missing_instructions(spec.precision.value)

    def environment(self, core: int) -> Mapping[str, str]:
        """See `Backend`: nothing."""
        assert core == 0, core
        return {}

    def versions(self) -> Mapping[str, str]:
        """See `Backend`: a program names PyTorch's operators, which change between minor versions."""
        return {"torch": torch.__version__.split("+")[0]}

    def flags(self, spec: Spec) -> tuple[str, ...]:
        """See `Backend`."""
        attention = "bf16" if attends_in_half(spec.precision.value) else "fp32"  # what this host chose is in the program
        return f"largest batch {spec.buckets[-1]}", f"attention {attention}"

    def components(self, spec: Spec) -> tuple[Component, ...]:
        """See `Backend`."""
        return one_program_each(spec)

    def prepare(self, blip: BlipVqa, spec: Spec, shared: Path) -> tuple[BlipVqa, torch.dtype]:
        """See `Backend`; weights stand in the programs, once, so nothing is shared."""
        del shared
        return lower(blip, spec.precision.value), torch.float32

    def compile(self, stage: nn.Module, inputs: Sequence[Tensor], component: Component, spec: Spec, folder: Path) -> None:
        """See `Backend`."""
        sizes = Dim("batch", min=1, max=max(spec.buckets[-1], 2)), Dim("tokens", min=1, max=max(spec.capacity.tokens, 2))
        slots = Dim("slots", min=1, max=max(spec.capacity.slots, 2))
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.export speaks of its own internals
                program = export(stage, tuple(inputs), dynamic_shapes=dynamic_axes(component.stage, *sizes, slots))
                _drop_idle_steps(program)
                save(program, folder / _PROGRAM)
        except (RuntimeError, ValueError, OSError) as error:
            msg = f"torch.export refused the {component.name}: {error}"
            raise CompileFailed(msg) from error

    def load(self, programs: Programs, core: int) -> "CpuRunner":
        """See `Backend`."""
        assert core == 0, core
        if (missing := missing_instructions(programs.spec.precision.value)) is not None:
            raise DeviceUnavailable(missing)
        if (quota := _quota()) is not None:
            torch.set_num_threads(min(torch.get_num_threads(), quota))
        keep_freed_memory()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded: dict[Stage, Program] = {
                component.stage: _with_weights_at_hand(load(folder / _PROGRAM).module())
                for component, folder in programs.folders.items()
            }
        return CpuRunner(join(loaded), programs.spec.capacity)

    def classify(self, error: Exception) -> Failure:
        """See `Backend`: a processor has no passing moods; what fails once fails again."""
        del error
        return Failure.DEVICE_LOST

    def remedy(self, error: Exception) -> str:
        """See `Backend`."""
        del error
        return "check this host's memory, then start the worker again"


def _quota() -> int | None:
    """Processors that a container may use, which PyTorch does not ask: cgroup v2's `cpu.max` is quota and period, us."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or `max`
        return None


def _drop_idle_steps(program: ExportedProgram) -> None:
    """Take out what the export leaves behind and no answer depends on: each step costs its call at every frame."""
    graph = program.graph_module.graph
    aten = torch.ops.aten
    for node in list(graph.nodes):
        if node.target is aten._assert_tensor_metadata.default:  # noqa: SLF001  (the operator's name)
            graph.erase_node(node)
        elif node.target is aten.dropout.default or (node.target is aten.to.dtype and _changes_nothing(node)):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
    program.graph_module.recompile()


def _with_weights_at_hand(program: GraphModule) -> GraphModule:
    """Let every weight be one look-up away: behind a path of modules each costs several, at every frame."""
    for number, node in enumerate(program.graph.find_nodes(op="get_attr")):
        name = f"weight_{number}"
        program.__dict__[name] = attrgetter(str(node.target))(program)
        node.target = name
    program.recompile()
    return program


def _changes_nothing(cast: Node) -> bool:
    given = cast.args[0]
    return isinstance(given, Node) and given.meta["val"].dtype == cast.meta["val"].dtype


class CpuRunner:
    """The programs on the host's threads. See `Runner`.

    A batch that divides evenly is split: each thread runs its own frames alone, which saves the threads waiting for each other
    after every operator and keeps a frame in one core's cache. What does not divide is run by all threads together.
    """

    submitters = 1  # one call keeps every core busy
    takes_any_batch = True

    def __init__(self, program: Program, capacity: Capacity) -> None:
        """Take the joined program."""
        self._program = program
        self._capacity = capacity
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="cpu", initializer=lambda: torch.set_num_threads(1))

    def ask(self, questions: QuestionInputs) -> None:
        """See `Runner`."""
        self._capacity.refuse(questions.size)
        self._questions = tuple(map(torch.from_numpy, questions.arrays))

    def run(self, frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Runner`."""
        frames = torch.tensor(frames_BSS3)
        if self._threads == 1 or len(frames) % self._threads:
            return self._score(frames)
        return np.concatenate(list(self._pool.map(self._score, frames.chunk(self._threads))))

    def _score(self, frames_BSS3: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():  # of this thread
            scores: NDArray[np.float32] = self._program(frames_BSS3, *self._questions).numpy()
        return scores

    def close(self) -> None:
        """See `Runner`."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def make() -> Cpu:
    """The backend."""
    return Cpu()
