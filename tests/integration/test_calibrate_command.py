"""`calibrate` as a person would call it, and a worker that takes what it wrote."""

import csv
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.integration.test_command_line import run
from tools.assembly import open_device
from tools.devices import DeviceChoice
from tools.options import DEMO_QUESTIONS
from tools.playback import BEGAN_S, Heard, hear
from tools.questions import load_questions
from tools.recordings import Placement, find


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three unseen minutes and their truth."""
    folder = tmp_path_factory.mktemp("calibrate") / "videos"
    rendered = run("scenes", "--out", str(folder), "--seeds", "411-413", "--cameras", "1")
    assert rendered.returncode == 0, rendered.stderr
    return folder


def slow_truth(videos: Path, seeds: Sequence[str], to: Path) -> Path:
    """The truth of somebody who writes down the end of everything up to 4 s late: half sure is what the model should be then."""
    with (videos / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["video"].split("/")[0] in seeds]
    for row in rows:
        own = [float(each["start_s"]) for each in rows if (each["video"], each["behavior"]) == (row["video"], row["behavior"])]
        end_s = float(row["end_s"])
        row["end_s"] = str(min([end_s + 4.0, 59.0, *(start_s for start_s in own if start_s >= end_s)]))
    with to.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "video": str(videos / row["video"])} for row in rows)
    return to


def heard(questions: Path, video: str) -> Heard:
    """What a worker with a questions file tells of a recording."""
    with open_device(DeviceChoice.of(None, None, None, questions), None) as device:
        return hear(device, find([video], Placement(BEGAN_S)))


def test_a_worker_gives_calibrated_scores_and_the_same_events(videos: Path, tmp_path: Path) -> None:
    """Thresholds moved with the scores; the file says where all of it comes from; comments stay."""
    out, truth = tmp_path / "calibrated.toml", slow_truth(videos, ("411", "412"), tmp_path / "slow.csv")
    unseen = ("--check", str(videos / "413"), "--check-truth", str(slow_truth(videos, ("413",), tmp_path / "unseen.csv")))
    given = (str(videos / "411"), str(videos / "412"), "--truth", str(truth), "--out", str(out))
    done = run("calibrate", *given, *unseen, "--method", "platt", "--json", "-")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    turned = {one["behavior"]: one for one in figures["behaviors"] if one["method"]}
    assert {one["method"] for one in turned.values()} == {"platt"}
    assert "on_sofa" in turned
    assert all(one["ece_after"] < one["ece_before"] for one in turned.values())
    assert figures["check"]["lowers"] is True
    assert figures["check"]["ece_after"] < 0.9 * figures["check"]["ece_before"]
    days = figures["camera_days"]
    assert 100 / 86_400 < days < 140 / 86_400
    # seed 411's dog stands at the bowl three seconds before it eats: told so early it is no alert of that episode
    assert {one["behavior"]: one["false"] for one in figures["behaviors"] if one["false"]} == {"eating": 1}
    assert all(one["false_per_camera_day_interval"][1] > 2.9957 / days * 0.999 for one in figures["behaviors"])

    text = out.read_text(encoding="utf-8")
    assert text.startswith("# The demo's questions")
    provenance = tomllib.loads(text)["calibrated"]
    assert (provenance["artifact"], provenance["recordings"]) == (figures["artifact"], 2)
    assert [one["behavior"] for one in provenance["question"]] == [one["behavior"] for one in figures["behaviors"]]
    asked = load_questions(out)
    assert asked.revision.number == load_questions(DEMO_QUESTIONS).revision.number + 1

    video = str(next((videos / "411").glob("*.mp4")))
    before, after = heard(DEMO_QUESTIONS, video), heard(out, video)
    assert after.sightings == before.sightings != []
    calibrations = {question.behavior: question.calibration for question in asked.questions.questions}
    assert turned.keys() == {name for name, calibration in calibrations.items() if calibration is not None}
    for was, now in zip(before.observations, after.observations, strict=True):
        for name, calibration in calibrations.items():
            raw = np.array([was.answers[name].p_yes], np.float32)
            wanted = raw if calibration is None else calibration(raw)
            assert np.float32(now.answers[name].p_yes) == pytest.approx(wanted[0], abs=1e-6)
    was_told, is_told = (
        [alert["data"]["score"] for alert in one.alerts if alert["data"].get("behavior") == "on_sofa"] for one in (before, after)
    )
    assert calibrations["on_sofa"] is not None
    assert is_told == pytest.approx(calibrations["on_sofa"](np.array(was_told, np.float32)), abs=1e-6)


def test_what_cannot_be_shown_is_refused(videos: Path, tmp_path: Path) -> None:
    """Before minutes of answering: a rate that two minutes cannot show, a calibrated file, half of a check."""
    said = ("calibrate", str(videos), "--truth", str(videos / "truth.csv"), "--out", str(tmp_path / "out.toml"))
    for more, sentence in (
        (
            ("--false-per-camera-day", "1"),
            "to be 95 % sure of that rate takes 3 without one false alert: record more, or ask for",
        ),
        (("--false-per-camera-day", "0"), "give a number over 0"),
        (("--check", str(videos)), "--check and --check-truth belong together"),
        (("--out", str(DEMO_QUESTIONS)), "is needed to calibrate again"),
    ):
        done = run(*said, *more)
        assert done.returncode == 2, done
        assert sentence in " ".join(done.stderr.split())
    assert not (tmp_path / "out.toml").exists()
