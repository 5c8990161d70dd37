"""`diff` as a deployment's check would call it."""

import json
import os
from pathlib import Path

import pytest

from tests.integration.test_command_line import run
from tests.unit.report_world import Parsed
from tools.options import DEMO_QUESTIONS
from tools.scenes.planning import plan
from tools.scenes.video import render_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unseen minute in which the dog barks once."""
    (scene,) = plan(401, 1)
    path = tmp_path_factory.mktemp("diff") / f"{scene.camera}.mp4"
    render_video(scene, path)
    return path


def test_a_threshold_moves_exactly_the_events_that_depend_on_it(video: Path, tmp_path: Path) -> None:
    """The same questions: nothing, status 0. Barking's start two seconds later: that event shifts, status 1."""
    same = run("diff", str(DEMO_QUESTIONS), str(DEMO_QUESTIONS), str(video))
    assert same.returncode == 0, same.stderr
    assert "nothing changed: 6 episodes at the same times, no answer differs" in same.stdout

    slower = tmp_path / os.fsdecode(b"slower\xff.toml")  # a name that is no text can still be shown
    text = DEMO_QUESTIONS.read_text(encoding="utf-8")
    head, ask, rest = text.partition('ask = "is the dog barking?"')
    rule, separator, others = rest.partition("[[question]]")
    assert "start_after_s" in rule
    lines = ("start_after_s = 4.0" if line.startswith("start_after_s") else line for line in rule.splitlines())
    slower.write_text(head + ask + "\n".join(lines) + "\n" + separator + others, encoding="utf-8")
    page = tmp_path / "diff.html"
    changed = run("diff", str(DEMO_QUESTIONS), str(slower), str(video), "--json", "-", "--report", str(page))
    assert changed.returncode == 1, changed.stderr
    found = json.loads(changed.stdout)
    assert (found["changed"], found["same"], found["gained"], found["lost"]) == (True, 5, [], [])
    assert found["after"] == str(tmp_path / "slower?.toml")
    ((shift,), answers) = (found["shifted"], found["answers"])
    assert shift["before"]["behavior"] == shift["after"]["behavior"] == "barking"
    assert shift["started_s"] > 1.0
    assert shift["ended_s"] == 0.0
    assert [one["differing"] for one in answers] == [0] * 8
    parsed = Parsed.of(page.read_text(encoding="utf-8"))
    (picture,) = parsed.all("img")
    assert "barking begins" in picture.attributes["alt"]
    assert any("shifted" in one.text for one in parsed.all("li"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fp32", "fp8"), "'fp8' is no folder of an artifact, no questions file (.toml) and no precision (fp32, bf16, int8)"),
        (("int8", "fp32", "--artifact", "somewhere"), "an artifact has its precision"),
    ],
)
def test_what_is_no_side_is_refused(video: Path, arguments: tuple[str, ...], said: str) -> None:
    """With what would be right."""
    done = run("diff", *arguments[:2], str(video), *arguments[2:])
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
