"""A question's calibration: what it does to scores, what it is part of, and what a questions file says of it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calibration import Calibration, Isotonic, Platt
from pipeline.errors import QuestionError
from pipeline.packing import pack
from pipeline.questions import Question, QuestionSet
from stream.cameras import CameraRegistry
from tests.unit.test_packing import VOCABULARY
from tools.errors import CommandError
from tools.questions import load_questions, reload_questions

PLATT = Platt(2.0, -1.0)
ISOTONIC = Isotonic((0.2, 0.6, 0.9), (0.1, 0.1, 0.7))


def scores(*values: float) -> np.ndarray:
    """Scores as the model gives them."""
    return np.array(values, np.float32)


def test_platt_by_hand() -> None:
    """P = 0.8 has odds of 4: 2 ln 4 - 1 are odds of 16 / e; the ends of the scale stay finite, and in order."""
    odds = 16 / np.e
    assert PLATT(scores(0.8)) == pytest.approx(odds / (1 + odds), rel=1e-6)
    low, high = PLATT(scores(0.0, 1.0))
    assert 0 < low < 1e-10
    assert high == pytest.approx(1.0)
    assert Platt(1.0, 0.0)(scores(0.3)) == pytest.approx(0.3)


def test_isotonic_by_hand() -> None:
    """Lines between the points, level beyond them."""
    assert ISOTONIC(scores(0.0, 0.2, 0.5, 0.75, 0.9, 1.0)).tolist() == pytest.approx([0.1, 0.1, 0.1, 0.4, 0.7, 0.7])


@given(
    st.lists(st.floats(0, 1, width=32), min_size=2),
    st.builds(Platt, st.floats(0.01, 50), st.floats(-20, 20)) | st.just(ISOTONIC),
)
def test_no_transform_reorders_frames(given_scores: list[float], calibration: Calibration) -> None:
    """What was more certain is not less certain afterwards, and all stays a probability."""
    turned = calibration(np.sort(scores(*given_scores)))
    assert turned.dtype == np.float32
    assert ((turned >= 0) & (turned <= 1)).all()
    assert (np.diff(turned) >= 0).all()


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 0.0), (-1.0, 0.0), (float("inf"), 0.0), (1.0, float("nan"))])
def test_a_platt_that_is_none_is_refused(slope: float, intercept: float) -> None:
    """A slope of 0 makes all frames one, one below turns yes into no."""
    with pytest.raises(QuestionError, match="slope"):
        Platt(slope, intercept)


@pytest.mark.parametrize(
    ("raw", "calibrated"), [((), ()), ((0.1,), (0.1, 0.2)), ((0.2, 0.2), (0.1, 0.2)), ((0.1, 0.2), (0.5, 0.4)), ((0.1,), (1.1,))]
)
def test_an_isotonic_that_is_none_is_refused(raw: tuple[float, ...], calibrated: tuple[float, ...]) -> None:
    """Points that do not rise are no function that could be meant."""
    with pytest.raises(QuestionError, match="isotonic"):
        Isotonic(raw, calibrated)


def test_only_the_calibrated_question_is_turned() -> None:
    """Its column of the answers, the share untouched; without its calibration the same as ever."""
    plain, turned = Question("first", "dog"), Question("second", "is it", calibration=PLATT)
    log_probs_BD2 = np.log(np.array([[[0.8, 0.2], [0.4, 0.1]]], np.float32))
    answers = pack(QuestionSet((plain, turned)), VOCABULARY).read(log_probs_BD2)
    assert answers.p_yes[0].tolist() == pytest.approx([0.8, PLATT(scores(0.8))[0]])
    assert answers.share[0].tolist() == pytest.approx([1.0, 0.5])
    raw = pack(QuestionSet((plain, turned)).uncalibrated, VOCABULARY).read(log_probs_BD2)
    assert raw.p_yes[0].tolist() == pytest.approx([0.8, 0.8])


def test_a_calibration_is_part_of_what_answers_mean() -> None:
    """Another one makes another fingerprint; none leaves it what it was before there were calibrations."""
    sets = [
        QuestionSet((Question("barking", "is the dog barking?", calibration=each),))
        for each in (None, PLATT, Platt(2.0, -0.9), ISOTONIC)
    ]
    assert len({each.fingerprint for each in sets}) == 4
    assert sets[0].fingerprint == sets[1].uncalibrated.fingerprint == "8701010ef90462fd"


FILE = """
revision = 3
[[question]]
behavior = "barking"
ask = "is the dog barking?"
[question.calibration]
method = "platt"
slope = 2.0
intercept = -1.0
[[question]]
behavior = "eating"
ask = "is the dog eating?"
calibration = { method = "isotonic", raw = [0.2, 0.6, 0.9], calibrated = [0.1, 0.1, 0.7] }
[calibrated]
date = 2026-11-26
weights = "0123456789abcdef"
"""


def written(folder: Path, text: str) -> Path:
    """The text as a file."""
    path = folder / "questions.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_questions_file_holds_calibrations(tmp_path: Path) -> None:
    """Of both kinds, and whose scores they were fitted to."""
    asked = load_questions(written(tmp_path, FILE))
    assert [question.calibration for question in asked.questions.questions] == [PLATT, ISOTONIC]
    assert (asked.calibrated_for, asked.revision.number) == ("0123456789abcdef", 3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("slope = 2.0", "slope = -2.0", "calibration.*slope"),
        ('method = "platt"', 'method = "plat"', "question.1.calibration"),
        ("intercept = -1.0", "intercep = -1.0", "intercep"),
        ("0.6, 0.9]", "0.6, 0.5]", "behavior 'eating': isotonic"),
        ('weights = "0123456789abcdef"', "", "calibrated.weights"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    """File and place."""
    assert old in FILE
    with pytest.raises(CommandError, match=rf"(?s)questions\.toml.*{said}"):
        load_questions(written(tmp_path, FILE.replace(old, new)))


def test_a_worker_takes_another_calibration_with_another_revision_only(tmp_path: Path) -> None:
    """It changes what the answers mean, as another wording would."""
    before = load_questions(written(tmp_path, FILE))
    changed = FILE.replace("slope = 2.0", "slope = 2.5")
    with pytest.raises(CommandError, match="the questions have changed, and revision is still 3"):
        reload_questions(written(tmp_path, changed), before, CameraRegistry())
    taken = reload_questions(written(tmp_path, changed.replace("revision = 3", "revision = 4")), before, CameraRegistry())
    assert taken.questions.questions[0].calibration == Platt(2.5, -1.0)
