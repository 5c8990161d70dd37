"""What the Neuron backend says when a device, a package or a program is not what it should be. On the stand-in."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.backends import neuron
from pipeline.backends.backend import Component, Failure, Precision, Programs
from pipeline.backends.neuron import COMPILER_LOG, PROGRAM, has_device, make
from pipeline.backends.neuron_runner import NeuronRunner
from pipeline.checkpoint import Checkpoint, load
from pipeline.errors import ArtifactError, CompileFailed, DeviceUnavailable
from pipeline.packing import pack
from pipeline.stages import Layout, Stage
from tests.integration.neuron_world import ROOT, SMALL, child, compile_all, fail_next, host, machine, spec_of
from tests.integration.tiny_checkpoint import QUESTIONS, SIDE, pictures, save_tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing:FutureWarning"),
]
PART = Component(Stage.IMAGE, 1)
INPUTS = (torch.zeros(1, 4), torch.zeros(4, dtype=torch.int32))


class Sum(nn.Module):
    """A graph in the place of a stage."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Use both."""
        return left + right


class First(nn.Module):
    """A graph that does not need its second input."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Use one."""
        del right
        return left * 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Load the small checkpoint."""
    return load(str(save_tiny(tmp_path_factory.mktemp("checkpoint"))))


@pytest.fixture(scope="module")
def programs(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile an artifact."""
    with machine(tmp_path_factory.mktemp("compiling")):
        return compile_all(checkpoint.blip, spec_of(Layout.FUSED), tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def runner(checkpoint: Checkpoint, programs: Programs, tmp_path: Path) -> Iterator[NeuronRunner]:
    """Load it and ask."""
    with machine(tmp_path):
        loaded = make().load(programs, core=1)
        loaded.ask(pack(QUESTIONS, checkpoint.vocabulary).inputs)
        yield loaded
        loaded.close()


def compile_one(module: nn.Module, folder: Path, inputs: tuple[Tensor, ...] = INPUTS) -> None:
    """Compile a small graph."""
    make().compile(module.eval(), inputs, PART, spec_of(Layout.FUSED), folder)


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("Failed to execute the model status=5 message=Timeout Exceeded", Failure.DEVICE_LOST),
        ("Failed to execute the model status=7 message=Queue full", Failure.RETRY),
        ("Failed to execute the model status=1202 message=NC uncorrectable error", Failure.DEVICE_LOST),
        ("Failed to execute the model status=1006 message=Out of bound", Failure.BAD_INPUT),
    ],
)
def test_a_failed_execution_is_classified(runner: NeuronRunner, tmp_path: Path, said: str, failure: Failure) -> None:
    """From the text that comes out of TorchScript; the next batch is answered."""
    fail_next(tmp_path, said)
    with pytest.raises(RuntimeError) as caught:
        runner.run(pictures(1, SIDE))
    assert make().classify(caught.value) is failure
    assert make().remedy(caught.value)
    assert runner.run(pictures(1, SIDE)).shape == (1, SMALL.slots, 2)


