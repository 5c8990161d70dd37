"""Compiling: what is kept, what is refused, and that a compiler that dies is a failed compile."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import compile as compiler
from pipeline import compiling
from pipeline.artifact import open_artifact
from pipeline.backends.backend import Component, Precision
from pipeline.backends.cpu import Cpu
from pipeline.compiling import Request, compile_in_child
from pipeline.errors import ArtifactError, CheckpointError, CompileFailed, QuestionError
from pipeline.stages import Layout, Stage
from tests.integration.compiled import BUCKETS, compiled, spec
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools.__main__ import app
from tools.errors import CommandError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint."""
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def request_(model: Path, tmp_path: Path) -> Request:
    """Compile it into tmp_path / artifact."""
    np.save(tmp_path / "pictures.npy", pictures(4, 80))
    return Request(
        model="mine",
        location=str(model),
        backend="cpu",
        precision=Precision.FP32,
        buckets=BUCKETS,
        capacity="16x128",
        questions=QUESTIONS.questions,
        pictures=str(tmp_path / "pictures.npy"),
        out=str(tmp_path / "artifact"),
    )


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody listens."""


def test_child_compiles_tells_its_steps_and_names_the_model_as_the_user_did(request_: Request, tmp_path: Path) -> None:
    """Progress never goes back, the manifest says what it was asked for, a second call compiles nothing."""
    steps: list[tuple[str, int, int]] = []
    artifact = compile_in_child(request_, tmp_path / "log", lambda *step: steps.append(step))
    assert [done for _, done, _ in steps] == list(range(len(steps)))
    assert {total for _, _, total in steps} == {len(steps)}
    manifest = artifact.manifest
    assert (manifest.model_id, manifest.spec, manifest.parity is not None) == ("mine", request_.spec, True)
    assert manifest.parity is not None
    assert manifest.parity.max_abs_dp <= manifest.parity.limit == 1e-4
    assert not (tmp_path / ".artifact.pawsight-building").exists()
    steps.clear()
    assert compile_in_child(request_, tmp_path / "log", lambda *step: steps.append(step)).manifest == manifest
    assert steps == []


def test_childs_errors_keep_their_kind(request_: Request, tmp_path: Path) -> None:
    """A wrong model is the user's error here as everywhere, not a compiler's."""
    with pytest.raises(CheckpointError, match="is no folder and no hub id"):
        compile_in_child(request_.model_copy(update={"location": "./nowhere"}), tmp_path / "log", silent)
    with pytest.raises(QuestionError, match="compile with --capacity 4x"):
        compile_in_child(request_.model_copy(update={"capacity": "1x8"}), tmp_path / "log", silent)


def test_a_compiler_that_dies_is_a_failed_compile_with_its_last_words(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by a signal, as neuronx-cc dies of some weights: the signal and the log are named, nothing is written."""
    children: list[subprocess.Popen[str]] = []

    really = subprocess.Popen

    def remembered(*args: Any, **more: Any) -> "subprocess.Popen[str]":
        more["stderr"].write("its last words\n")
        more["stderr"].flush()
        children.append(really(*args, **more))
        return children[0]

    monkeypatch.setattr(compiling.subprocess, "Popen", remembered)
    with pytest.raises(CompileFailed, match="was killed by SIGKILL") as failed:
        compile_in_child(request_, tmp_path / "log", lambda *_: children[0].kill())
    assert "its last words" in str(failed.value)
    assert not (tmp_path / "artifact").exists()


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the components that are really compiled; the text decoder fails the first time."""
    seen: list[str] = []
    really = Cpu.compile

    def compile_(self: Cpu, stage: Any, inputs: Any, component: Component, *rest: Any) -> None:
        seen.append(component.name)
        if seen.count("text-decoder") == 1 and component.stage is Stage.ANSWER:
            msg = "interrupted"
            raise CompileFailed(msg)
        really(self, stage, inputs, component, *rest)

    monkeypatch.setattr(Cpu, "compile", compile_)
    return seen


def test_an_interrupted_compile_goes_on_with_what_is_missing(model: Path, tmp_path: Path, compiles: list[str]) -> None:
    """Components that are there and whole are not compiled again; a damaged one is."""
    wanted = spec(layout=Layout.COMPONENTS)
    with pytest.raises(CompileFailed, match="interrupted"):
        compiled(model, tmp_path / "artifact", wanted)
    program = tmp_path / ".artifact.pawsight-building" / "programs" / "text-encoder" / "program.pt2"
    program.write_bytes(program.read_bytes()[:-1])
    compiled(model, tmp_path / "artifact", wanted).verify()
    assert compiles == ["image-encoder", "text-encoder", "text-decoder", "text-encoder", "text-decoder"]


def test_another_size_is_compiled_anew_and_takes_the_place(model: Path, tmp_path: Path) -> None:
    """The same folder with another request holds the new artifact, nothing of the old one."""
    first = compiled(model, tmp_path / "artifact", spec(layout=Layout.COMPONENTS))
    second = compiled(model, tmp_path / "artifact", spec(buckets=(1, 2)))
    second.verify()
    assert first.manifest.id != second.manifest.id
    assert second.manifest.buckets == (1, 2)
    assert [path.name for path in (tmp_path / "artifact" / "programs").iterdir()] == ["fused"]


def test_answers_that_are_off_are_refused_unless_forced(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deviation and the allowance are named; --force writes the artifact with the deviation in its manifest."""
    monkeypatch.setattr(compiler, "LIMITS", dict.fromkeys(Precision, 0.0))
    with pytest.raises(CompileFailed, match=r"differ from fp32 Hugging Face by up to .* allowed is 0: use a higher precision"):
        compiled(model, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()
    parity = compiled(model, tmp_path / "artifact", is_forced=True).manifest.parity
    assert parity is not None
    assert parity.max_abs_dp > 0


def questions_file(folder: Path) -> Path:
    """The small checkpoint's questions."""
    path = folder / "questions.toml"
    path.write_text("\n".join(f'[[question]]\nbehavior = "{one.behavior}"\nask = "{one.ask}"' for one in QUESTIONS.questions))
    return path


def test_a_folder_that_holds_something_else_is_left_alone(model: Path, tmp_path: Path) -> None:
    """Nobody's files are replaced by an artifact."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(ArtifactError, match="is not empty and no artifact"):
        compiled(model, tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--capacity", "16"], "--capacity: capacity '16': give answer slots x question tokens"),
        (["--buckets", "2,1"], "give each size once, the smallest first"),
        (["--buckets", "1,two"], "give batch sizes such as 1,2,4,8"),
    ],
)
def test_wrong_sizes_are_refused_by_name(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """Before anything is loaded."""
    result = CliRunner().invoke(app, ["compile", "--out", str(tmp_path / "out"), *arguments])
    assert isinstance(result.exception, CommandError)
    assert sentence in str(result.exception)


@pytest.fixture
def command_artifact(model: Path, tmp_path: Path) -> Iterator[Path]:
    """An artifact as the command makes it."""
    out = tmp_path / "made"
    questions = str(questions_file(tmp_path))
    arguments = ["compile", "--model", str(model), "--layout", "components", "--questions", questions, "--force"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out), "--json", str(tmp_path / "said.json")])
    assert result.exit_code == 0, result.output
    yield out
    shutil.rmtree(out)


def test_commands_show_and_verify_what_was_compiled(command_artifact: Path, tmp_path: Path) -> None:
    """The table for a person, the manifest as JSON, and a sentence once a byte changed."""
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["id"] == open_artifact(command_artifact).manifest.id
    shown = CliRunner().invoke(app, ["artifact", "show", str(command_artifact)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in (said["id"], "cpu, fp32, components", "16x128", "0 of 32 flipped"))
    assert CliRunner().invoke(app, ["artifact", "verify", str(command_artifact)]).exit_code == 0
    (command_artifact / "tokenizer.json").write_text("{}")
    refused = CliRunner().invoke(app, ["artifact", "verify", str(command_artifact)])
    assert isinstance(refused.exception, ArtifactError)


def test_a_forced_artifact_does_not_pass_for_a_good_one(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command without --force is refused as it was before."""
    monkeypatch.setattr(compiler, "LIMITS", dict.fromkeys(Precision, 0.0))
    compiled(model, tmp_path / "artifact", is_forced=True)
    with pytest.raises(CompileFailed, match="use a higher precision"):
        compiled(model, tmp_path / "artifact")


def test_a_file_in_the_folders_place_is_named(model: Path, tmp_path: Path) -> None:
    """No traceback of a listing that failed."""
    (tmp_path / "artifact").write_text("notes")
    with pytest.raises(ArtifactError, match="is a file: give a folder with --out"):
        compiled(model, tmp_path / "artifact")


def test_weights_apart_are_neurons_only(model: Path, tmp_path: Path) -> None:
    """An option that would do nothing is refused."""
    with pytest.raises(CompileFailed, match="--separate-weights is for neuron"):
        compiled(model, tmp_path / "artifact", replace(spec(), has_separate_weights=True))
