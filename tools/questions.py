"""The questions file and cameras.toml: read, validated as a whole, and split.

One questions file holds the `QuestionSet` that the pipeline asks, the `DebounceRule` of each behaviour, and the clock's rules.

Its top level may hold `revision = 2` (a whole number from 1 on; default 1). It is written into the state: a worker whose file has
a lower revision leaves a partition alone, so that old and new workers of a rolling deploy do not end and start each other's
behaviours. Raise it with every change of the questions, also of one that goes back to what was asked before.

A question may hold `[question.calibration]`, what its scores go through, and the file `[calibrated]`, where that comes from:
`tools/run calibrate` writes both.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.calibration import Calibration, Isotonic, Platt
from pipeline.errors import QuestionError
from pipeline.questions import Question, QuestionSet
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.state_records import QuestionRevision
from tools.errors import CommandError
from tools.toml_file import read_toml


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Stream(_Strict):
    """[stream]: what holds for every camera. Defaults: DESIGN section 6."""

    sample_fps: float = Field(default=2.0, gt=0, le=120)
    max_gap_s: float = Field(default=5.0, gt=0)
    max_jump_s: float = Field(default=3600.0, gt=0)
    lost_after_s: float = Field(default=30.0, gt=0)
    forget_after_s: float = Field(default=14 * 86_400.0, gt=0)


class _Platt(_Strict):
    """[question.calibration] with `method = "platt"`."""

    method: Literal["platt"]
    slope: float = Field(gt=0, allow_inf_nan=False)
    intercept: float = Field(allow_inf_nan=False)

    def made(self) -> Calibration:
        return Platt(self.slope, self.intercept)


class _Isotonic(_Strict):
    """[question.calibration] with `method = "isotonic"`."""

    method: Literal["isotonic"]
    raw: tuple[float, ...]
    calibrated: tuple[float, ...]

    def made(self) -> Calibration:
        return Isotonic(self.raw, self.calibrated)


class _Question(_Strict):
    """[[question]]: wording and rule of one behaviour."""

    behavior: str
    ask: str
    yes: tuple[str, ...] = ("yes",)
    no: tuple[str, ...] = ("no",)
    start_above: float = Field(default=0.65, ge=0, le=1)
    stop_below: float = Field(default=0.35, ge=0, le=1)
    start_after_s: float = Field(default=2.0, ge=0)
    stop_after_s: float = Field(default=5.0, ge=0)
    cooldown_s: float = Field(default=60.0, ge=0)
    min_share: float = Field(default=0.5, ge=0, le=1)
    max_duration_s: float = Field(default=3600.0, gt=0)
    severity: str = "info"
    calibration: Annotated[_Platt | _Isotonic, Field(discriminator="method")] | None = None

    def asked(self) -> Question:
        try:
            calibration = None if self.calibration is None else self.calibration.made()
        except QuestionError as error:
            msg = f"behavior {self.behavior!r}: {error}"
            raise QuestionError(msg) from error
        return Question(self.behavior, self.ask, self.yes, self.no, calibration)

    def rule(self) -> DebounceRule:
        return DebounceRule(**self.model_dump(exclude={"ask", "yes", "no", "calibration"}))


class _Calibrated(BaseModel):
    """[calibrated]: where the calibrations come from. People read the rest of it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    weights: str
    """Of the checkpoint whose scores they were fitted to, as in an artifact's manifest."""


