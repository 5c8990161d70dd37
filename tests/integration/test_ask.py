"""`ask`: every question about every picture, and what it does with files that are no pictures."""

import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pipeline.artifact import MANIFEST
from pipeline.engine import Device, Engine
from pipeline.preprocess import fit
from tests.integration.test_command_line import run
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools.ask import ask
from tools.compile import UNUSED_S, cached

app = typer.Typer()
app.command()(ask)


def save_question_file(path: Path) -> Path:
    """Write the small checkpoint's questions as a questions file."""
    blocks = (f'[[question]]\nbehavior = "{one.behavior}"\nask = "{one.ask}"\n' for one in QUESTIONS.questions)
    path.write_text("\n".join(blocks))
    return path


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Name a small checkpoint and its questions."""
    model = save_tiny(tmp_path / "model")
    return ["--model", str(model), "--questions", str(save_question_file(tmp_path / "questions.toml"))]


def save_picture(path: Path) -> Path:
    """Write a lossless picture of odd size."""
    cv2.imwrite(str(path), cv2.resize(pictures(1, 99)[0], (131, 77)))
    return path


def test_json_holds_every_answer_in_full_precision(options: list[str], tmp_path: Path) -> None:
    """Picture, behavior, wording, P(yes) and share, bit for bit what the engine says about the decoded picture."""
    picture = save_picture(tmp_path / "sofa.png")
    said = json.loads(CliRunner().invoke(app, [str(picture), *options, "--json", "-"], catch_exceptions=False).stdout)
    pixels = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
    engine = Engine(cached(options[1], Path(options[3])), Device("cpu"), QUESTIONS)
    answers = engine.answer(fit(pixels, engine.image_size)[None], 1)
    assert [one["picture"] for one in said] == [str(picture)]
    assert [(one["behavior"], one["ask"]) for one in said[0]["answers"]] == [(q.behavior, q.ask) for q in QUESTIONS.questions]
    assert [np.float32(one["p_yes"]) for one in said[0]["answers"]] == answers.p_yes[0].tolist()
    assert [np.float32(one["share"]) for one in said[0]["answers"]] == answers.share[0].tolist()


def test_table_shows_every_question(options: list[str], tmp_path: Path) -> None:
    """Without --json a person reads the wordings and the probabilities."""
    done = run("ask", str(save_picture(tmp_path / "sofa.png")), *options, COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert all(question.ask in done.stdout for question in QUESTIONS.questions)


def test_what_is_no_picture_is_named_and_the_others_are_answered(options: list[str], tmp_path: Path) -> None:
    """Not found, not an image, cut short: one sentence each; exit status 1; the good pictures are answered."""
    good = [save_picture(tmp_path / name) for name in ("first.png", "last.png")]
    text, cut = tmp_path / "[notes].txt", tmp_path / "cut.png"
    text.write_text("no picture")
    cut.write_bytes(good[0].read_bytes()[:200])
    bad = [text, cut, tmp_path / "absent.jpg"]
    done = run("ask", *map(str, [good[0], *bad, good[1]]), *options, "--json", "-")
    assert done.returncode == 1, done.stderr
    assert [one["picture"] for one in json.loads(done.stdout)] == [str(path) for path in good]
    for path in bad:
        assert f"{path} cannot be read as a picture" in done.stderr


def test_the_cache_drops_what_nobody_has_started_for_long(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compilation clears old artifacts and their logs away; one that is started is young again."""
    monkeypatch.setenv("PAWSIGHT_CACHE", str(tmp_path))
    artifacts = tmp_path / "artifacts"
    long_ago_s = time.time() - UNUSED_S - 60
    for name in ("old", "young"):
        (artifacts / name).mkdir(parents=True)
        (artifacts / name / MANIFEST).write_text("{}")
        (artifacts / f"{name}.log").write_text("")
    os.utime(artifacts / "old" / MANIFEST, (long_ago_s, long_ago_s))
    made = cached(options[1], Path(options[3])).folder
    visible = {path.name for path in artifacts.iterdir() if not path.name.startswith(".")}
    assert visible == {"young", "young.log", made.name, f"{made.name}.log"}
    os.utime(made / MANIFEST, (long_ago_s, long_ago_s))
    assert cached(options[1], Path(options[3])).folder == made
    assert (made / MANIFEST).stat().st_mtime > long_ago_s + UNUSED_S
