"""Turns a model's P(yes) into one that means what it says: of the frames that get 0.8, eight in ten are yes. Pure.

A transform belongs to a question and is fitted on recordings whose truth is known (`tools/run calibrate`). Both kinds never fall,
so they reorder no frames.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import QuestionError

EDGE = 1e-6
"""Nearer to 0 or 1 than this P(yes) is taken as lying here: float32 holds too few numbers beyond to tell the odds apart."""


@dataclass(frozen=True, slots=True)
class Platt:
    """P' = 1 / (1 + exp(-(slope * log(P / (1 - P)) + intercept))): Platt (1999), on the log-odds."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        """Refuse what turns scores upside down or is no number.

        Raises:
            QuestionError: naming the value.
        """
        if not 0 < self.slope < math.inf or not math.isfinite(self.intercept):
            msg = f"Platt's slope is {self.slope} and intercept {self.intercept}: needed are a slope over 0 and a number"
            raise QuestionError(msg)

    @property
    def meaning(self) -> list[object]:
        """What it does, for a fingerprint."""
        return ["platt", self.slope, self.intercept]

    def __call__(self, p_yes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform, elementwise, [0, 1] to [0, 1]."""
        return expit(self.slope * log_odds(p_yes) + self.intercept).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines between points that never fall, level beyond the first and the last (Zadrozny and Elkan 2002)."""

    raw: tuple[float, ...]
    """P(yes) as the model gives it, rising."""
    calibrated: tuple[float, ...]
    """What each becomes, never falling."""

    def __post_init__(self) -> None:
        """Refuse points that do not rise.

        Raises:
            QuestionError: naming what is wrong.
        """
        if len(self.raw) != len(self.calibrated) or not self.raw:
            msg = (
                f"isotonic calibration has {len(self.raw)} raw and {len(self.calibrated)} calibrated values: give as many of both"
            )
            raise QuestionError(msg)
        rises = all(here < then for here, then in pairwise(self.raw))
        holds = all(here <= then for here, then in pairwise(self.calibrated))
        if not rises or not holds or not all(0 <= value <= 1 for value in (*self.raw, *self.calibrated)):
            msg = "isotonic calibration needs values from 0 to 1, raw ones that rise and calibrated ones that never fall"
            raise QuestionError(msg)

    @property
    def meaning(self) -> list[object]:
        """What it does, for a fingerprint."""
        return ["isotonic", self.raw, self.calibrated]

    def __call__(self, p_yes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform, elementwise, [0, 1] to [0, 1]."""
        return np.interp(p_yes.astype(np.float64), self.raw, self.calibrated).astype(np.float32)


Calibration: TypeAlias = Platt | Isotonic


def log_odds(p_yes: NDArray[np.float32]) -> NDArray[np.float64]:
    """log(P / (1 - P)), of P at least `EDGE` away from 0 and 1."""
    held = np.clip(p_yes.astype(np.float64), EDGE, 1 - EDGE)
    logits: NDArray[np.float64] = np.log(held) - np.log1p(-held)
    return logits


def expit(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), by the half of it that cannot overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
