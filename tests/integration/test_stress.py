"""`stress` on a small artifact: whose answers came, how they were batched, what latency counts from, what the command writes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from pipeline.answers import Answers
from pipeline.artifact import Artifact, open_artifact
from pipeline.engine import Engine
from pipeline.errors import QuestionError
from tests.integration.compiled import compiled, on_cpu
from tests.integration.stress_world import TOLERANCE, Watched, bench, idle, moved
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools.errors import CommandError
from tools.report.load_results import Load
from tools.report.results import parse
from tools.stress import figures
from tools.stress.command import stress
from tools.stress.figures import BestBucket
from tools.stress.load import closed_loop
from tools.stress.measure import extra_question_percent, pick_questions
from tools.stress.pictures import Pictures, choose

ROOT = Path(__file__).parent.parent.parent

app = typer.Typer()
app.command()(stress)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A small checkpoint, compiled."""
    root = tmp_path_factory.mktemp("stress")
    return compiled(save_tiny(root / "model"), root / "artifact")


@pytest.fixture(scope="module")
def engine(artifact: Artifact) -> Iterator[Engine]:
    """The artifact on the processor."""
    loaded = on_cpu(open_artifact(artifact.folder))
    yield loaded
    loaded.close()


@pytest.fixture
def told_apart(engine: Engine) -> Pictures:
    """Pictures that the small model tells apart."""
    return choose(engine, pictures(16, engine.image_size), TOLERANCE)


def test_pictures_differ_by_their_answers(engine: Engine, told_apart: Pictures) -> None:
    """Any two by more than twice the tolerance, so that within it an answer can only be its own picture's."""
    assert len(told_apart.frames) == len(told_apart.said) == 16
    apart = abs(told_apart.said[:, None] - told_apart.said[None]).max((2, 3)) + np.eye(16)
    assert apart.min() > 2 * TOLERANCE
    alone = np.concatenate([engine.answer(frame[None], 1).p_yes for frame in told_apart.frames])
    assert alone == pytest.approx(told_apart.said[:, 0], abs=1e-6)


@pytest.mark.parametrize(("servers", "clients"), [(1, 1), (1, 8), (3, 8)])
def test_every_answer_is_its_pictures(engine: Engine, told_apart: Pictures, servers: int, clients: int) -> None:
    """Whoever batches with whom."""
    watched = Watched(engine)
    found = closed_loop(bench(watched, told_apart), servers, clients)
    assert (found.servers, found.clients, found.errors) == (servers, clients, 0)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.throughput_fps > 0
    assert found.cores_busy > 0
    assert idle()


def test_swapped_answers_are_errors(engine: Engine, told_apart: Pictures) -> None:
    """Rows of a batch moved by one: every answer is another picture's."""
    found = closed_loop(bench(Watched(engine, shift=1), told_apart), 1, 4)
    assert found.errors > 0
    assert told_apart.foreign([0, 1, 2], list(told_apart.said[[0, 2, 1]])) == 2
    assert told_apart.foreign([0], [np.full_like(told_apart.said[0], np.nan)]) == 1


def test_one_question_a_request(engine: Engine) -> None:
    """The engine asks the first question only; a frame counts when all four were asked."""
    assert pick_questions(engine, is_one=False) == 1
    assert engine.questions == QUESTIONS
    try:
        assert pick_questions(engine, is_one=True) == 4
        assert engine.questions.questions == QUESTIONS.questions[:1]
    finally:
        engine.ask(engine.prepare(QUESTIONS))


def test_extra_question_leaves_the_engine_as_it_was(engine: Engine) -> None:
    """Its cost is over 0, or hidden by noise; all questions are asked afterwards."""
    percent = extra_question_percent(engine, BestBucket(8, 0.3, 1.0))
    assert percent is None or 0 < percent < 100
    assert engine.questions == QUESTIONS


@pytest.fixture
def options(artifact: Artifact, tmp_path: Path) -> list[str]:
    """Name the artifact and its questions."""
    file = tmp_path / "questions.toml"
    file.write_text("\n".join(f'[[question]]\nbehavior = "{one.behavior}"\nask = "{one.ask}"' for one in QUESTIONS.questions))
    return ["--artifact", str(artifact.folder), "--questions", str(file)]


