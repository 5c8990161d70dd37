"""Judges a checkpoint on held-out H.264 clips, through the pipeline's own preprocessing and engine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Engine
from pipeline.preprocess import fit
from tools.train.dataset import Clips

QUESTION_FLOOR = 0.96
"""Balanced accuracy below which no question may fall."""
MEAN_FLOOR = 0.98
_YES = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """How one question is answered."""

    behavior: str
    ask: str
    true_positive_rate: float
    true_negative_rate: float

    @property
    def balanced(self) -> float:
        """Mean of both rates: 0.5 is chance, however rare the behaviour."""
        return (self.true_positive_rate + self.true_negative_rate) / 2


def judge(engine: Engine, clips: Clips) -> tuple[Score, ...]:
    """Score every question at threshold 0.5; the clips' truth is in the order of the engine's questions."""
    said = p_yes(engine, clips.frames) > _YES
    true = clips.truth > 0
    return tuple(
        Score(
            behavior=question.behavior,
            ask=question.ask,
            true_positive_rate=float(said[true[:, column], column].mean()),
            true_negative_rate=float(1 - said[~true[:, column], column].mean()),
        )
        for column, question in enumerate(engine.questions.questions)
    )


def p_yes(engine: Engine, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """P(yes) of every question about every RGB picture, (n, Q)."""
    bucket = engine.buckets[-1]
    answers = []
    for start in range(0, len(frames), bucket):
        batch = [fit(frame, engine.image_size) for frame in frames[start : start + bucket]]
        padded = np.zeros((bucket, engine.image_size, engine.image_size, 3), np.uint8)
        padded[: len(batch)] = batch
        answers.append(engine.answer(padded, len(batch)).p_yes)
    return np.concatenate(answers)


def mean_balanced(scores: Sequence[Score]) -> float:
    """Mean of the questions' balanced accuracies."""
    return float(np.mean([score.balanced for score in scores]))


def good_enough(scores: Sequence[Score]) -> bool:
    """Whether a checkpoint may be shipped."""
    return min(score.balanced for score in scores) >= QUESTION_FLOOR and mean_balanced(scores) >= MEAN_FLOOR
