"""Writes a calibrated questions file: the user's own file, comments included, with transforms, thresholds and provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit

from pipeline.artifact import Manifest
from pipeline.calibration import Calibration, Platt
from tools.calibrate.per_question import Calibrated
from tools.errors import CommandError
from tools.questions import QuestionFile, load_questions


@dataclass(frozen=True, slots=True)
class Original:
    """The questions file as it was when it was asked: hours later another may lie there."""

    name: str
    text: str
    asked: QuestionFile

    @classmethod
    def read(cls, path: Path) -> "Original":
        """Read a questions file.

        Raises:
            CommandError: it cannot be read, or is calibrated already.
        """
        asked = load_questions(path)
        calibrated = [question.behavior for question in asked.questions.questions if question.calibration is not None]
        if calibrated:
            msg = f"{path}: {calibrated[0]} is calibrated already: give the file that this one was made from"
            raise CommandError(msg)
        return cls(path.name, path.read_text(encoding="utf-8"), asked)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the calibration stands on."""

    manifest: Manifest
    truth: str
    truth_sha256: str
    recordings: int
    camera_days: float
    per_day: float | None
    """False alerts per camera-day that were asked for; None: thresholds mean what they meant."""


def write(out: Path, found: Sequence[Calibrated], original: Original, provenance: Provenance) -> None:
    """Write the file, and see that it says what was found.

    Raises:
        CommandError: it cannot be written.
    """
    document = tomlkit.parse(original.text)
    by_behavior = {one.behavior: one for one in found}
    for question in document["question"]:
        one = by_behavior[question["behavior"]]
        question["start_above"], question["stop_below"] = one.tried.start_above, one.tried.stop_below
        if one.calibration is not None:
            question["calibration"] = _transform(one.calibration)
    document["revision"] = original.asked.revision.number + 1
    document["calibrated"] = _provenance(found, original, provenance)
    try:
        out.write_text(tomlkit.dumps(document), encoding="utf-8")
    except OSError as error:
        msg = f"--out {out}: {error.strerror}"
        raise CommandError(msg) from error
    asked = load_questions(out)
    assert [question.calibration for question in asked.questions.questions] == [one.calibration for one in found]
    rules = asked.debounce.by_behavior.values()
    assert [(rule.start_above, rule.stop_below) for rule in rules] == [(x.tried.start_above, x.tried.stop_below) for x in found]


def _transform(calibration: Calibration) -> Mapping[str, Any]:
    if isinstance(calibration, Platt):
        return {"method": "platt", "slope": calibration.slope, "intercept": calibration.intercept}
    return {"method": "isotonic", "raw": list(calibration.raw), "calibrated": list(calibration.calibrated)}


def _provenance(found: Sequence[Calibrated], original: Original, provenance: Provenance) -> Mapping[str, Any]:
    manifest = provenance.manifest
    wanted = {} if provenance.per_day is None else {"false_per_camera_day": provenance.per_day}
    return {
        "date": datetime.now(UTC).date(),
        "questions": original.name,
        "questions_fingerprint": original.asked.questions.fingerprint,
        "model": manifest.model_id,
        "weights": manifest.weights,
        "artifact": manifest.id,
        "precision": manifest.precision.value,
        "truth": provenance.truth,
        "truth_sha256": provenance.truth_sha256,
        "recordings": provenance.recordings,
        "camera_days": float(f"{provenance.camera_days:.4g}"),
        **wanted,
        "question": [_evidence(one) for one in found],
    }


def _evidence(one: Calibrated) -> Mapping[str, Any]:
    evidence: dict[str, Any] = {"behavior": one.behavior, "frames": one.frames, "true_frames": one.true_frames}
    if one.fitted is None:
        evidence["kept_because"] = one.kept_because
    else:
        evidence["why"] = f"{one.fitted.method}: {one.fitted.why}"
        evidence["calibration_error"] = {"before": round(one.fitted.ece_before, 5), "after": round(one.fitted.ece_after, 5)}
    tried = one.tried
    evidence["found"], evidence["episodes"], evidence["false"] = tried.found, tried.episodes, tried.false
    evidence["false_per_camera_day_interval"] = [float(f"{bound:.3g}") for bound in tried.interval]
    return evidence
