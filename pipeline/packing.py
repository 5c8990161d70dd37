"""All questions of a set as ONE token sequence: the layout that lets a frame be asked once.

Legend: T tokens of all questions together, Q questions. Padding tokens carry segment -1, unused question slots owner -1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import QuestionError


@dataclass(frozen=True, slots=True)
class PackedQuestions:
    """The int32 inputs that turn the model's graph into a question set."""

    token_ids: NDArray[np.int32]
    """(T,) token ids of the questions one after the other."""
    positions: NDArray[np.int32]
    """(T,) position of each token within its own question; restarts at 0 for every question."""
    segments: NDArray[np.int32]
    """(T,) index of the question that owns the token; -1 for padding."""
    owners: NDArray[np.int32]
    """(Q,) segment that each question slot answers for; -1 for an unused slot."""


def pack(questions: Sequence[Sequence[int]], *, max_positions: int) -> PackedQuestions:
    """Lay tokenised questions one after the other.

    Args:
        questions: token ids of each question, unpadded, special tokens included.
        max_positions: the text model's longest sequence (`max_position_embeddings`).

    Raises:
        QuestionError: a question longer than the model's positions.
    """
    for index, tokens in enumerate(questions):
        if len(tokens) > max_positions:
            msg = f"question {index + 1} has {len(tokens)} tokens, the model holds {max_positions}: shorten it"
            raise QuestionError(msg)
    lengths = [len(tokens) for tokens in questions]
    return PackedQuestions(
        token_ids=np.concatenate([np.asarray(tokens, np.int32) for tokens in questions]),
        positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        segments=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        owners=np.arange(len(lengths), dtype=np.int32),
    )
