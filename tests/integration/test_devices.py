"""Which device a command starts: the first that works, with the reason why those before it did not."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch

from pipeline.artifact import Artifact, open_artifact
from pipeline.engine import Device
from pipeline.errors import ArtifactError, DeviceUnavailable
from tests.integration.compiled import compiled
from tests.integration.test_ask import save_question_file
from tests.integration.test_command_line import run
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools import devices
from tools.devices import DeviceChoice, parse_device, start
from tools.errors import CommandError
from tools.options import DEMO_QUESTIONS

NOWHERE = pytest.mark.skipif(torch.cuda.is_available(), reason="HERE IS A GPU: that a missing one is passed over is not tested")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint and, beside it, its artifact for the CPU."""
    folder = tmp_path_factory.mktemp("devices")
    compiled(save_tiny(folder / "model"), folder / "artifact")
    return folder


def choice(root: Path, *devices: str, artifacts: tuple[Path, ...] | None = None, model: str | None = None) -> DeviceChoice:
    """What a command was told."""
    return DeviceChoice.of(model, (root / "artifact",) if artifacts is None else artifacts, devices, DEMO_QUESTIONS)


@pytest.mark.parametrize(
    ("said", "device"),
    [("cpu", Device("cpu")), ("cuda:1", Device("cuda", 1)), ("neuron", Device("neuron")), ("neuron:11", Device("neuron", 11))],
)
def test_devices_are_read_as_they_are_written(said: str, device: Device) -> None:
    """Kind and core."""
    assert parse_device(said) == device


@pytest.mark.parametrize("said", ["gpu", "cuda:", "cuda:x", "cpu:1", "neuron:-1", ""])
def test_what_is_no_device_is_refused(said: str) -> None:
    """With what would be right."""
    with pytest.raises(CommandError, match="give neuron:CORE, cuda:INDEX or cpu"):
        parse_device(said)


def test_without_a_list_the_artifacts_say_what_is_started(root: Path) -> None:
    """An artifact for the CPU runs on the CPU."""
    assert start(choice(root), QUESTIONS).device == Device("cpu")


@NOWHERE
def test_first_device_that_starts_is_used_and_the_others_reasons_are_told(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No artifact for it, no such hardware: each reason on standard error, then the next."""
    engine = start(choice(root, "neuron:0", "cuda:0", "cpu"), QUESTIONS)
    assert engine.device == Device("cpu")
    said = " ".join(capfd.readouterr().err.split())
    for device in ("neuron:0", "cuda:0"):
        kind = device.split(":")[0]
        assert f"device {device} does not start: no artifact for {device}" in said
        assert f"`tools/run compile --backend {kind}` makes it" in said


@NOWHERE
def test_where_none_starts_every_reason_is_in_the_error(root: Path) -> None:
    """A supervisor's log shows what to mend."""
    with pytest.raises(DeviceUnavailable, match=r"no device starts: neuron:0: no artifact for neuron:0.*; cuda:0: no artifact"):
        start(choice(root, "neuron:0", "cuda:0"), QUESTIONS)


def test_damaged_artifact_of_the_only_device_is_its_own_error(root: Path, tmp_path: Path) -> None:
    """No list, no falling back: the sentence of the artifact stands."""
    broken = Path(shutil.copytree(root / "artifact", tmp_path / "artifact"))
    (broken / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json is not the file"):
        start(choice(root, artifacts=(broken,)), QUESTIONS)


def test_two_artifacts_for_one_kind_of_device_are_refused(root: Path, tmp_path: Path) -> None:
    """Nobody could tell which is meant."""
    other = Path(shutil.copytree(root / "artifact", tmp_path / "artifact"))
    with pytest.raises(CommandError, match="are both for cpu: give one for each kind of device"):
        start(choice(root, artifacts=(root / "artifact", other)), QUESTIONS)


def test_artifact_of_another_model_than_the_one_that_is_named_is_refused(root: Path, tmp_path: Path) -> None:
    """--model beside --artifact says what the artifact must hold."""
    assert start(choice(root, model=str(root / "model")), QUESTIONS).device == Device("cpu")
    other = Path(shutil.copytree(root / "model", tmp_path / "model"))
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    with pytest.raises(ArtifactError, match="holds the weights"):
        start(choice(root, model=str(other)), QUESTIONS)


@NOWHERE
def test_a_fallback_never_answers_with_the_demo_model(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an artifact for another device only, the CPU has nothing to run: no model that nobody named."""
    elsewhere = open_artifact(root / "artifact")
    manifest = elsewhere.manifest.model_copy(update={"backend": "neuron"})
    monkeypatch.setattr(devices, "open_artifact", lambda folder: Artifact(folder, manifest))
    with pytest.raises(DeviceUnavailable, match="cpu: no artifact for cpu"):
        start(choice(root, "neuron:0", "cpu"), QUESTIONS)


def test_artifacts_of_two_models_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fallback must not change the model unnoticed."""
    real = open_artifact(root / "artifact")
    other = real.manifest.model_copy(update={"backend": "cuda", "weights": "0" * 64})
    found = {"here": real, "there": Artifact(Path("there"), other)}
    monkeypatch.setattr(devices, "open_artifact", lambda folder: found[folder.name])
    with pytest.raises(ArtifactError, match="artifact there holds the weights 0000000000000000"):
        start(choice(root, artifacts=(Path("here"), Path("there"))), QUESTIONS)


def test_a_second_neuron_core_in_one_process_is_refused(root: Path) -> None:
    """The runtime takes its core once."""
    with pytest.raises(CommandError, match="one Neuron core for each process"):
        start(choice(root, "neuron:0", "neuron:1"), QUESTIONS)


def test_a_model_that_is_not_here_is_not_fetched_for_a_comparison(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Workers with an artifact need no checkpoint."""
    assert start(choice(root, model="nobody/nothing"), QUESTIONS).device == Device("cpu")
    assert "not compared: nobody/nothing is not here" in " ".join(capfd.readouterr().err.split())


@NOWHERE
def test_the_settings_file_names_artifacts_and_devices(root: Path, tmp_path: Path) -> None:
    """Lists in the file are what repeated options are: the first device that starts answers."""
    settings, picture = tmp_path / "settings.toml", tmp_path / "sofa.png"
    settings.write_text(f'artifacts = ["{root / "artifact"}"]\ndevices = ["cuda:0", "cpu"]\n', encoding="utf-8")
    cv2.imwrite(str(picture), pictures(1, 64)[0])
    asked = ["ask", str(picture), "--questions", str(save_question_file(tmp_path / "questions.toml")), "--json", "-"]
    done = run("--settings", str(settings), *asked)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)[0]["answers"]) == len(QUESTIONS.questions)
    assert "device cuda:0 does not start: no artifact for cuda:0" in " ".join(done.stderr.split())
