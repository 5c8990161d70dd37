"""All questions of a set as ONE token sequence, and all their answers as another: the layout that lets a frame be asked once.

Legend: T tokens of all questions together, D answer slots, B frames. Padding tokens carry segment -1, unused slots owner -1.

A slot is one position of the answer decoder: it reads the answer's words so far and its own question, and the model gives the
probability of every word that could come next. Two of them are looked at per slot. One slot tells yes from no. Candidates of one
word each take as many slots as there are pairs. Once a question has a candidate of several tokens, all of its candidates are
scored to their end token, as `rank_answer` of the BLIP paper's code (Li et al. 2022, models/blip_vqa.py) does: a chain of slots
per candidate, each reading the words before it (teacher forcing), whose log-probabilities add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.capacity import Capacity
from pipeline.errors import QuestionError
from pipeline.questions import Question, QuestionSet


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What turns words into the model's tokens."""

    tokenize: Callable[[str], list[int]]
    """Token ids of one text between [CLS] and [SEP], unpadded, not truncated."""
    start: int
    """The answer decoder's start token (`bos_token_id`, [DEC])."""
    unknown: int | None
    """Id of [UNK], which no candidate may hold."""
    max_positions: int
    """Longest question or answer in tokens (`max_position_embeddings`)."""


@dataclass(frozen=True, slots=True)
class QuestionInputs:
    """The int32 arrays that turn the model's graph into a question set, in the graph's order."""

    token_ids: NDArray[np.int32]
    """(T,) token ids of the questions one after the other."""
    positions: NDArray[np.int32]
    """(T,) position of each token within its own question; restarts at 0 for every question."""
    segments: NDArray[np.int32]
    """(T,) index of the question that owns the token; -1 for padding."""
    answer_ids: NDArray[np.int32]
    """(D,) the answer token that each slot reads: the start token, or a candidate's word."""
    answer_positions: NDArray[np.int32]
    """(D,) its position within its answer."""
    chains: NDArray[np.int32]
    """(D,) slots of one chain see those before them; -1 for unused slots."""
    owners: NDArray[np.int32]
    """(D,) the question that each slot answers; -1 for an unused slot."""
    targets: NDArray[np.int32]
    """(D, 2) the two tokens whose log-probability the slot gives."""

    @property
    def arrays(self) -> tuple[NDArray[np.int32], ...]:
        """All of them, in the graph's order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def size(self) -> Capacity:
        """Slots and tokens, padding included."""
        return Capacity(len(self.owners), len(self.segments))

    def padded(self, to: Capacity) -> "QuestionInputs":
        """Fill up to a program's fixed size; the padding is without influence.

        Raises:
            QuestionError: it does not fit.
        """
        to.refuse(self.size)
        tokens, slots = to.tokens - self.size.tokens, to.slots - self.size.slots
        none = np.full(slots, -1, np.int32)
        return QuestionInputs(
            token_ids=_extend(self.token_ids, tokens),
            positions=_extend(self.positions, tokens),
            segments=np.concatenate([self.segments, np.full(tokens, -1, np.int32)]),
            answer_ids=_extend(self.answer_ids, slots),
            answer_positions=_extend(self.answer_positions, slots),
            chains=np.concatenate([self.chains, none]),
            owners=np.concatenate([self.owners, none]),
            targets=np.concatenate([self.targets, np.zeros((slots, 2), np.int32)]),
        )


@dataclass(frozen=True, slots=True)
class PackedQuestions:
    """A question set, tokenised."""

    questions: QuestionSet
    inputs: QuestionInputs
    """Without padding."""
    _terms: NDArray[np.float32]
    """(K, 2 D) 0/1: the cells of the graph's output whose sum is the log-probability of candidate k."""
    _yes: NDArray[np.float64]
    """(Q, K) 0/1: the candidates that count as yes for question q."""
    _no: NDArray[np.float64]

    def read(self, log_probs_BD2: NDArray[np.float32]) -> Answers:
        """Turn what the graph says, float32 (B, D or more, 2), into answers.

        P = sum of P(candidate) over the yes candidates / the same sum over all, calibrated; the share is that last sum.
        """
        slots = self.inputs.size.slots
        cells_BC = log_probs_BD2[:, :slots].reshape(len(log_probs_BD2), -1)
        candidates_BK = np.exp((cells_BC @ self._terms.T).astype(np.float64))
        yes_BQ, no_BQ = candidates_BK @ self._yes.T, candidates_BK @ self._no.T
        share_BQ = yes_BQ + no_BQ
        # underflow of both leaves no opinion; the share says so
        p_yes_BQ = np.divide(yes_BQ, share_BQ, out=np.full_like(share_BQ, 0.5), where=share_BQ != 0)
        return Answers(p_yes=self.questions.calibrated(p_yes_BQ.astype(np.float32)), share=share_BQ.astype(np.float32))


