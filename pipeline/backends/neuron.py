"""AWS Inferentia2: programs compiled by `torch_neuronx.trace`, one NeuronCore per process.

Every shape is static, so there is one program per stage, bucket and question capacity. A traced program takes CPU tensors and
returns them; it moves them itself. What this file does and why rests on AWS's documentation of SDK 2.31 (torch-neuronx 2.9, the
last with `trace`) and on its issue tracker, as noted at each rule. **It has never run on Neuron hardware**: it is tested
against a strict stand-in (tests/integration/neuron_stand_in), and its graphs are lowered with torch_xla (tests/device).
"""

import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.backends.backend import Component, Failure, Precision, Programs, Spec
from pipeline.backends.neuron_graph import PlainAttention, every_input_used
from pipeline.backends.neuron_runner import NeuronRunner
from pipeline.backends.nrt_status import verdict_of
from pipeline.blip import BlipVqa
from pipeline.errors import ArtifactError, CompileFailed, DeviceUnavailable
from pipeline.stages import READS_QUESTIONS, STAGES

PROGRAM = "program.pt"
COMPILER_LOG = "neuronx-cc.log"
TARGET = "inf2"
EXEC_TIMEOUT_S = 10
"""A core that takes longer is called hung. By arithmetic a batch takes under 0.1 s; AWS's pages differ on the default."""

_INSTALL = "install it with `pip install -r tools/deploy/neuron-requirements.txt`, see tools/deploy/README.md"
_DEVICES = Path("/proc/devices")
_CASTS = {
    Precision.FP32: ("--auto-cast", "none"),
    # weights and everything but matrix products stay float32, as in AWS's published BERT, ViT and CLIP
    Precision.BF16: ("--auto-cast", "matmult", "--auto-cast-type", "bf16"),
}
_COMPILER_REMEDIES = {
    "EVRF007": "the graph has too many instructions: compile with --layout components",
    "EBVF030": "the graph has too many instructions: compile with --layout components",
    "EVRF009": "the program does not fit the device's memory: compile smaller buckets",
    "EOOM001": "the program does not fit the device's memory: compile smaller buckets",
}
_loading = threading.Lock()  # neuron_cores_context is not thread-safe


def make() -> "NeuronBackend":
    """The backend."""
    return NeuronBackend()


class NeuronBackend:
    """See `pipeline.backends.backend.Backend`."""

    name = "neuron"

    def refusal(self, spec: Spec) -> str | None:
        """Say why this machine cannot compile that, without importing anything of AWS's."""
        if spec.precision not in _CASTS:
            return f"Inferentia2 computes no {spec.precision}: compile with --precision bf16, its fastest, or fp32"
        missing = [package for package in ("torch-neuronx", "neuronx-cc") if _version(package) is None]
        if missing:
            return f"{' and '.join(missing)} not installed: {_INSTALL.replace('neuron-', 'neuron-compile-')}"
        return None

    def environment(self, core: int) -> Mapping[str, str]:
        """What the runtime and the compiler read when they are imported.

        A process takes every core that is visible and holds it until it ends. NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS is left
        out on purpose: SDK 2.31 only warns of it, and two threads overlap host and device.
        """
        return {
            "NEURON_RT_VISIBLE_CORES": str(core),
            "NEURON_RT_EXEC_TIMEOUT": str(EXEC_TIMEOUT_S),
            "NEURON_PROCESS_TAG": f"pawsight-{core}",  # names the process in neuron-monitor's report
            "NEURON_PLATFORM_TARGET_OVERRIDE": TARGET,  # without a device the compiler cannot see what it compiles for
        }

    def versions(self) -> Mapping[str, str]:
        """Versions of what is installed of what compiles and loads a program; hosts that only run them need no neuronx-cc."""
        if _version("torch-neuronx") is None:
            msg = f"torch-neuronx is not installed: {_INSTALL}"
            raise DeviceUnavailable(msg)
        packages = ("torch", "torch-neuronx", "libneuronxla", "neuronx-cc")
        return {package: found for package in packages if (found := _version(package)) is not None}

    def flags(self, spec: Spec) -> tuple[str, ...]:
        """What neuronx-cc is told; every default that matters is given, since AWS changed one (--auto-cast, SDK 2.27)."""
        casts = _CASTS[spec.precision]
        options = ("--model-type", "transformer", "--optlevel", "2", "--enable-saturate-infinity")
        return ("--target", TARGET, *options, *casts)

    def components(self, spec: Spec) -> tuple[Component, ...]:
        """Stage x bucket x rung; the image encoder reads no questions and has no rungs."""
        return tuple(
            Component(stage, bucket, rung)
            for stage in STAGES[spec.layout]
            for bucket in spec.buckets
            for rung in (spec.rungs() if stage in READS_QUESTIONS else (None,))
        )

    def prepare(self, blip: BlipVqa, spec: Spec, shared: Path) -> tuple[BlipVqa, torch.dtype]:
        """Change nothing: the compiler casts. The programs hold their weights, so nothing is shared."""
        del spec, shared
        return blip.eval().requires_grad_(requires_grad=False), torch.float32

    def compile(self, stage: nn.Module, inputs: Sequence[Tensor], component: Component, spec: Spec, folder: Path) -> None:
        """Trace, compile and save one component. To be called in a process of its own.

        An operator that torch-neuronx 2.9 cannot lower on a weight ends the process by a signal, not with an exception
        (aws-neuron-sdk issue 1265). The environment must be set before.

        Raises:
            CompileFailed: the compiler refused; with its last words.
        """
        assert not any(tensor.dtype == torch.int64 for tensor in inputs), "int64 is cut to 32 bits without a word"
        vendor = _vendor()
        log = folder / COMPILER_LOG
        try:
            with TemporaryDirectory() as work, every_input_used(component.name), torch.no_grad(), PlainAttention():
                program = vendor.trace(
                    stage,
                    tuple(inputs),
                    compiler_workdir=work,
                    compiler_args=[*self.flags(spec), "--logfile", str(log)],
                    inline_weights_to_neff=not spec.has_separate_weights,
                    cpu_backend=not has_device(),
                )
        except CompileFailed:
            raise
        except Exception as error:  # the compiler raises whatever it likes
            raise _compile_failed(component, error, log) from error
        torch.jit.save(program, str(folder / PROGRAM))

    def load(self, programs: Programs, core: int) -> NeuronRunner:
        """Load every component on this process's core.

        Unpinned, each `torch.jit.load` would go to the next core in turn, and a pipeline of three be spread over two cores. Cores
        are counted among the visible ones, of which there is one.
        """
        vendor = _vendor()
        pinned = _placement(vendor, "neuron_cores_context")
        try:
            with _loading, pinned(start_nc=0, nc_count=1):
                loaded = {part: _load(folder) for part, folder in programs.folders.items()}
            if programs.spec.has_separate_weights:
                for program in loaded.values():
                    _move_weights(vendor, program)
        except (RuntimeError, ValueError, OSError) as error:
            raise _cannot_load(error, core) from error
        return NeuronRunner(programs.spec, loaded)

    def classify(self, error: Exception) -> Failure:
        """Judge by the runtime's status in the text."""
        return verdict_of(str(error)).failure

    def remedy(self, error: Exception) -> str:
        """Say what an operator does about an error of `Runner.run`: a sentence's second half."""
        return verdict_of(str(error)).remedy