def test_command_writes_all_that_it_promises(
    options: list[str], artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON, both charts, and the profile, with exactly the fields that are read elsewhere."""
    monkeypatch.setattr(figures, "_CLOSE", 1.6)  # the ramp will do
    plots, profile = [tmp_path / "grid.png", tmp_path / "grid.svg"], tmp_path / "profile.json"
    grid = ["--servers", "1,2", "--clients", "1,4", "--seconds", "0.2", "--open-loop", "--p99-ms", "400"]
    grid += ["--instance", "c7i.large"]
    files = [f"--plot={path}" for path in plots]
    result = CliRunner().invoke(app, [*options, *grid, *files, "--profile", str(profile), "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert {"artifact", "machine", "grid", "saturation", "open_loop", "kafka"} <= said.keys()
    assert said["artifact"] == artifact.manifest.id
    assert [side["artifact"] for side in said["run"]["sides"]] == [artifact.manifest.seal]
    assert said["run"]["command"].split()[0] == "tools/run"  # the rest is what started this process
    shown = parse("stress", said)
    assert isinstance(shown, Load)
    assert shown.run is not None
    assert [(each["servers"], each["clients"]) for each in said["grid"]] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert all(each["errors"] == 0 < each["throughput_fps"] for each in said["grid"])
    assert all(0 < each["p50_ms"] <= each["p99_ms"] for each in said["grid"])
    assert said["saturation"].keys() == {"servers", "clients", "throughput_fps"}
    assert said["open_loop"]["rate_fps"] > 0
    assert 0 < said["open_loop"]["p99_ms"] <= 400
    assert plots[0].stat().st_size > 10_000
    assert "#server-#client" in plots[1].read_text()
    told = json.loads(profile.read_text())
    assert_profile(told, artifact)
    assert (told["throughput_fps"], told["p99_ms"]) == (said["saturation"]["throughput_fps"], said["open_loop"]["p99_ms"])
    assert told["open_loop_fps"] == said["open_loop"]["rate_fps"]


def assert_profile(told: dict[str, Any], artifact: Artifact) -> None:
    """Hold a profile to what `plan` reads."""
    assert told.keys() == {
        "format", "date", "machine", "device", "backend", "precision", "artifact", "model", "questions", "questions_fingerprint",
        "throughput_fps", "p99_ms", "open_loop_fps", "extra_question_percent", "cpu_s_per_1000_frames", "kafka",
    }  # fmt: skip
    assert told["format"] == "pawsight.profile/1"
    assert told["machine"].keys() == {"processor", "cores", "instance"}
    assert told["machine"]["instance"] == "c7i.large"
    assert (told["device"], told["backend"], told["precision"], told["artifact"]) == ("cpu", "cpu", "fp32", artifact.manifest.id)
    assert (told["questions"], told["questions_fingerprint"]) == (4, QUESTIONS.fingerprint)
    assert told["cpu_s_per_1000_frames"] > 0


def test_foreign_answers_are_exit_status_1(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And a table says how many; without --profile and --json nothing is written."""
    answer = Engine.answer

    def swapped(self: Engine, pixels_BSS3: NDArray[np.uint8], frames: int) -> Answers:
        return moved(answer(self, pixels_BSS3, frames), 1)

    monkeypatch.setattr(Engine, "answer", swapped)
    grid = ["--servers", "1", "--clients", "4", "--seconds", "0.2", "--ask", "one"]
    result = CliRunner().invoke(app, [*options, *grid], catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 1, result.output
    assert "frames/s" in result.stdout
    assert "a request asks one question, 4 requests are a frame" in " ".join(result.stdout.split())
    assert "did not belong to the pictures" in result.stderr


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        pytest.param(["--servers", "0,1"], "--servers '0,1': give numbers", id="no server"),
        pytest.param(["--clients", "4,many"], "--clients '4,many': give numbers", id="no number"),
        pytest.param(["--clients", "4,4"], "give each number once", id="twice"),
        pytest.param(["--p99-ms", "50"], "add --open-loop", id="a bound for nothing"),
        pytest.param(["--profile", "nowhere/profile.json"], "there is no folder", id="no folder"),
        pytest.param(["--plot", "grid.pdf"], "ends in .png or .svg", id="no picture"),
    ],
)
def test_wrong_use_is_a_sentence(options: list[str], said: list[str], sentence: str) -> None:
    """Before anything is loaded or measured."""
    with pytest.raises(CommandError, match=sentence):
        CliRunner().invoke(app, [*options, *said], catch_exceptions=False)


def test_questions_that_do_not_fit_the_artifact_are_a_sentence(options: list[str], tmp_path: Path) -> None:
    """More than were compiled for."""
    file = tmp_path / "many.toml"
    file.write_text("\n".join(f'[[question]]\nbehavior = "question_{number}"\nask = "sleeping?"' for number in range(20)))
    with pytest.raises(QuestionError, match="16"):
        CliRunner().invoke(app, [*options[:2], "--questions", str(file)], catch_exceptions=False)


SCRIPT = """
import sys, typer
from tools.stress import measure
from tools.stress.command import stress
whole = measure.closed_loop
def told(bench, servers, clients):
    print("cell", file=sys.stderr, flush=True)
    return whole(bench, servers, clients)
measure.closed_loop = told
typer.run(stress)
"""
"""The command, telling when a cell begins."""


def test_interruption_keeps_what_was_measured(options: list[str], tmp_path: Path) -> None:
    """Ctrl-C within the third cell: the two before it are written, the profile is not, and the exit status is 130."""
    target, profile = tmp_path / "stress.json", tmp_path / "profile.json"
    grid = ["--servers", "1,2", "--clients", "1,2,4", "--seconds", "0.5", "--json", str(target), "--profile", str(profile)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *options, *grid], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    cells = 0
    for line in process.stderr:
        cells += line == "cell\n"
        if cells == 3:
            break
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    said = json.loads(target.read_text())
    assert 2 <= len(said["grid"]) < 6
    assert said["saturation"] is not None
    assert "interrupted" in said["warnings"][0]
    assert "the grid was not measured to its end" in words
    assert not profile.exists()
