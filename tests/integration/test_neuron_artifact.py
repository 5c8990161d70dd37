"""A Neuron artifact from checkpoint to answers, through the pipeline's own compiler and engine. On the stand-in."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifact import Artifact
from pipeline.backends.neuron import COMPILER_LOG
from pipeline.engine import Device, Engine
from pipeline.errors import ArtifactError, DeviceLost
from pipeline.stages import Layout
from tests.integration.compiled import compiled
from tests.integration.neuron_world import STAND_IN, fail_next, machine, spec_of
from tests.integration.tiny_checkpoint import QUESTIONS, SIDE, pictures, save_tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing:FutureWarning"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint."""
    return save_tiny(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def artifact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Compile it on a machine that has a chip."""
    with machine(tmp_path_factory.mktemp("machine"), core=0):
        return compiled(checkpoint, tmp_path_factory.mktemp("made") / "artifact", spec_of(Layout.FUSED))


def test_a_chip_at_hand_measures_the_parity(artifact: Artifact) -> None:
    """The manifest says how far the compiled answers are from Hugging Face's, and with what they were compiled."""
    manifest = artifact.manifest
    assert manifest.parity is not None
    assert manifest.parity.max_abs_dp <= manifest.parity.limit == 1e-4
    assert manifest.versions["neuronx-cc"] == "2.26.6360.0"
    assert sum(name.endswith(COMPILER_LOG) for name in manifest.files) == 4


def test_a_machine_without_a_chip_compiles_and_says_that_nothing_was_compared(checkpoint: Path, tmp_path: Path) -> None:
    """What it makes runs where a chip is."""
    with machine(tmp_path, STAND_IN_CHIPS="0"):
        made = compiled(checkpoint, tmp_path / "artifact", spec_of(Layout.COMPONENTS))
    assert made.manifest.parity is None
    with machine(tmp_path, core=1):
        engine = Engine(made, Device("neuron", 1), QUESTIONS)
        engine.warm()
        assert engine.submitters == 2
        assert len(engine.answer(pictures(2, SIDE), 2).p_yes) == 2
        engine.close()


def test_a_host_without_the_compiler_runs_it_and_another_version_refuses_it(artifact: Artifact, tmp_path: Path) -> None:
    """neuronx-cc is not needed to run; another torch-neuronx would not load the program."""
    slim = tmp_path / "slim"
    slim.mkdir()
    for part in STAND_IN.iterdir():
        if not part.name.startswith("neuronx_cc"):
            (slim / part.name).symlink_to(part)
    with machine(tmp_path, packages=slim):
        Engine(artifact, Device("neuron", 1), QUESTIONS).close()
    (found,) = slim.glob("torch_neuronx-*")
    found.unlink()
    other = slim / "torch_neuronx-2.8.0.2.10.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-neuronx\nVersion: 2.8.0.2.10.1\n", encoding="utf-8")
    with machine(tmp_path, packages=slim), pytest.raises(ArtifactError, match=r"torch-neuronx 2\.9\S+, here is 2\.8"):
        Engine(artifact, Device("neuron", 1), QUESTIONS)


@pytest.mark.parametrize(("said", "is_lost"), [("status=7 message=Queue full", False), ("status=5 message=Timeout", True)])
def test_the_engine_follows_the_runtimes_status(artifact: Artifact, tmp_path: Path, said: str, *, is_lost: bool) -> None:
    """A full queue is tried again and the answers are those of any other call; a hung core is lost."""
    with machine(tmp_path, core=1):
        engine = Engine(artifact, Device("neuron", 1), QUESTIONS)
        wanted = engine.answer(pictures(1, SIDE), 1)
        fail_next(tmp_path, f"Failed to execute the model {said}")
        if is_lost:
            with pytest.raises(DeviceLost, match=f"neuron:1 failed(.|\n)*{said}"):
                engine.answer(pictures(1, SIDE), 1)
        else:
            np.testing.assert_array_equal(engine.answer(pictures(1, SIDE), 1).p_yes, wanted.p_yes)
        engine.close()