def has_device() -> bool:
    """Whether the Neuron driver is loaded and has a device."""
    try:
        return any(line.split()[1:] == ["neuron"] for line in _DEVICES.read_text(encoding="ascii").splitlines())
    except OSError:
        return False


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _vendor() -> Any:
    """Import torch_neuronx, which the environment must precede.

    Raises:
        DeviceUnavailable: it is missing, or another package of that name: the public index has a placeholder, and AWS's
            TorchNeuron (PyTorch >= 2.10, no Inferentia) took the name over without `trace`.
    """
    try:
        vendor = import_module("torch_neuronx")
    except Exception as error:  # a placeholder may raise anything
        msg = f"torch_neuronx cannot be imported ({type(error).__name__}: {error}): {_INSTALL}"
        raise DeviceUnavailable(msg) from error
    if not hasattr(vendor, "trace"):
        msg = f"torch_neuronx {_version('torch-neuronx')} has no trace(): it is not the one for Inferentia2; {_INSTALL}"
        raise DeviceUnavailable(msg)
    return vendor


def _placement(vendor: Any, name: str) -> Any:
    """A function of the placement API, which left `experimental` in SDK 2.25; AWS's own pages still print both."""
    found = getattr(vendor, name, None) or getattr(getattr(vendor, "experimental", None), name, None)
    if found is None:
        msg = f"torch_neuronx {_version('torch-neuronx')} has no {name}(): {_INSTALL}"
        raise DeviceUnavailable(msg)
    return found


def _load(folder: Path) -> Any:
    untyped: Any = torch.jit
    return untyped.load(str(folder / PROGRAM))


def _move_weights(vendor: Any, program: Any) -> None:
    """Put separate weights on the core; left on the CPU they would cross with every call."""
    if hasattr(vendor, "move_trace_to_device"):
        vendor.move_trace_to_device(program, 0)
    else:  # announced to go, in favour of this
        _placement(vendor, "set_neuron_cores")(program, start_nc=0, nc_count=1)


def _cannot_load(error: Exception, core: int) -> ArtifactError | DeviceUnavailable:
    verdict = verdict_of(str(error))
    words = _last_line(str(error))
    if verdict.is_artifact_at_fault:
        return ArtifactError(f"the artifact cannot be loaded on neuron:{core} ({words}): {verdict.remedy}")
    return DeviceUnavailable(f"neuron:{core} cannot be started ({words}): {verdict.remedy}")


def _compile_failed(component: Component, error: Exception, log: Path) -> CompileFailed:
    logged = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    said = f"{error}\n{logged}"
    remedy = next((remedy for code, remedy in _COMPILER_REMEDIES.items() if code in said), "see the log for more")
    words = " / ".join(filter(None, (_last_line(str(error)), _last_line(logged))))
    return CompileFailed(f"{component.name}: {type(error).__name__}: {words}; {remedy}")


def _last_line(text: str) -> str:
    return next(iter(reversed(text.strip().splitlines())), "")
