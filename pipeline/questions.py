"""The question set: what the pipeline asks of every frame. Data, never part of a compiled graph.

When an answer becomes an event (thresholds, times, severity) is no business of this module: that is `stream.debounce`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration import Calibration
from pipeline.errors import QuestionError


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a frame, whose answer is a number from 0 (no) to 1 (yes)."""

    behavior: str
    """Stable name of the behaviour, `[a-z][a-z0-9_]*`; events and state are keyed by it."""
    ask: str
    """The wording put to the model."""
    yes: tuple[str, ...] = ("yes",)
    """Candidate answers that count as yes."""
    no: tuple[str, ...] = ("no",)
    """Candidate answers that count as no: the answer is the yes candidates' part of the probability of both lists."""
    calibration: Calibration | None = None
    """What its answer goes through before anybody sees it; None: as the model gives it."""

    def __post_init__(self) -> None:
        """Refuse what could not be asked or keyed.

        Raises:
            QuestionError: an empty wording, a behaviour name that is no lower-case identifier, or candidates that are missing,
                empty or repeated.
        """
        if not (self.behavior.isascii() and self.behavior.isidentifier() and self.behavior == self.behavior.lower()):
            msg = f"behavior {self.behavior!r} must be a lower-case identifier such as chewing_furniture"
            raise QuestionError(msg)
        if not self.ask.strip():
            msg = f"question of behavior {self.behavior!r} is empty: write what to ask the model"
            raise QuestionError(msg)
        for name, words in (("yes", self.yes), ("no", self.no)):
            if not words or not all(word.strip() for word in words):
                said = f"{name} candidates of behavior {self.behavior!r} are {list(words)}"
                msg = f"{said}: give at least one word, none of them empty"
                raise QuestionError(msg)
        told = [" ".join(word.lower().split()) for word in (*self.yes, *self.no)]
        if repeated := sorted({word for word in told if told.count(word) > 1}):
            msg = f"candidate {repeated[0]!r} of behavior {self.behavior!r} stands there twice: an answer counts once"
            raise QuestionError(msg)

    @property
    def meaning(self) -> list[object]:
        """What its answer means, for a fingerprint. Candidates that are plain yes and no are left out, as they always were."""
        is_plain = (self.yes, self.no) == (("yes",), ("no",))
        meaning: list[object] = [self.behavior, self.ask] if is_plain else [self.behavior, self.ask, self.yes, self.no]
        return meaning if self.calibration is None else [*meaning, self.calibration.meaning]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions asked of every frame, in the order of the columns of `Answers`."""

    questions: tuple[Question, ...]

    def __post_init__(self) -> None:
        """Refuse an empty set and a behaviour asked twice.

        Raises:
            QuestionError: naming the behaviour at fault.
        """
        if not self.questions:
            msg = "the question set is empty: give at least one question"
            raise QuestionError(msg)
        names = self.behaviors
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            msg = f"behavior {repeated[0]!r} is asked twice: give each question its own behavior name"
            raise QuestionError(msg)

    @property
    def behaviors(self) -> tuple[str, ...]:
        """Behaviour of each question, in order."""
        return tuple(question.behavior for question in self.questions)

    @property
    def uncalibrated(self) -> Self:
        """The same questions, answered as the model gives it."""
        return replace(self, questions=tuple(replace(question, calibration=None) for question in self.questions))

    def calibrated(self, p_yes_BQ: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give P(yes) of every question, (B, Q) as the model gives it, its question's calibration."""
        columns = {index: question.calibration for index, question in enumerate(self.questions) if question.calibration}
        if not columns:
            return p_yes_BQ
        turned_BQ = p_yes_BQ.copy()
        for index, calibration in columns.items():
            turned_BQ[:, index] = calibration(p_yes_BQ[:, index])
        return turned_BQ

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with any behaviour, wording, candidate, calibration or order: what the answers mean."""
        canonical = json.dumps([question.meaning for question in self.questions], separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
