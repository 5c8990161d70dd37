"""NVIDIA GPUs: one `torch.export` program per stage, rewritten for bf16 (`cuda_fusion`), replayed as a CUDA graph per bucket.

Nothing is compiled for the card at hand: an artifact moves between GPUs, and a worker needs neither a compiler nor the CUDA
toolkit. fp32 is IEEE throughout, TF32 off: it is there to judge bf16 by.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backends.backend import Component, Failure, Precision, Programs, Spec, one_program_each
from pipeline.errors import CompileFailed, DeviceUnavailable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pipeline.backends.cuda_runner import CudaRunner
    from pipeline.blip import BlipVqa

_PROGRAM = "program.pt2"
_BF16_SINCE = (8, 0)
"""Compute capability."""


class Cuda:
    """The backend `cuda`."""

    name = "cuda"

    def refusal(self, spec: Spec) -> str | None:
        """See `Backend`: the program is the same for every card, but its answers are compared on one."""
        if spec.precision is Precision.INT8:
            return "the cuda backend has no int8, which would gain nothing over bf16 there: use --precision bf16"
        return _missing(0, spec.precision)

    def environment(self, core: int) -> Mapping[str, str]:
        """See `Backend`: number the cards as nvidia-smi does. CUDA's default is the fastest first, which moves with the hardware.

        CUDA_VISIBLE_DEVICES stays the user's; memory is taken once at start, so the allocator needs no settings.
        """
        del core
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def versions(self) -> Mapping[str, str]:
        """See `Backend`: a program names PyTorch's operators; what they call is chosen on the card at hand."""
        import torch

        if torch.version.cuda is None:
            raise DeviceUnavailable(_NO_CUDA_BUILD.format(torch.__version__))
        return {"torch": torch.__version__.split("+")[0], "cuda": torch.version.cuda}

    def flags(self, spec: Spec) -> tuple[str, ...]:
        """See `Backend`."""
        numbers = "GELU in its tanh form" if spec.precision is Precision.BF16 else "TF32 off"
        return f"largest batch {spec.buckets[-1]}", numbers

    def components(self, spec: Spec) -> tuple[Component, ...]:
        """See `Backend`."""
        return one_program_each(spec)

    def prepare(self, blip: "BlipVqa", spec: Spec, shared: Path) -> "tuple[BlipVqa, torch.dtype]":
        """See `Backend`; weights stand in the programs, once, so nothing is shared."""
        import torch

        from pipeline.backends.cuda_fusion import fold_normalisation

        del shared
        dtype = torch.bfloat16 if spec.precision is Precision.BF16 else torch.float32
        return fold_normalisation(blip).to(dtype), dtype

    def compile(self, stage: "nn.Module", inputs: "Sequence[Tensor]", component: Component, spec: Spec, folder: Path) -> None:
        """See `Backend`."""
        import torch
        from torch.export import Dim, export, save

        from pipeline.backends.cuda_fusion import export_fused
        from pipeline.stages import dynamic_axes

        sizes = dynamic_axes(
            component.stage,
            Dim("batch", min=1, max=max(spec.buckets[-1], 2)),
            Dim("tokens", min=1, max=max(spec.capacity.tokens, 2)),
            Dim("slots", min=1, max=max(spec.capacity.slots, 2)),
        )
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.export speaks of its own internals
                if spec.precision is Precision.BF16:
                    program = export_fused(stage, inputs, sizes)
                else:
                    program = export(stage, tuple(inputs), dynamic_shapes=sizes)
                save(program, folder / _PROGRAM)
        except (RuntimeError, ValueError, OSError) as error:
            msg = f"torch.export refused the {component.name}: {error}"
            raise CompileFailed(msg) from error

    def load(self, programs: Programs, core: int) -> "CudaRunner":
        """See `Backend`."""
        if (missing := _missing(core, programs.spec.precision)) is not None:
            raise DeviceUnavailable(missing)
        from pipeline.backends.cuda_runner import CudaRunner

        files = {component.stage: folder / _PROGRAM for component, folder in programs.folders.items()}
        return CudaRunner(files, programs.spec, core)

    def classify(self, error: Exception) -> Failure:
        """See `Backend`.

        A replayed graph computes the same whatever the pixels are, so no error is the batch's fault: a shortage of memory
        passes, after anything else (illegal address, failed launch, device-side assert, ECC) CUDA's context is dead.
        """
        import torch

        return Failure.RETRY if isinstance(error, torch.OutOfMemoryError) else Failure.DEVICE_LOST

    def remedy(self, error: Exception) -> str:
        """See `Backend`."""
        del error
        return "see nvidia-smi and the kernel log (Xid) for the card's state, then start the worker again"


_NO_CUDA_BUILD = "PyTorch {} is built without CUDA: install the build for CUDA, or use --device cpu"


def _missing(core: int, precision: Precision) -> str | None:
    """What keeps a precision from running on a GPU, in a sentence with the remedy."""
    import torch

    if torch.version.cuda is None:
        return _NO_CUDA_BUILD.format(torch.__version__)
    with warnings.catch_warnings(record=True) as said:  # PyTorch warns of a driver that is too old, and says there is no GPU
        warnings.simplefilter("always")
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found == 0:
        why = f" ({said[0].message})" if said else ""
        wanted = f"with a driver for CUDA {torch.version.cuda}"
        return f"there is no NVIDIA GPU here {wanted}{why}: see nvidia-smi, or use --device cpu"
    if core >= found:
        return f"there is no cuda:{core}, only {found} GPU{'s' * (found > 1)}: use cuda:0{f' to cuda:{found - 1}' * (found > 1)}"
    if precision is Precision.BF16 and (capability := torch.cuda.get_device_capability(core)) < _BF16_SINCE:
        name, (major, minor) = torch.cuda.get_device_name(core), capability
        return f"{name} (compute capability {major}.{minor}) has no bf16, which came with 8.0: use --precision fp32"
    return None


def make() -> Cuda:
    """The backend."""
    return Cuda()
