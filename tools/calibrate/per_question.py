"""Calibrates one question after the other, and tells what that does to recordings that had no part in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.calibration import Calibration
from stream.cameras import CameraRegistry
from stream.debounce import DebounceRule, DebounceRules
from tools.calibrate.fit import Fitted, Method, TooLittle, applied, fit
from tools.calibrate.thresholds import NoThreshold, Question, Tried, Watched, carried, choose, try_thresholds
from tools.errors import CommandError
from tools.evaluate.frames import Answered, calibration_error, gather


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What was found for one question."""

    behavior: str
    frames: int
    true_frames: int
    fitted: Fitted | None
    """None: its scores stay as they are."""
    kept_because: str
    """Why they stay; empty where they do not."""
    tried: Tried
    """Its thresholds, and what they do on these recordings."""

    @property
    def calibration(self) -> Calibration | None:
        """What its scores go through."""
        return None if self.fitted is None else self.fitted.calibration


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the questions are calibrated."""

    rules: DebounceRules
    cameras: CameraRegistry
    """Their own thresholds stay."""
    margin_s: float
    """Frames nearer to an edge of the truth are left out."""
    method: Method | None
    per_day: float | None
    """False alerts per camera-day at most; None: thresholds mean what they meant."""


def gathered(watched: Watched, wanted: Wanted) -> list[Answered]:
    """Set every answer beside its truth."""
    seen = [one for each in watched.observations.values() for one in each]
    min_share = {name: rule.min_share for name, rule in wanted.rules.by_behavior.items()}
    return gather(seen, watched.truth, watched.began_s, min_share, wanted.margin_s)


def calibrate_each(watched: Watched, wanted: Wanted, report: Callable[[str, int, int], None]) -> list[Calibrated]:
    """Fit every question's transform, and find its thresholds.

    Args:
        watched: by a device that asked the questions without calibrations.
        wanted: how.
        report: told what is being tried, questions done, questions in all.

    Raises:
        CommandError: no threshold of some question holds the rate.
    """
    answered = gathered(watched, wanted)
    found: list[Calibrated] = []
    for one in answered:

        def tell(start_above: float, behavior: str = one.behavior) -> None:
            report(f"{behavior} at {start_above:g}", len(found), len(answered))

        rule = wanted.rules.by_behavior[one.behavior]
        fitted, rule, reason = _fitted(one, rule, wanted.method)
        question = Question(rule, None if fitted is None else fitted.calibration)
        tried = _thresholds(watched, question, wanted, tell)
        found.append(Calibrated(one.behavior, len(one.p_yes), int(one.is_true.sum()), fitted, reason, tried))
    return found


def _fitted(answered: Answered, rule: DebounceRule, method: Method | None) -> tuple[Fitted | None, DebounceRule, str]:
    """Fit, and carry the thresholds over; give the reason where all stays as it is."""
    try:
        fitted = fit(answered, method)
        moved = carried(rule, fitted.calibration)
    except TooLittle as error:
        return None, rule, str(error)
    if fitted.helps:
        return fitted, moved, ""
    change = f"{fitted.ece_before:.4f} before, {fitted.ece_after:.4f} after"
    return None, rule, f"on recordings that it was not fitted to its error does not fall ({change})"


def _thresholds(watched: Watched, question: Question, wanted: Wanted, report: Callable[[float], None]) -> Tried:
    if wanted.per_day is None:
        report(question.rule.start_above)
        return try_thresholds(watched, question, wanted.rules, wanted.cameras, question.rule.start_above)
    try:
        return choose(watched, question, wanted.rules, wanted.cameras, wanted.per_day, report)
    except NoThreshold as error:
        rate = f"{wanted.per_day:g} false alerts per camera-day"
        msg = f"{question.rule.behavior}: no threshold holds {rate}: {error}. Record more, ask for a higher rate, or reword it"
        raise CommandError(msg) from error


@dataclass(frozen=True, slots=True)
class Checked:
    """What the transforms do to recordings that had no part in them."""

    before: dict[str, float]
    """Expected calibration error by behaviour; those without both kinds of frames are left out."""
    after: dict[str, float]
    frames: dict[str, int]

    def mean(self, errors: dict[str, float]) -> float | None:
        """Over the frames of all behaviours."""
        frames = sum(self.frames[name] for name in errors)
        return sum(errors[name] * self.frames[name] for name in errors) / frames if frames else None

    @property
    def lowers(self) -> bool:
        """Whether the mean error falls."""
        before, after = self.mean(self.before), self.mean(self.after)
        return before is not None and after is not None and after < before


def check(found: Sequence[Calibrated], answered: Sequence[Answered]) -> Checked:
    """Compare the error with and without the transforms."""
    checked = Checked({}, {}, {})
    for calibrated, one in zip(found, answered, strict=True):
        if one.has_both:
            checked.frames[one.behavior] = len(one.p_yes)
            checked.before[one.behavior] = calibration_error(one.p_yes, one.is_true)
            checked.after[one.behavior] = calibration_error(applied(calibrated.calibration, one), one.is_true)
    return checked
