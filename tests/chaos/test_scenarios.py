"""The scenarios against the note that they come from: every sentence has one, and every one is named after a sentence."""

import pytest

from tests.chaos.suite import SUITE
from tools.chaos.scenarios import SCENARIOS

NUMBERED = {name for name in SCENARIOS if name.split("-", maxsplit=1)[0].isdecimal()}


def test_every_number_of_the_note_is_there() -> None:
    """1 to 19; 20 is about the proof itself."""
    assert list(SUITE) == list(range(1, 20))


@pytest.mark.parametrize("number", SUITE)
def test_every_sentence_has_its_scenarios(number: int) -> None:
    """Under names that exist, one of them under the note's own number."""
    named = [name for names in SUITE[number].values() for name in names]
    assert set(named) <= SCENARIOS.keys()
    assert all(SUITE[number].values())
    assert any(name.startswith(f"{number}-") for name in named)


def test_every_numbered_scenario_answers_to_a_sentence() -> None:
    """Else the table above is not the whole of it."""
    assert {name for sentences in SUITE.values() for names in sentences.values() for name in names} == NUMBERED
