"""How well the answers to single frames tell yes from no, and how honest their numbers are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.types import Observation
from tools.scenes.script import Episode

BINS = 15
"""Of equal width, for the reliability curve and the expected calibration error: the number of Guo et al. (2017), who named it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One behaviour's answers over all cameras, each with what is true."""

    behavior: str
    p_yes: NDArray[np.float64]
    """(n,) in [0, 1]."""
    is_true: NDArray[np.bool_]
    """(n,)."""
    cameras: tuple[str, ...]
    """n names: whose frame it is."""
    unknown: int
    """Answers left out because their share was under the rule's min_share."""

    @property
    def has_both(self) -> bool:
        """Whether there are true and false frames: without both nothing can be told apart."""
        return bool(self.is_true.any() and not self.is_true.all())


@dataclass(frozen=True, slots=True)
class FrameScores:
    """Figures of one behaviour's answers; None where its frames are all true or all false."""

    behavior: str
    frames: int
    positives: int
    unknown: int
    average_precision: float | None
    roc_auc: float | None
    brier: float | None
    """Mean squared difference of P(yes) and truth."""
    ece: float | None
    """Expected calibration error: mean over the frames of |P(yes) - share of true frames| of their bin."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of the reliability curve."""

    mean_p_yes: float
    share_true: float
    frames: int


def gather(
    observations: Iterable[Observation],
    truth: Mapping[str, Sequence[Episode]],
    began_s: float,
    min_share: Mapping[str, float],
    margin_s: float,
) -> list[Answered]:
    """Set every answer beside what is true at its capture time.

    Args:
        observations: of all cameras.
        truth: by camera; times from the recordings' start.
        began_s: capture time of the recordings' first pictures, seconds since the epoch.
        min_share: of every behaviour's rule; its keys are the behaviours, in the order of the result.
        margin_s: frames nearer than this to where an episode begins or ends are left out: people do not agree on them.
    """
    p_yes: dict[str, list[float]] = {behavior: [] for behavior in min_share}
    is_true: dict[str, list[bool]] = {behavior: [] for behavior in min_share}
    cameras: dict[str, list[str]] = {behavior: [] for behavior in min_share}
    unknown = dict.fromkeys(min_share, 0)
    for seen in observations:
        at_s = seen.captured_at_s - began_s
        for behavior, answer in seen.answers.items():
            label = _label(at_s, [one for one in truth[seen.camera_id] if one.behavior == behavior], margin_s)
            if label is None:
                continue
            if answer.share < min_share[behavior]:
                unknown[behavior] += 1
                continue
            p_yes[behavior].append(answer.p_yes)
            is_true[behavior].append(label)
            cameras[behavior].append(seen.camera_id)
    return [
        Answered(name, np.array(p_yes[name], float), np.array(is_true[name], bool), tuple(cameras[name]), unknown[name])
        for name in min_share
    ]


def _label(at_s: float, episodes: Sequence[Episode], margin_s: float) -> bool | None:
    if any(abs(at_s - edge_s) < margin_s for one in episodes for edge_s in (one.start_s, one.end_s)):
        return None
    return any(one.start_s <= at_s < one.end_s for one in episodes)


def score(answered: Answered) -> FrameScores:
    """Compute the figures."""
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    p_yes, is_true = answered.p_yes, answered.is_true
    counts = answered.behavior, len(p_yes), int(is_true.sum()), answered.unknown
    if not answered.has_both:
        return FrameScores(*counts, None, None, None, None)
    average_precision, roc_auc, brier = (
        float(metric(is_true, p_yes)) for metric in (average_precision_score, roc_auc_score, brier_score_loss)
    )
    return FrameScores(*counts, average_precision, roc_auc, brier, calibration_error(p_yes, is_true))


def reliability(p_yes: NDArray[np.float64], is_true: NDArray[np.bool_]) -> list[Bin]:
    """Give the bins that hold frames, in order."""
    places = np.minimum((p_yes * BINS).astype(int), BINS - 1)
    return [
        Bin(float(p_yes[inside].mean()), float(is_true[inside].mean()), int(inside.sum()))
        for inside in (places == place for place in np.unique(places))
    ]


def calibration_error(p_yes: NDArray[np.float64], is_true: NDArray[np.bool_]) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017, eq. 3)."""
    return sum(abs(one.mean_p_yes - one.share_true) * one.frames for one in reliability(p_yes, is_true)) / len(p_yes)
