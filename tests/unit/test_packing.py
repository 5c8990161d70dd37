"""The packed layout: every question keeps its own tokens and positions, and knows its owner."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import QuestionError
from pipeline.packing import pack

TOKENISED = st.lists(st.lists(st.integers(0, 30_523), min_size=1, max_size=12), min_size=1, max_size=16)


def test_two_questions_side_by_side() -> None:
    """Tokens lie one after the other; positions restart and segments count with each question."""
    packed = pack([[101, 7, 102], [101, 8, 9, 102]], max_positions=512)
    assert packed.token_ids.tolist() == [101, 7, 102, 101, 8, 9, 102]
    assert packed.positions.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert packed.segments.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert packed.owners.tolist() == [0, 1]


@given(TOKENISED)
def test_each_slot_finds_its_question_again(questions: list[list[int]]) -> None:
    """Reading the tokens of slot q's segment in position order gives back question q, unpadded."""
    packed = pack(questions, max_positions=12)
    for owner, tokens in zip(packed.owners, questions, strict=True):
        mine = packed.segments == owner
        assert packed.token_ids[mine].tolist() == tokens
        assert packed.positions[mine].tolist() == list(range(len(tokens)))


@given(TOKENISED)
def test_the_boundary_is_int32(questions: list[list[int]]) -> None:
    """Compiled graphs take int32 and nothing wider."""
    packed = pack(questions, max_positions=12)
    assert {array.dtype for array in (packed.token_ids, packed.positions, packed.segments, packed.owners)} == {np.dtype(np.int32)}


def test_question_as_long_as_the_model_is_taken() -> None:
    """The last position of the model is usable."""
    assert pack([[101, *range(6), 102]], max_positions=8).positions.max() == 7


def test_question_longer_than_the_model_is_refused() -> None:
    """One token more is refused, naming the question, its length and the limit."""
    with pytest.raises(QuestionError, match="question 2 has 9 tokens, the model holds 8"):
        pack([[101, 102], [101, *range(7), 102]], max_positions=8)
