"""Calibrates one question after the other, and tells what that does to recordings that had no part in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.calibration import Calibration
from stream.cameras import CameraRegistry
from stream.debounce import DebounceRule
from tools.calibrate.fit import Fitted, Method, TooLittle, applied, fit, methods
from tools.calibrate.thresholds import Given, NoThreshold, Rehearsal, Tried, Watched, carried
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

    given: Given
    margin_s: float
    """Frames nearer to an edge of the truth are left out."""
    method: Method | None
    per_day: float | None
    """False alerts per camera-day at most; None: thresholds mean what they meant."""


def gathered(watched: Watched, wanted: Wanted) -> list[Answered]:
    """Set every answer beside its truth."""
    seen = [one for each in watched.observations.values() for one in each]
    min_share = {name: rule.min_share for name, rule in wanted.given.rules.by_behavior.items()}
    return gather(seen, watched.truth, watched.began_s, min_share, wanted.margin_s)


def calibrate_each(watched: Watched, wanted: Wanted, report: Callable[[str, int, int], None]) -> list[Calibrated]:
    """Fit every question's transform, and find its thresholds.

    Args:
        watched: by a device that asked the questions without calibrations.
        wanted: how.
        report: told what is being tried, questions done, questions in all.

    Raises:
        CommandError: no threshold of some questions holds the rate, or a camera's own contradict them; names them all.
    """
    answered = gathered(watched, wanted)
    found: list[Calibrated] = []
    refused: list[str] = []
    for done, one in enumerate(answered):

        def tell(start_above: float, behavior: str = one.behavior, done: int = done) -> None:
            report(f"{behavior} at {start_above:g}", done, len(answered))

        fitted, rule, reason = _fitted(watched, one, wanted)
        rehearsal = Rehearsal(watched, one.behavior, None if fitted is None else fitted.calibration, wanted.given)
        tell(rule.start_above)
        try:
            tried = rehearsal.play(rule) if wanted.per_day is None else rehearsal.choose(rule, wanted.per_day, tell)
        except (NoThreshold, ValueError) as error:
            refused.append(f"{one.behavior}: {error}")
        else:
            found.append(Calibrated(one.behavior, len(one.p_yes), int(one.is_true.sum()), fitted, reason, tried))
    if refused:
        rate = "" if wanted.per_day is None else f" for {wanted.per_day:g} false alerts per camera-day"
        msg = f"no thresholds{rate}. {'; '.join(refused)}. Record more, ask for a higher rate, reword it, or mend cameras.toml"
        raise CommandError(msg)
    return found


def _fitted(watched: Watched, answered: Answered, wanted: Wanted) -> tuple[Fitted | None, DebounceRule, str]:
    """Fit, and carry the thresholds over; give the reason where all stays as it is."""
    rule = wanted.given.rules.by_behavior[answered.behavior]
    reason = ""
    for method, why in ({wanted.method: "asked for"} if wanted.method else methods(answered)).items():
        try:
            fitted = fit(answered, method, why)
            moved = carried(rule, fitted.calibration)
        except TooLittle as error:
            reason = str(error)
            continue
        if not fitted.helps:
            change = f"{fitted.ece_before:.4f} before, {fitted.ece_after:.4f} after"
            reason = f"on recordings that it was not fitted to its error does not fall ({change})"
        elif wanted.per_day is None and not _tells_the_same(watched, rule, moved, fitted.calibration, wanted):
            reason = "where its thresholds lie the curve is level: other events would follow"
        else:
            return fitted, moved, ""
    return None, rule, reason


def _tells_the_same(watched: Watched, rule: DebounceRule, moved: DebounceRule, turned: Calibration, wanted: Wanted) -> bool:
    """Compare the events with and without the transform; cameras' own thresholds aside, which do not move."""
    common = Given(wanted.given.rules, CameraRegistry())
    before, after = (Rehearsal(watched, rule.behavior, each, common) for each in (None, turned))
    return before.sightings(rule) == after.sightings(moved)


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
