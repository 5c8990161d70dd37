"""Stand-in for the API of torch-neuronx 2.9 that Pawsight uses, stricter than the real one. host.py says what to ask of it.

It is what AWS's pages of SDK 2.31 say, as far as they do; where they are silent it refuses.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from . import program as _program
from .host import Host

HOST = Host(dict(os.environ))  # noqa: TID251  (stands for a vendor's package, which reads it at import)

_FLAGS = {
    "--target": ("inf2", "trn1", "trn1n", "trn2"),
    "--model-type": ("generic", "transformer", "unet-inference"),
    "--auto-cast": ("none", "matmult", "all"),
    "--auto-cast-type": ("bf16", "fp16", "tf32", "fp8_e4m3"),
    "--optlevel": ("1", "2", "3"),
    "--logfile": None,
    "--enable-saturate-infinity": (),
}
_context: dict[str, int] = {}  # start of the open neuron_cores_context, and its thread
_torch_jit_load: Any = torch.jit.load


def _trace(  # noqa: PLR0913  (the real one's arguments)
    func: Any,
    example_inputs: Any,
    *_: Any,
    input_output_aliases: Any = None,
    compiler_workdir: Any = None,
    compiler_args: Any = None,
    partitioner_config: Any = None,
    inline_weights_to_neff: bool = True,
    cpu_backend: bool = False,
) -> Any:
    """Trace strictly, with every input's shape and dtype fixed for good."""
    if _ or input_output_aliases or partitioner_config:
        msg = "give the options by name; aliases and partitions are not for us"
        raise TypeError(msg)
    inputs = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    _refuse_flags(compiler_args, cpu_backend=cpu_backend)
    _refuse_inputs(inputs)
    if not Path(compiler_workdir).is_dir():
        msg = f"no folder {compiler_workdir}"
        raise RuntimeError(msg)
    if getattr(func, "training", False):
        msg = "the module is in training mode"
        raise RuntimeError(msg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch >= 2.10 would have none of torch.jit
        _program.is_tracing = True
        try:
            traced = torch.jit.trace(_program.Program(func, inputs, is_inline=inline_weights_to_neff), inputs, check_trace=False)
        finally:
            _program.is_tracing = False
    _warn_of_unused(traced.inlined_graph.copy(), inputs)
    return traced


def _refuse_flags(args: list[str], *, cpu_backend: bool) -> None:
    if cpu_backend and (HOST.target is None or "--target" not in args):
        options = "one of options trn1, inf2, trn1n, or trn2"
        msg = f"If you want to compile on CPU, please supply compiler argument target, with {options}"
        raise RuntimeError(msg)
    if not cpu_backend and not HOST.cores:
        msg = "PJRT_Client_Create: error condition num_devices > 0 was not met"
        raise RuntimeError(msg)
    given, rest = {}, list(args)
    while rest:
        flag = rest.pop(0)
        if flag not in _FLAGS:
            msg = f"[EARG001] unrecognised option {flag}"
            raise RuntimeError(msg)
        given[flag] = rest.pop(0) if _FLAGS[flag] != () else ""
        if _FLAGS[flag] and given[flag] not in _FLAGS[flag]:
            msg = f"[EARG001] {flag} {given[flag]}"
            raise RuntimeError(msg)
    if missing := {"--auto-cast", "--target", "--logfile"} - given.keys():
        msg = f"stand-in: {missing} left to defaults, which AWS changes"
        raise RuntimeError(msg)
    Path(given["--logfile"]).write_text("INFO: compiling\n" + HOST.compiler, encoding="utf-8")
    if HOST.compiler == "abort":
        os.abort()
    if HOST.compiler:
        msg = f"neuronx-cc failed with 70: {HOST.compiler}"
        raise RuntimeError(msg)


def _refuse_inputs(inputs: tuple[Tensor, ...]) -> None:
    for tensor in inputs:
        if tensor.device.type != "cpu":
            msg = "example inputs are CPU tensors"
            raise RuntimeError(msg)
        if tensor.dtype not in _program.NAMES:
            msg = f"stand-in: {tensor.dtype} at the boundary, which the device does not have"
            raise RuntimeError(msg)


def _warn_of_unused(graph: Any, inputs: tuple[Tensor, ...]) -> None:
    torch._C._jit_pass_dce(graph)
    (checked,) = (node for node in graph.nodes() if node.kind() == "neuron_stand_in::enter")
    (unpacked,) = (use.user for use in checked.output().uses())
    for index, (value, tensor) in enumerate(zip(unpacked.outputs(), inputs, strict=True)):
        if not list(value.uses()):
            what = f"(index={index}, shape={tensor.shape}, dtype={tensor.dtype})"
            warnings.warn(f"Received an input tensor that was unused. Tensor will be ignored. {what}", stacklevel=3)


def _load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """`torch.jit.load`, which puts a traced program on a core."""
    script = _torch_jit_load(file, *args, **kwargs)
    if (found := _program.identity(script)) is not None:
        HOST.place(found[0], start=_context.get("start", -1), has_weights_there=found[1])
    return script


@contextmanager
def _neuron_cores_context(start_nc: int = -1, nc_count: int = -1) -> Iterator[None]:
    if nc_count not in (-1, 1):
        msg = f"nc_count {nc_count}: several replicas in one process are not for us"
        raise ValueError(msg)
    if _context:
        msg = "neuron_cores_context is not thread-safe"
        raise RuntimeError(msg)
    _context.update(start=start_nc, thread=get_ident())
    try:
        yield
    finally:
        _context.clear()


def _set_neuron_cores(trace: Any, start_nc: int = -1, nc_count: int = -1) -> Any:
    if nc_count not in (-1, 1):
        msg = f"nc_count {nc_count}"
        raise ValueError(msg)
    HOST.place(_program.identity(trace)[0], start=start_nc, has_weights_there=True)
    return trace


def _move_trace_to_device(trace: Any, device_id: int) -> None:
    HOST.place(_program.identity(trace)[0], start=device_id, has_weights_there=True)


torch.jit.load = _load
if HOST.names != "none":
    trace = _trace
if HOST.names in ("both", "new"):
    neuron_cores_context, set_neuron_cores = _neuron_cores_context, _set_neuron_cores
if HOST.names in ("both", "old"):
    experimental = SimpleNamespace(neuron_cores_context=_neuron_cores_context, set_neuron_cores=_set_neuron_cores)
    move_trace_to_device = _move_trace_to_device
