"""Fits a question's score transform to frames whose truth is known, and tries it on recordings that it has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Calibration, Isotonic, Platt, log_odds
from tools.evaluate.frames import Answered, calibration_error

Method: TypeAlias = Literal["platt", "isotonic"]

ENOUGH_FRAMES = 1000
"""Of the rarer kind, from which on isotonic regression no longer fits the noise: Niculescu-Mizil and Caruana (2005)."""
_FOLDS = 5
_DIGITS = 6
"""Of the parameters: what is written to the file is what was tried."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A transform, and the error with and without it on recordings that it was not fitted to."""

    calibration: Calibration
    method: Method
    why: str
    ece_before: float
    """Expected calibration error of the scores as they are."""
    ece_after: float
    """Of scores whose transform was fitted to the other recordings (cross-validation)."""

    @property
    def helps(self) -> bool:
        """Whether the error falls."""
        return self.ece_after < self.ece_before


class TooLittle(Exception):
    """Nothing can be fitted to these frames; says why."""


def methods(answered: Answered) -> dict[Method, str]:
    """Name what is worth a try, the best first, and why: isotonic where it has enough frames; Platt's two numbers need few."""
    rarer = int(min(answered.is_true.sum(), (~answered.is_true).sum()))
    if rarer >= ENOUGH_FRAMES:
        why = f"{rarer} frames of the rarer kind, {ENOUGH_FRAMES} are enough for a curve of any shape"
        return {"isotonic": why, "platt": f"{rarer} frames of the rarer kind, and a curve of any shape does not help"}
    return {"platt": f"{rarer} frames of the rarer kind, under the {ENOUGH_FRAMES} that isotonic needs"}


def fit(answered: Answered, method: Method, why: str) -> Fitted:
    """Fit one question.

    Args:
        answered: its answers as the model gives them, without a calibration.
        method: of the transform.
        why: it was chosen.

    Raises:
        TooLittle: without true or without false frames in some part of the recordings, or with scores that do not rise with the
            truth.
    """
    p_yes, is_true = answered.p_yes.astype(np.float32), answered.is_true  # as the worker's transform gets them
    if not answered.has_both:
        msg = f"{'all' if is_true.any() else 'none'} of its {len(is_true)} frames are true: both kinds are needed"
        raise TooLittle(msg)
    fitting = _platt if method == "platt" else _isotonic
    tried = _cross_validated(fitting, p_yes, is_true, np.array(answered.cameras))
    return Fitted(
        calibration=fitting(p_yes, is_true),
        method=method,
        why=why,
        ece_before=calibration_error(answered.p_yes, is_true),
        ece_after=calibration_error(tried, is_true),
    )


def applied(calibration: Calibration | None, answered: Answered) -> NDArray[np.float64]:
    """Give the scores that a worker gives with a transform; (n,) in [0, 1]."""
    if calibration is None:
        return answered.p_yes
    return calibration(answered.p_yes.astype(np.float32)).astype(np.float64)


def _cross_validated(
    fitting: Callable[[NDArray[np.float32], NDArray[np.bool_]], Calibration],
    p_yes: NDArray[np.float32],
    is_true: NDArray[np.bool_],
    cameras: NDArray[np.str_],
) -> NDArray[np.float64]:
    """Give each recording's frames what a fit to the other recordings makes of them: frames of one resemble each other."""
    from sklearn.model_selection import GroupKFold

    recordings = len(np.unique(cameras))
    if recordings < 2:  # noqa: PLR2004  (one to fit to, one to try)
        msg = "it stands on one recording: give two or more, so that the transform can be tried on what it was not fitted to"
        raise TooLittle(msg)
    turned = np.empty(len(p_yes), np.float64)
    for others, held_out in GroupKFold(min(_FOLDS, recordings)).split(p_yes, groups=cameras):
        if is_true[others].all() or not is_true[others].any():
            kind = "false" if is_true[others].all() else "true"
            msg = f"its {kind} frames are in too few recordings: without {_named(cameras[held_out])} there is none"
            raise TooLittle(msg)
        turned[held_out] = fitting(p_yes[others], is_true[others])(p_yes[held_out])
    return turned


def _named(cameras: NDArray[np.str_]) -> str:
    return " and ".join(str(camera) for camera in np.unique(cameras))


def _platt(p_yes: NDArray[np.float32], is_true: NDArray[np.bool_]) -> Platt:
    """Fit slope and intercept to the smoothed targets of Platt (1999): (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    A target t of a frame is that frame as true with weight t and as false with weight 1 - t. Smoothing keeps the slope finite
    where no score is on the wrong side.
    """
    from sklearn.linear_model import LogisticRegression

    trues, falses = int(is_true.sum()), int((~is_true).sum())
    target = np.where(is_true, (trues + 1) / (trues + 2), 1 / (falses + 2))
    odds_N1 = log_odds(p_yes)[:, None]
    model: Any = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8)
    model.fit(
        np.concatenate([odds_N1, odds_N1]),
        np.repeat([True, False], len(target)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope, intercept = round(float(model.coef_[0, 0]), _DIGITS), round(float(model.intercept_[0]), _DIGITS)
    if slope <= 0:
        msg = "its scores do not rise with the truth: no transform mends that, another wording may"
        raise TooLittle(msg)
    return Platt(slope, intercept)


def _isotonic(p_yes: NDArray[np.float32], is_true: NDArray[np.bool_]) -> Isotonic:
    """Fit the rising curve, and keep each of its steps as the one point at its middle (Oron and Flournoy 2017).

    Lines between those points rise, where the steps themselves would make many scores one.
    """
    from sklearn.isotonic import IsotonicRegression

    p_yes = p_yes.astype(np.float64)  # of scores near 1 it makes NaN in float32
    model: Any = IsotonicRegression(y_min=0.0, y_max=1.0)
    order = np.argsort(p_yes, kind="stable")
    steps = model.fit_transform(p_yes[order], is_true[order].astype(float))
    points = []
    for level, of_it in groupby(zip(p_yes[order], steps, strict=True), key=lambda pair: float(pair[1])):
        points.append((round(float(np.mean([raw for raw, _ in of_it])), _DIGITS), round(level, _DIGITS)))
    kept = dict(points)  # scores that rounding made one
    return Isotonic(tuple(kept), tuple(kept.values()))
