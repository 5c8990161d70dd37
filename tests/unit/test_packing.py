"""The packed layout: every question keeps its own tokens and positions, and every candidate its own score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.capacity import Capacity
from pipeline.errors import QuestionError
from pipeline.packing import PackedQuestions, Vocabulary, pack
from pipeline.questions import Question, QuestionSet

CLS, SEP, START, UNKNOWN = 101, 102, 1, 100
WORDS = {word: 200 + index for index, word in enumerate(("yes", "no", "dog", "sofa", "a", "b", "c", "is", "it"))}
VOCABULARY = Vocabulary(
    lambda text: [CLS, *(WORDS.get(word, UNKNOWN) for word in text.split()), SEP], start=START, unknown=UNKNOWN, max_positions=12
)


def packed(*questions: Question) -> PackedQuestions:
    """Pack with a vocabulary of a few words."""
    return pack(QuestionSet(questions), VOCABULARY)


def ids(text: str) -> list[int]:
    """Token ids of some words."""
    return [WORDS[word] for word in text.split()]


asks = st.lists(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=10).map(" ".join), min_size=1, max_size=16)


def asked(wordings: list[str]) -> PackedQuestions:
    """Yes/no questions of these wordings."""
    return packed(*(Question(f"q{index}", ask) for index, ask in enumerate(wordings)))


def test_two_questions_side_by_side() -> None:
    """Tokens lie one after the other, positions restart, segments count; each question has one slot that tells yes from no."""
    inputs = packed(Question("first", "dog"), Question("second", "is it")).inputs
    assert inputs.token_ids.tolist() == [CLS, *ids("dog"), SEP, CLS, *ids("is it"), SEP]
    assert inputs.positions.tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert inputs.segments.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert inputs.owners.tolist() == [0, 1]
    assert inputs.answer_ids.tolist() == [START, START]
    assert inputs.answer_positions.tolist() == [0, 0]
    assert len(set(inputs.chains.tolist())) == 2
    assert inputs.targets.tolist() == [ids("yes no")] * 2


def test_single_words_are_looked_up_two_a_slot() -> None:
    """Five candidates of one word take three slots, all behind the start token."""
    inputs = packed(Question("many", "dog", yes=("a", "b"), no=("c", "no", "sofa"))).inputs
    assert inputs.answer_ids.tolist() == [START] * 3
    assert inputs.targets.tolist() == [ids("a b"), ids("c no"), ids("sofa sofa")]
    assert len(set(inputs.chains.tolist())) == 3


def test_a_phrase_is_a_chain_to_its_end() -> None:
    """Each slot reads the words before it and scores the next one; with a phrase among them all candidates end in [SEP]."""
    inputs = packed(Question("what", "dog", yes=("a b",), no=("c",))).inputs
    assert inputs.answer_ids.tolist() == [START, *ids("a b"), START, *ids("c")]
    assert inputs.answer_positions.tolist() == [0, 1, 2, 0, 1]
    assert inputs.targets[:, 0].tolist() == [*ids("a b"), SEP, *ids("c"), SEP]
    assert inputs.chains.tolist() == [0, 0, 0, 1, 1]
    assert set(inputs.owners.tolist()) == {0}


@given(asks)
def test_each_slot_finds_its_question_again(wordings: list[str]) -> None:
    """Reading the tokens of slot q's segment in position order gives back question q, unpadded."""
    inputs = asked(wordings).inputs
    for owner, ask in zip(inputs.owners, wordings, strict=True):
        mine = inputs.segments == owner
        assert inputs.token_ids[mine].tolist() == [CLS, *ids(ask), SEP]
        assert inputs.positions[mine].tolist() == list(range(len(ask.split()) + 2))


