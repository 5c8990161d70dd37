"""What a traced program is in the stand-in: the module's own graph between two operators that are as strict as a compiled one.

The operators live in the saved file, so that it loads only where torch_neuronx is imported, as the real `neuron::forward` does.
"""

import re
import sys
import uuid
from typing import Any

import torch
from torch import Tensor, library, nn

NAMES = {torch.float32: "f32", torch.int32: "s32", torch.uint8: "u8", torch.bfloat16: "bf16", torch.float16: "f16"}
_PROGRAM = re.compile(r"neuron-program (\w+) (inline|separate)")

is_tracing = False


class Program(nn.Module):
    """The module with its inputs fixed."""

    def __init__(self, module: Any, inputs: tuple[Tensor, ...], *, is_inline: bool) -> None:
        super().__init__()
        self.module = module
        weights = "inline" if is_inline else "separate"
        self._says = f"neuron-program {uuid.uuid4().hex} {weights} {' '.join(map(described, inputs))}"

    def forward(self, *inputs: Tensor) -> Tensor:
        """Check, run, check."""
        output: Tensor = self.module(*torch.ops.neuron_stand_in.enter(list(inputs), self._says))
        left: Tensor = torch.ops.neuron_stand_in.leave(output)
        return left


def described(tensor: Tensor) -> str:
    """Dtype and shape, as in HLO."""
    return f"{NAMES[tensor.dtype]}[{','.join(map(str, tensor.shape))}]"


def identity(script: Any) -> tuple[str, bool] | None:
    """Id of a loaded program, and whether its weights are inline; None if it is no program of ours."""
    found = _PROGRAM.search(str(script.graph))
    return found and (found[1], found[2] == "inline")


def _enter(inputs: list[Tensor], says: str) -> list[Tensor]:
    if is_tracing:
        return inputs
    host = sys.modules["torch_neuronx"].HOST
    _, program, _, *wanted = says.split()
    placed = host.programs.get(program)
    if placed is None:
        msg = "the program is not on a core: it runs only where it was loaded"
        raise RuntimeError(msg)
    host.initialise()
    if not placed.has_weights_there:
        msg = "the weights are on the CPU and would cross with every call"
        raise RuntimeError(msg)
    if [tensor.device.type for tensor in inputs] != ["cpu"] * len(inputs):
        msg = "a traced program takes CPU tensors"
        raise RuntimeError(msg)
    given = [described(tensor) for tensor in inputs]
    if given != wanted:
        msg = f"compiled for {wanted}, called with {given} status=1002 message=Bad input"
        raise RuntimeError(msg)
    host.fail_if_told()
    return inputs


def _leave(output: Tensor) -> Tensor:
    if not is_tracing and output.isnan().any():
        msg = "Failed to execute the model status=1003 message=Completed with numerical error"
        raise RuntimeError(msg)
    return output


def _now(name: str) -> Any:
    """Call the function of the module as it is imported at that time."""

    def call(*given: Any) -> Any:
        return getattr(sys.modules["torch_neuronx.program"], name)(*given)

    return call


if not hasattr(torch.ops.neuron_stand_in, "enter"):  # a process may import the stand-in again
    _LIBRARY = library.Library("neuron_stand_in", "DEF")
    _LIBRARY.define("enter(Tensor[] inputs, str says) -> Tensor[]")
    _LIBRARY.define("leave(Tensor output) -> Tensor")
    _LIBRARY.impl("enter", _now("_enter"), "CompositeImplicitAutograd")
    _LIBRARY.impl("leave", _now("_leave"), "CompositeImplicitAutograd")
    sys.modules["torch"]._neuron_stand_in_library = _LIBRARY  # outlives this module
