"""The question set: what makes it the same set, and what it refuses."""

import dataclasses

import pytest

from pipeline.errors import QuestionError
from pipeline.questions import Question, QuestionSet

BARKING = Question("barking", "is the dog barking?")
EATING = Question("eating", "is the dog eating?")


def test_fingerprint_is_stable() -> None:
    """Equal sets have one fingerprint in every process and version: it stands in events and state."""
    assert QuestionSet((BARKING, EATING)).fingerprint == QuestionSet((BARKING, EATING)).fingerprint == "dd6beb39a927f1a6"


@pytest.mark.parametrize(
    "changed",
    [
        (EATING, BARKING),
        (BARKING,),
        (BARKING, dataclasses.replace(EATING, ask="does the dog eat?")),
        (BARKING, dataclasses.replace(EATING, behavior="feeding")),
        (BARKING, dataclasses.replace(EATING, yes=("eating",))),
        (BARKING, dataclasses.replace(EATING, no=("no", "sleeping"))),
        (BARKING, dataclasses.replace(EATING, yes=("no",), no=("yes",))),
    ],
    ids=["order", "fewer", "wording", "behavior", "yes", "no", "swapped"],
)
def test_fingerprint_changes_with_what_is_asked(changed: tuple[Question, ...]) -> None:
    """Order, number, wording, name and candidates each change what the answers mean, hence the fingerprint."""
    assert QuestionSet(changed).fingerprint != QuestionSet((BARKING, EATING)).fingerprint


def test_fingerprint_keeps_fields_apart() -> None:
    """Text that moves from the behavior to the wording is another question."""
    assert QuestionSet((Question("ab", "c"),)).fingerprint != QuestionSet((Question("a", "bc"),)).fingerprint


def test_behaviors_keep_the_order_of_the_set() -> None:
    """Column j of the answers belongs to behavior j."""
    assert QuestionSet((EATING, BARKING)).behaviors == ("eating", "barking")


@pytest.mark.parametrize("behavior", ["", "Barking", "on sofa", "on-sofa", "2dogs", "bögen"])
def test_behavior_must_be_a_lower_case_identifier(behavior: str) -> None:
    """Behaviors key events and state: only lower-case ASCII identifiers, and the error names the culprit."""
    with pytest.raises(QuestionError, match="lower-case identifier") as refused:
        Question(behavior, "is it?")
    assert repr(behavior) in str(refused.value)


@pytest.mark.parametrize("ask", ["", "  ", "\n"])
def test_wording_must_not_be_blank(ask: str) -> None:
    """A blank question is refused by the name of its behavior."""
    with pytest.raises(QuestionError, match="'barking' is empty"):
        Question("barking", ask)


def test_set_must_not_be_empty() -> None:
    """No question is no use."""
    with pytest.raises(QuestionError, match="at least one question"):
        QuestionSet(())


def test_behavior_must_not_be_asked_twice() -> None:
    """Two questions of one behavior could not be told apart in the events."""
    with pytest.raises(QuestionError, match="'barking' is asked twice"):
        QuestionSet((BARKING, EATING, dataclasses.replace(BARKING, ask="does it bark?")))


@pytest.mark.parametrize(
    ("candidates", "sentence"),
    [
        ({"yes": ()}, r"yes candidates of behavior 'eating' are \[\]: give at least one word"),
        ({"no": ("no", " ")}, "no candidates of behavior 'eating'"),
        ({"yes": ("yes", "No")}, "candidate 'no' of behavior 'eating' stands there twice"),
    ],
    ids=["none", "blank", "both"],
)
def test_candidates_must_be_words_that_tell_yes_from_no(candidates: dict[str, tuple[str, ...]], sentence: str) -> None:
    """None, a blank one, and one on both sides are refused by the name of the behavior."""
    with pytest.raises(QuestionError, match=sentence):
        Question("eating", "what does it do?", **candidates)