@given(asks, st.integers(0, 9), st.integers(0, 9))
def test_padding_belongs_to_nobody(wordings: list[str], more_slots: int, more_tokens: int) -> None:
    """The inputs grow to the program's size in int32; what was there stays, what came has segment, owner and chain -1."""
    inputs = asked(wordings).inputs
    size = inputs.size
    wide = inputs.padded(Capacity(size.slots + more_slots, size.tokens + more_tokens))
    assert {array.dtype for array in wide.arrays} == {np.dtype(np.int32)}
    for before, after in zip(inputs.arrays, wide.arrays, strict=True):
        assert after[: len(before)].tolist() == before.tolist()
    assert set(wide.segments[size.tokens :].tolist()) <= {-1}
    assert set(wide.owners[size.slots :].tolist()) | set(wide.chains[size.slots :].tolist()) <= {-1}
    assert wide.size == Capacity(size.slots + more_slots, size.tokens + more_tokens)


def test_padding_below_the_size_is_refused() -> None:
    """A set never loses a question to fit."""
    with pytest.raises(QuestionError, match="3 question tokens, the artifact holds 2: 1 too many"):
        packed(Question("q", "dog")).inputs.padded(Capacity(1, 2))


def test_yes_no_is_read_from_its_slot() -> None:
    """P = yes / (yes + no), share = yes + no; frames and questions keep their places, padding slots are not looked at."""
    scores_BD2 = np.log(np.array([[[0.3, 0.1], [0.05, 0.15], [0.9, 0.9]], [[0.2, 0.6], [0.5, 0.5], [0.9, 0.9]]], np.float32))
    answers = packed(Question("first", "dog"), Question("second", "sofa")).read(scores_BD2)
    np.testing.assert_allclose(answers.p_yes, [[0.75, 0.25], [0.25, 0.5]], rtol=1e-5)
    np.testing.assert_allclose(answers.share, [[0.4, 0.2], [0.8, 1.0]], rtol=1e-5)


def test_candidates_add_up_and_phrases_multiply() -> None:
    """Words of one side are summed; a phrase's probability is the product along its chain."""
    words = packed(Question("many", "dog", yes=("a", "b"), no=("c", "no", "sofa")))
    answers = words.read(np.log(np.array([[[0.1, 0.2], [0.3, 0.05], [0.05, 0.5]]], np.float32)))
    assert answers.p_yes[0, 0] == pytest.approx(0.3 / 0.7, rel=1e-5)
    assert answers.share[0, 0] == pytest.approx(0.7, rel=1e-5)
    phrases = packed(Question("what", "dog", yes=("a b",), no=("c",)))
    answers = phrases.read(np.log(np.array([[[0.5, 1], [0.4, 1], [0.5, 1], [0.2, 1], [0.5, 1]]], np.float32)))
    assert answers.p_yes[0, 0] == pytest.approx(0.1 / (0.1 + 0.1), rel=1e-5)
    assert answers.share[0, 0] == pytest.approx(0.2, rel=1e-5)


def test_nothing_left_of_both_is_no_opinion() -> None:
    """Underflow must not become NaN: the share says that the answer means nothing."""
    answers = packed(Question("q", "dog")).read(np.full((1, 1, 2), -2000.0, np.float32))
    assert (answers.p_yes[0, 0], answers.share[0, 0]) == (0.5, 0.0)


def test_question_longer_than_the_model_is_refused() -> None:
    """The model's last position is usable; one token more is refused, naming the behaviour, its length and the limit."""
    assert packed(Question("long", " ".join(["dog"] * 10))).inputs.positions.max() == 11
    with pytest.raises(QuestionError, match="'long' has 13 tokens, the model holds 12"):
        packed(Question("short", "dog"), Question("long", " ".join(["dog"] * 11)))


@pytest.mark.parametrize("word", ["zebra", "a zebra"])
def test_candidate_that_the_model_cannot_say_is_refused(word: str) -> None:
    """[UNK] would be scored as if it were an answer."""
    with pytest.raises(QuestionError, match=f"candidate '{word}' of behavior 'zoo' is no word"):
        packed(Question("zoo", "dog", yes=(word,)))


def test_candidate_longer_than_the_model_is_refused() -> None:
    """Answers have positions, too."""
    with pytest.raises(QuestionError, match="has 13 tokens, the model holds 12"):
        packed(Question("long", "dog", yes=(" ".join(["a"] * 12),)))
