"""An artifact is used only as it was compiled: every difference is refused with a sentence of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifact import MANIFEST, open_artifact
from pipeline.backends.cpu import Cpu
from pipeline.checkpoint import load
from pipeline.engine import Device, Engine
from pipeline.errors import ArtifactError
from pipeline.questions import Question, QuestionSet
from pipeline.reference import answers_alone
from pipeline.stages import Layout
from tests.integration.compiled import compiled, on_cpu, spec
from tests.integration.tiny_checkpoint import QUESTIONS, SIDE, pictures, save_tiny

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of three programs."""
    root = tmp_path_factory.mktemp("artifact")
    return compiled(save_tiny(root / "model"), root / "artifact", spec(layout=Layout.COMPONENTS)).folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "artifact"))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's document."""
    document = json.loads((folder / MANIFEST).read_text())
    change(document)
    (folder / MANIFEST).write_text(json.dumps(document))


def flip_a_byte(path: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "byte": (lambda folder: flip_a_byte(folder / "programs/text-encoder/program.pt2"), "program.pt2 is not the file"),
    "tokenizer": (lambda folder: flip_a_byte(folder / "tokenizer.json"), "tokenizer.json is not the file"),
    "absent": (lambda folder: (folder / "programs/image-encoder/program.pt2").unlink(), "lacks programs/image-encoder/"),
    "foreign": (lambda folder: (folder / "notes.txt").write_text("hi"), "holds notes.txt, which its manifest does not list"),
    "capacity": (lambda folder: edit_manifest(folder, lambda said: said.update(capacity="32x256")), "manifest.json was edited"),
    "no-manifest": (lambda folder: (folder / MANIFEST).unlink(), "is no artifact"),
    "no-json": (lambda folder: (folder / MANIFEST).write_text("{"), "is no JSON"),
    "format": (lambda folder: edit_manifest(folder, lambda said: said.update(format=0)), "is of format 0"),
    "field": (lambda folder: edit_manifest(folder, lambda said: said.pop("image")), "image: Field required"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_refused_by_what_is_wrong(folder: Path, damage: str) -> None:
    """A byte, a file too few or many, an edited size: nothing of it is loaded."""
    harm, sentence = DAMAGES[damage]
    on_cpu(open_artifact(folder))
    harm(folder)
    with pytest.raises(ArtifactError, match=sentence):
        on_cpu(open_artifact(folder))


def test_another_library_version_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions are named."""
    compiled_with = Cpu().versions()["torch"]
    monkeypatch.setattr(Cpu, "versions", lambda _self: {"torch": "2.99.0"})
    with pytest.raises(ArtifactError, match=rf"compiled with torch {compiled_with}, here is 2\.99\.0"):
        on_cpu(open_artifact(folder))


def test_another_models_weights_are_refused(folder: Path) -> None:
    """What --model names and what the artifact holds must be one model."""
    artifact = open_artifact(folder)
    artifact.check_model("mine", artifact.manifest.weights)
    with pytest.raises(ArtifactError, match=r"holds the weights .* yours has 0123456789abcdef: compile yours"):
        artifact.check_model("yours", "0123456789abcdef" * 4)


def test_another_kind_of_device_is_refused(folder: Path) -> None:
    """A CPU artifact on a Neuron core is no question of luck."""
    with pytest.raises(ArtifactError, match="is compiled for cpu, not for neuron:0"):
        Engine(open_artifact(folder), Device("neuron"), QUESTIONS)


WITHOUT_CHECKPOINT = """
import json, sys
import numpy as np
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"transformers", "huggingface_hub"}:
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from pipeline.artifact import open_artifact
from pipeline.engine import Device, Engine
from pipeline.questions import Question, QuestionSet
engine = Engine(open_artifact(Path(sys.argv[1])), Device("cpu"), QuestionSet((Question("present", "is there a dog?"),)))
print(json.dumps(engine.answer(np.load(sys.argv[2]), 2).p_yes.tolist()))
"""


def test_an_artifact_answers_without_its_checkpoint_and_without_transformers(tmp_path: Path) -> None:
    """Another process, the checkpoint deleted, the import of transformers blocked: the answers that Hugging Face gave."""
    model = save_tiny(tmp_path / "model")
    frames = pictures(2, SIDE)
    asked = QuestionSet((Question("present", "is there a dog?"),))
    reference = answers_alone(load(str(model)), asked, frames)
    compiled(model, tmp_path / "artifact")
    shutil.rmtree(model)
    np.save(tmp_path / "frames.npy", frames)
    command = [sys.executable, "-c", WITHOUT_CHECKPOINT, str(tmp_path / "artifact"), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), reference.p_yes, rtol=0, atol=1e-4)
