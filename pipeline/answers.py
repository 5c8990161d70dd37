"""What the pipeline says about a batch of frames: the only type that crosses into `stream`."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to all questions about n frames; row i belongs to frame i, column j to question j of the set."""

    p_yes: NDArray[np.float32]
    """(n, Q) float32 in [0, 1]: P(yes candidates | yes or no candidates)."""
    share: NDArray[np.float32]
    """(n, Q) float32 in [0, 1]: the probability that all candidates hold together of all that the model could say."""

    def __post_init__(self) -> None:
        """Hold the shape that every reader relies on."""
        assert self.p_yes.shape == self.share.shape, (self.p_yes.shape, self.share.shape)
        assert self.p_yes.ndim == 2, self.p_yes.shape  # noqa: PLR2004  (frames, questions)

    @classmethod
    def unknown(cls, frames: int, questions: int) -> Self:
        """Answers of frames that could not be asked: no opinion, share 0."""
        return cls(np.full((frames, questions), 0.5, np.float32), np.zeros((frames, questions), np.float32))