def test_a_model_that_answers_no_number_is_no_lost_device(tmp_path: Path) -> None:
    """The runtime reports it as an error of its own."""

    class Broken(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return (left - 1).log() + right

    with machine(tmp_path):
        compile_one(Broken(), tmp_path)
        program = torch.jit.load(str(tmp_path / PROGRAM))
        with pytest.raises(RuntimeError) as caught:
            program(*INPUTS)
    assert make().classify(caught.value) is Failure.BAD_INPUT


def test_a_core_belongs_to_one_process(programs: Programs, tmp_path: Path) -> None:
    """A second worker on it is told what to do; another core is free."""
    with machine(tmp_path, core=1):
        make().load(programs, core=1).close()
        taken, free = (child(LOAD, tmp_path, str(programs.shared), str(core), core=core) for core in (1, 0))
    assert "neuron:1 cannot be started (NRT:nrt_allocate_neuron_cores NeuronCore(s) not available" in taken.stderr
    assert "start one worker per core" in taken.stderr
    assert free.returncode == 0, free.stderr


LOAD = """
import sys
from pathlib import Path
from pipeline.backends.backend import Precision, Programs, Spec
from pipeline.backends.neuron import make
from pipeline.capacity import Capacity
from pipeline.stages import Layout
spec = Spec("neuron", Precision.FP32, Layout.FUSED, (1, 2), Capacity(16, 128))
folder = Path(sys.argv[1])
make().load(Programs(spec, {part: folder / part.name for part in make().components(spec)}, folder), core=int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"STAND_IN_CHIPS": "0"}, "could not be initialized.*there is no Neuron device or driver here"),
        ({"STAND_IN_NAMES": "none"}, "has no trace.*not the one for Inferentia2.*tools/deploy/neuron-requirements.txt"),
    ],
)
def test_a_device_that_cannot_be_had(programs: Programs, tmp_path: Path, asked: dict[str, str], said: str) -> None:
    """So that the next of the list is tried: no driver, and AWS's other package of that name."""
    with machine(tmp_path, **asked), pytest.raises(DeviceUnavailable, match=said):
        make().load(programs, core=0)


def test_a_package_that_is_missing_or_a_placeholder(programs: Programs, tmp_path: Path) -> None:
    """The public index holds one that says WRONG PACKAGE; it may raise what it likes."""
    with pytest.raises(DeviceUnavailable, match=r"No module named 'torch_neuronx'.*pip install -r tools/deploy"):
        make().load(programs, core=0)
    with pytest.raises(DeviceUnavailable, match="torch-neuronx is not installed: install it with"):
        make().versions()
    (tmp_path / "torch_neuronx.py").write_text("raise ValueError('WRONG PACKAGE')", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with pytest.raises(DeviceUnavailable, match="ValueError: WRONG PACKAGE"):
            make().load(programs, core=0)


def test_another_sdk_is_the_artifacts_fault(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other device of the list would load it."""
    with machine(tmp_path):
        neuron._vendor()

        def refuse(*_: object) -> None:
            msg = "nrt_load failed: NEFF version mismatch supported: 1.1 received: 2.0"
            raise RuntimeError(msg)

        with monkeypatch.context() as patch:
            patch.setattr(torch.jit, "load", refuse)
            with pytest.raises(ArtifactError, match=r"neuron:0 \(.*received: 2.0\): .*compile it again with the pins"):
                make().load(programs, core=0)


def test_what_the_machine_cannot_compile_is_said_before(tmp_path: Path) -> None:
    """A precision that the chip has not, a package that is missing."""
    assert make().refusal(spec_of(Layout.FUSED, precision=Precision.INT8)) == (
        "Inferentia2 computes no int8: compile with --precision bf16, its fastest, or fp32"
    )
    missing = make().refusal(spec_of(Layout.FUSED))
    assert missing is not None
    assert missing.startswith("torch-neuronx and neuronx-cc not installed: install it with")
    with machine(tmp_path):
        assert make().refusal(spec_of(Layout.FUSED)) is None
        assert "torch_neuronx" not in sys.modules  # asking takes no core


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("[NCC_EVRF007] instructions: 7000000", "image-encoder-b1: .*EVRF007.*compile with --layout components"),
        ("[NCC_EOOM001] out of memory", "EOOM001.*compile smaller buckets"),
        ("sorry", "image-encoder-b1: RuntimeError: .*sorry / sorry; see the log"),
    ],
)
def test_a_compiler_that_refuses_is_quoted(tmp_path: Path, compiler: str, said: str) -> None:
    """Its last words, and the remedy where there is one."""
    with machine(tmp_path, STAND_IN_COMPILER=compiler), pytest.raises(CompileFailed, match=said):
        compile_one(Sum(), tmp_path)
    assert not (tmp_path / PROGRAM).exists()
    assert compiler in (tmp_path / COMPILER_LOG).read_text()


def test_an_input_that_would_be_dropped_fails_the_build(tmp_path: Path) -> None:
    """Whether the program still takes it is nowhere documented."""
    with machine(tmp_path), pytest.warns(UserWarning, match="unused"), pytest.raises(CompileFailed, match=r"index=1.*int32"):
        compile_one(First(), tmp_path)
    assert not (tmp_path / PROGRAM).exists()


def test_int64_never_reaches_the_compiler(tmp_path: Path) -> None:
    """It would cut the high bits without a word."""
    with machine(tmp_path), pytest.raises(AssertionError, match="int64"):
        compile_one(Sum(), tmp_path, (INPUTS[0], INPUTS[1].long()))


ABORT = """
import sys
from pathlib import Path
import torch
from pipeline.backends.backend import Component, Precision, Spec
from pipeline.backends.neuron import make
from pipeline.capacity import Capacity
from pipeline.stages import Layout, Stage
spec = Spec("neuron", Precision.FP32, Layout.FUSED, (1,), Capacity(8, 72))
make().compile(torch.nn.Linear(4, 4).eval(), (torch.zeros(1, 4),), Component(Stage.IMAGE, 1), spec, Path(sys.argv[1]))
"""


def test_a_compiler_that_dies_leaves_its_log_and_no_program(tmp_path: Path) -> None:
    """In the process that it was given."""
    done = child(ABORT, tmp_path, str(tmp_path), STAND_IN_COMPILER="abort")
    assert done.returncode == -6
    assert (tmp_path / COMPILER_LOG).exists()
    assert not (tmp_path / PROGRAM).exists()


def test_the_device_is_used_to_compile_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without a chip, as the stand-in then has it, is refused by the real package and by this one."""
    devices = tmp_path / "devices"
    monkeypatch.setattr(neuron, "_DEVICES", devices)
    assert not has_device()
    devices.write_text("Character devices:\n  1 mem\n245 neuronx\n\nBlock devices:\n  8 sd\n", encoding="ascii")
    assert not has_device()
    devices.write_text("Character devices:\n  1 mem\n245 neuron\n", encoding="ascii")
    assert has_device()
    with machine(tmp_path):
        compile_one(Sum(), tmp_path)
    with machine(tmp_path, STAND_IN_CHIPS="0"), pytest.raises(CompileFailed, match="num_devices > 0"):
        compile_one(Sum(), tmp_path)


def test_the_environment_comes_before_the_import(tmp_path: Path) -> None:
    """One core, a timeout of our own, the target, a name for the monitor; and not the variable that SDK 2.31 removed."""
    said = dict(make().environment(3))
    assert said.pop("NEURON_RT_VISIBLE_CORES") == "3"
    assert said == {
        "NEURON_RT_EXEC_TIMEOUT": "10", "NEURON_PROCESS_TAG": "pawsight-3", "NEURON_PLATFORM_TARGET_OVERRIDE": "inf2",
    }  # fmt: skip
    with machine(tmp_path, core=1):
        neuron._vendor()
        assert host().visible == [1]


def test_the_manifest_gets_versions_and_flags(tmp_path: Path) -> None:
    """Auto-cast is said always: AWS changed its default."""
    with machine(tmp_path):
        assert make().versions() == {
            "torch": version("torch"), "torch-neuronx": "2.9.0.2.15.32035",
            "libneuronxla": "2.2.17544.0", "neuronx-cc": "2.26.6360.0",
        }  # fmt: skip
    flags = " ".join(make().flags(spec_of(Layout.FUSED)))
    assert flags == "--target inf2 --model-type transformer --optlevel 2 --enable-saturate-infinity --auto-cast none"
    flags = " ".join(make().flags(spec_of(Layout.FUSED, precision=Precision.BF16)))
    assert flags.endswith("--auto-cast matmult --auto-cast-type bf16")


def test_components_are_stage_by_bucket_by_rung() -> None:
    """The image encoder reads no questions."""
    names = [part.name for part in make().components(spec_of(Layout.COMPONENTS))]
    sizes = [f"b{bucket}-{rung}" for bucket in (1, 2) for rung in ("8x72", "16x128")]
    texts = [f"{stage}-{size}" for stage in ("text-encoder", "text-decoder") for size in sizes]
    assert names == ["image-encoder-b1", "image-encoder-b2", *texts]


def test_importing_the_backend_imports_nothing_of_aws() -> None:
    """`--help`, and every other device, must not need it."""
    script = "import sys, pipeline.backends.neuron; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = done.stdout.split()
    assert "pipeline" in imported
    assert not {"torch_neuronx", "libneuronxla", "transformers"} & set(imported)