def pack(questions: QuestionSet, vocabulary: Vocabulary) -> PackedQuestions:
    """Lay a question set out.

    Raises:
        QuestionError: a question or candidate longer than the model's positions, or a candidate that the model cannot say.
    """
    asked = [_tokens(question, vocabulary) for question in questions.questions]
    lengths = [len(tokens) for tokens in asked]
    slots = _Slots(vocabulary.start)
    for owner, question in enumerate(questions.questions):
        slots.add(owner, *_candidates(question, vocabulary))
    return PackedQuestions(
        questions=questions,
        inputs=QuestionInputs(
            token_ids=np.concatenate([np.asarray(tokens, np.int32) for tokens in asked]),
            positions=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            segments=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
            **slots.arrays(),
        ),
        _terms=slots.terms(),
        _yes=slots.matrix(len(lengths), is_yes=True),
        _no=slots.matrix(len(lengths), is_yes=False),
    )


class _Slots:
    """Answer slots as they are filled, and where each candidate's log-probability stands in them."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._rows: list[tuple[int, int, int, int]] = []  # answer id, position, chain, owner
        self._targets: list[list[int]] = []
        self._terms: list[list[tuple[int, int]]] = []  # cells (slot, column) that add up to a candidate
        self._counts_for: list[tuple[int, bool]] = []  # question, and whether the candidate is a yes
        self._chains = 0

    def add(self, owner: int, yes: Sequence[Sequence[int]], no: Sequence[Sequence[int]]) -> None:
        """Give a question's candidates, each as its tokens with the end token, their slots."""
        candidates = [(tokens, True) for tokens in yes] + [(tokens, False) for tokens in no]
        if all(len(tokens) == 2 for tokens, _ in candidates):  # noqa: PLR2004  (a word and the end)
            for column, (tokens, is_yes) in enumerate(candidates):
                if column % 2 == 0:
                    self._open(owner, [self._start], [tokens[:1]])
                self._targets[-1][column % 2] = tokens[0]
                self._name(owner, [(len(self._rows) - 1, column % 2)], is_yes=is_yes)
            return
        for tokens, is_yes in candidates:
            first = len(self._rows)
            self._open(owner, [self._start, *tokens[:-1]], [[token] for token in tokens])
            self._name(owner, [(first + index, 0) for index in range(len(tokens))], is_yes=is_yes)

    def _open(self, owner: int, reads: Sequence[int], targets: Sequence[Sequence[int]]) -> None:
        self._rows += [(token, position, self._chains, owner) for position, token in enumerate(reads)]
        self._targets += [[*target] * 2 for target in targets]
        self._chains += 1

    def _name(self, owner: int, cells: list[tuple[int, int]], *, is_yes: bool) -> None:
        self._terms.append(cells)
        self._counts_for.append((owner, is_yes))

    def arrays(self) -> dict[str, NDArray[np.int32]]:
        """The slots' part of `QuestionInputs`."""
        names = ("answer_ids", "answer_positions", "chains", "owners")
        columns = np.asarray(self._rows, np.int32).T
        return dict(zip(names, map(np.ascontiguousarray, columns), strict=True)) | {
            "targets": np.asarray(self._targets, np.int32)
        }

    def terms(self) -> NDArray[np.float32]:
        """(K, 2 D)."""
        terms_KC = np.zeros((len(self._terms), 2 * len(self._rows)), np.float32)
        for row, cells in enumerate(self._terms):
            for slot, column in cells:
                terms_KC[row, 2 * slot + column] = 1
        return terms_KC

    def matrix(self, questions: int, *, is_yes: bool) -> NDArray[np.float64]:
        """(Q, K)."""
        counts_QK = np.zeros((questions, len(self._terms)))
        for column, (owner, counts_as_yes) in enumerate(self._counts_for):
            counts_QK[owner, column] = counts_as_yes == is_yes
        return counts_QK


def _tokens(question: Question, vocabulary: Vocabulary) -> list[int]:
    tokens = vocabulary.tokenize(question.ask)
    if len(tokens) > vocabulary.max_positions:
        msg = (
            f"the question of behavior {question.behavior!r} has {len(tokens)} tokens, "
            f"the model holds {vocabulary.max_positions}: shorten it"
        )
        raise QuestionError(msg)
    return tokens


def _candidates(question: Question, vocabulary: Vocabulary) -> tuple[list[list[int]], list[list[int]]]:
    """Give the candidates' tokens, without [CLS], with [SEP], the end of an answer."""
    return tuple([_candidate(question, word, vocabulary) for word in words] for words in (question.yes, question.no))  # type: ignore[return-value]


def _candidate(question: Question, word: str, vocabulary: Vocabulary) -> list[int]:
    tokens = vocabulary.tokenize(word)[1:]
    if vocabulary.unknown in tokens or len(tokens) < 2:  # noqa: PLR2004  (a word and the end)
        msg = f"candidate {word!r} of behavior {question.behavior!r} is no word of the model's vocabulary: choose another"
        raise QuestionError(msg)
    if len(tokens) > vocabulary.max_positions:
        msg = (
            f"candidate {word!r} of behavior {question.behavior!r} has {len(tokens)} tokens, "
            f"the model holds {vocabulary.max_positions}: shorten it"
        )
        raise QuestionError(msg)
    return tokens


def _extend(array: NDArray[np.int32], by: int) -> NDArray[np.int32]:
    return np.concatenate([array, np.zeros(by, np.int32)])