class _File(_Strict):
    revision: int = Field(default=1, ge=1, strict=True)
    stream: _Stream = _Stream()
    calibrated: _Calibrated | None = None
    question: tuple[_Question, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """What a questions file says, split by who uses it."""

    questions: QuestionSet
    debounce: DebounceRules
    clock: ClockRules
    revision: QuestionRevision
    calibrated_for: str | None
    """Weights whose scores the calibrations were fitted to, as in an artifact's manifest; None where nothing says so."""


def load_questions(path: Path) -> QuestionFile:
    """Read a questions file.

    Raises:
        CommandError: naming the file, the key and what would be right.
    """
    try:
        parsed = _File.model_validate(read_toml(path))
    except ValidationError as error:
        raise CommandError(_first_complaint(path, error)) from error
    stream = parsed.stream
    try:
        questions = QuestionSet(tuple(item.asked() for item in parsed.question))
        return QuestionFile(
            questions=questions,
            debounce=DebounceRules.of(
                (item.rule() for item in parsed.question),
                max_gap_s=stream.max_gap_s,
                lost_after_s=stream.lost_after_s,
                forget_after_s=stream.forget_after_s,
            ),
            clock=ClockRules(sample_fps=stream.sample_fps, max_gap_s=stream.max_gap_s, max_jump_s=stream.max_jump_s),
            revision=QuestionRevision(parsed.revision, questions.fingerprint),
            calibrated_for=None if parsed.calibrated is None else parsed.calibrated.weights,
        )
    except (QuestionError, ValueError) as error:
        msg = f"{path}: {error}"
        raise CommandError(msg) from error


def reload_questions(path: Path, before: QuestionFile, cameras: CameraRegistry, *, accept_older: bool = False) -> QuestionFile:
    """Read the questions file again, for a worker that is at work.

    Args:
        path: the file.
        before: what is asked now.
        cameras: as read at the start; their own thresholds must fit the new rules.
        accept_older: take a revision that is lower than the one in force.

    Raises:
        CommandError: it cannot be read, or cannot be taken by a worker that is at work; naming the file and the key.
    """
    asked = load_questions(path)
    now, then = asked.revision, before.revision
    changed = [key for key in _Stream.model_fields if _stream_value(asked, key) != _stream_value(before, key)]
    if changed:
        complaint = f"stream.{changed[0]} has changed, and is in the state of every camera: restart the worker to change it"
    elif now.number < then.number and not accept_older:
        complaint = (
            f"revision {now.number} is older than {then.number}, which is in force: to roll back, give the old questions a "
            f"revision above {then.number}, or start the worker with --accept-older-revision"
        )
    elif now.number == then.number and now.fingerprint != then.fingerprint:
        complaint = (
            f"the questions have changed, and revision is still {now.number}: raise it, so that workers with the old questions "
            "leave alone what this one has asked the new ones"
        )
    else:
        complaint = _misfit(asked, cameras)
    if complaint:
        msg = f"{path}: {complaint}"
        raise CommandError(msg)
    return asked


def _stream_value(asked: QuestionFile, key: str) -> float:
    value: float = getattr(asked.clock if hasattr(asked.clock, key) else asked.debounce, key)
    return value


def _misfit(asked: QuestionFile, cameras: CameraRegistry) -> str:
    try:
        cameras.check(asked.clock, asked.debounce)
    except ValueError as error:
        return f"{error}. What cameras.toml says is read at the start: mend it, and restart the worker"
    return ""


def load_cameras(path: Path | None, asked: QuestionFile | None = None) -> CameraRegistry:
    """Read cameras.toml; without one every camera follows the defaults.

    Args:
        path: the file, if there is one.
        asked: what is asked, for those who ask: the cameras' own thresholds and sampling must fit it.

    Raises:
        CommandError: naming the file and the key.
    """
    try:
        registry = CameraRegistry.parse({} if path is None else read_toml(path))
        if asked is not None:
            registry.check(asked.clock, asked.debounce)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise CommandError(msg) from error
    return registry


def _first_complaint(path: Path, error: ValidationError) -> str:
    """Say which key of which question is wrong, and the likely right one."""
    first = error.errors()[0]
    place = ".".join(str(part + 1) if isinstance(part, int) else str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*_Question.model_fields, *_Stream.model_fields, *_File.model_fields]
        close = get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"
        return f"{path}: unknown key {place!r}{hint}"
    return f"{path}: {place}: {first['msg']} (given: {first['input']!r})"
