"""Pictures that tell by their answers which of them was asked: what proves that an answer belongs to its request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from tools.errors import CommandError

PICTURES = 16
"""How many different pictures are handed over in turn."""


class Answering(Protocol):
    """What of an engine the load test needs."""

    buckets: tuple[int, ...]
    """Batch sizes, ascending."""
    submitters: int
    """Calls of `answer` that may overlap."""

    def answer(self, pixels_BSS3: NDArray[np.uint8], frames: int) -> Answers:
        """See `Engine.answer`."""
        ...


@dataclass(frozen=True, slots=True)
class Pictures:
    """Prepared frames, each with the answers that it gets alone."""

    frames: NDArray[np.uint8]
    """uint8 (n, S, S, 3)."""
    said: NDArray[np.float32]
    """(n, 2, Q): P(yes) and share of each question. Of any two pictures one of them differs by more than twice the tolerance."""
    tolerance: float
    """How far an answer may be from its picture's. So it is nearer to them than to any other picture's."""

    def foreign(self, pictures: Sequence[int], said: Sequence[NDArray[np.float32]]) -> int:
        """Count the answers that are not those of their pictures; what is no number is nobody's.

        Args:
            pictures: which picture each request handed over.
            said: what each was answered, (2, Q).
        """
        if not pictures:
            return 0
        off = abs(np.stack(said) - self.said[list(pictures)]).max(axis=(1, 2))
        return int((~(off <= self.tolerance)).sum())


def stacked(answers: Answers) -> NDArray[np.float32]:
    """P(yes) and share in one array, float32 (n, 2, Q)."""
    return np.stack([answers.p_yes, answers.share], axis=1)


def choose(engine: Answering, drawn_NSS3: NDArray[np.uint8], tolerance: float) -> Pictures:
    """Take pictures that the model tells apart; their negatives, too, where too few of them do.

    Args:
        engine: gives the answers as the model gives them, not calibrated, one picture at a time.
        drawn_NSS3: what to choose from, uint8 (n, S, S, 3).
        tolerance: how far P(yes) and share may be off between batch sizes.

    Raises:
        CommandError: the model says the same about all of them, which could prove nothing.
    """
    frames: list[NDArray[np.uint8]] = []
    said: list[NDArray[np.float32]] = []
    for frame in (*drawn_NSS3, *(255 - drawn_NSS3)):
        answer = alone(engine, frame)
        if all(abs(answer - other).max() > 2 * tolerance for other in said):
            frames.append(frame)
            said.append(answer)
        if len(frames) == PICTURES:
            break
    if len(frames) < 2:  # noqa: PLR2004  (one picture cannot be confused with another)
        msg = (
            f"the model answers all {2 * len(drawn_NSS3)} pictures alike (within {2 * tolerance:g}), so nothing would prove that "
            "answers belong to their pictures: ask it questions that it knows (--questions), or use a trained model"
        )
        raise CommandError(msg)
    return Pictures(np.stack(frames), np.stack(said), tolerance)


def alone(engine: Answering, frame_SS3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ask about one picture in a batch of its own; P(yes) and share, (2, Q)."""
    batch = np.zeros((engine.buckets[0], *frame_SS3.shape), np.uint8)
    batch[0] = frame_SS3
    row: NDArray[np.float32] = stacked(engine.answer(batch, 1))[0]
    return row
