"""The questions file that `calibrate` writes: what a worker reads of it is what was found."""

import tomllib
from pathlib import Path

import pytest

from pipeline.artifact import Manifest
from pipeline.backends.backend import Precision
from pipeline.calibration import Isotonic, Platt
from pipeline.stages import Layout
from tools.calibrate.fit import Fitted
from tools.calibrate.per_question import Calibrated
from tools.calibrate.question_file import Original, Provenance, write
from tools.calibrate.thresholds import Tried
from tools.errors import CommandError
from tools.questions import load_questions

BLOCKS = """# our pets
[stream]
sample_fps = 1.0

[[question]]
behavior = "barking"  # loud
ask = "is the dog barking?"
start_above = 0.8

[[question]]
behavior = "eating"
ask = "is the dog eating?"
"""
INLINE = """revision = 4
question = [
    { behavior = "barking", ask = "is the dog barking?", start_above = 0.8 },
    { behavior = "eating", ask = "is the dog eating?" },
]
"""
ISOTONIC = Isotonic((0.2, 0.6, 0.9), (0.1, 0.15, 0.7))


def manifest() -> Manifest:
    """Of an artifact that nobody needs to open."""
    return Manifest.model_construct(
        model_id="pets", weights="0123456789abcdef", precision=Precision.FP32, id="fedcba9876543210", layout=Layout.FUSED
    )


def calibrated(behavior: str, calibration: Platt | Isotonic | None, start_above: float) -> Calibrated:
    """Found on some recordings."""
    method = "platt" if isinstance(calibration, Platt) else "isotonic"
    fitted = None if calibration is None else Fitted(calibration, method, "to be seen", 0.2, 0.1)
    return Calibrated(
        behavior, 100, 40, fitted, "" if fitted else "too little", Tried(start_above, 0.1, 3, 2, 1, 0.5, (0.1, 0.9))
    )


@pytest.mark.parametrize(("text", "revision"), [(BLOCKS, 2), (INLINE, 5)])
@pytest.mark.parametrize("calibration", [Platt(1.5, -0.25), ISOTONIC, None])
def test_a_worker_reads_what_was_found(tmp_path: Path, text: str, revision: int, calibration: Platt | Isotonic | None) -> None:
    """In either spelling of the questions; what is not calibrated keeps its text; comments and provenance are there."""
    (tmp_path / "pets.toml").write_text(text, encoding="utf-8")
    original = Original.read(tmp_path / "pets.toml")
    (tmp_path / "pets.toml").unlink()  # hours later it may be another
    out = tmp_path / "out.toml"
    found = [calibrated("barking", calibration, 0.123456789), calibrated("eating", None, 0.65)]
    write(out, found, original, Provenance(manifest(), "truth.csv", "ab" * 32, 12, 3.14159, 0.5))
    asked = load_questions(out)
    assert [question.calibration for question in asked.questions.questions] == [calibration, None]
    assert asked.revision.number == revision
    assert asked.calibrated_for == "0123456789abcdef"
    assert asked.clock == original.asked.clock
    rule = asked.debounce.by_behavior["barking"]
    assert (rule.start_above, rule.stop_below) == (0.123456789, 0.1)
    written = out.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if "#" in line] == [line for line in written.splitlines() if "#" in line]
    told = tomllib.loads(written)["calibrated"]
    assert (told["questions"], told["camera_days"], told["false_per_camera_day"]) == ("pets.toml", 3.142, 0.5)
    assert told["question"][0]["false_per_camera_day_interval"] == [0.1, 0.9]
    assert told["question"][1]["kept_because"] == "too little"


def test_a_calibrated_file_is_not_calibrated_again(tmp_path: Path) -> None:
    """Its thresholds and scores are no longer the model's."""
    path = tmp_path / "pets.toml"
    path.write_text(f'{BLOCKS}[question.calibration]\nmethod = "platt"\nslope = 1.0\nintercept = 0.5\n', encoding="utf-8")
    with pytest.raises(
        CommandError, match=r"pets\.toml: eating is calibrated already: give the file that this one was made from"
    ):
        Original.read(path)
