"""When a partition counts as seen to its end."""

from stream.kafka.proofs import BREAK_S, EndProofs


def asked(partition: str = "p", at_s: float = 100.0, end: int = 10) -> EndProofs[str]:
    """Proofs of one partition whose end was asked for."""
    proofs: EndProofs[str] = EndProofs()
    proofs.keep([partition])
    answer(proofs, partition, at_s, end)
    return proofs


def answer(proofs: EndProofs[str], partition: str, at_s: float, end: int) -> None:
    """Ask for a partition's end, and get it."""
    assert proofs.ask() == [partition]
    proofs.answered(partition, at_s, end)


def test_end_is_proven_when_all_before_it_was_read() -> None:
    """Below the end nothing is proven; at it the time of the question is, once."""
    proofs = asked()
    assert proofs.prove("p", 9) is None
    assert proofs.prove("p", 10) == (100.0, 100.0)
    assert proofs.prove("p", 11) is None
    assert proofs.ask() == ["p"]


def test_one_question_at_a_time() -> None:
    """A partition whose answer is not proven yet is not asked again, so a backlog is proven by its own question."""
    proofs = asked()
    assert proofs.ask() == []
    assert proofs.has_answer("p")


def test_no_question_follows_one_that_is_under_way() -> None:
    """Until it is answered or given up; an answer that comes after that says nothing."""
    proofs: EndProofs[str] = EndProofs()
    proofs.keep(["p"])
    assert proofs.ask() == ["p"]
    assert proofs.ask() == []
    proofs.unanswered(["p", "q"])
    proofs.answered("p", 100.0, 10)
    assert not proofs.has_answer("p")
    answer(proofs, "p", 101.0, 10)
    assert proofs.prove("p", 10) == (101.0, 101.0)


def test_life_goes_on_without_a_break_only() -> None:
    """live_since stands still while proofs are at most five seconds apart, and begins anew after a longer break."""
    proofs = asked()
    assert proofs.prove("p", 10) == (100.0, 100.0)
    answer(proofs, "p", 100.0 + BREAK_S, 10)
    assert proofs.prove("p", 10) == (105.0, 100.0)
    answer(proofs, "p", 105.0 + BREAK_S + 0.1, 10)
    assert proofs.prove("p", 10) == (110.1, 110.1)


def test_new_assignment_begins_without_proofs() -> None:
    """A partition that was lost and came back has to be proven anew, and late answers of the lost one are ignored."""
    proofs = asked()
    proofs.keep([])
    proofs.answered("p", 101.0, 10)
    proofs.keep(["p"])
    assert not proofs.has_answer("p")
    answer(proofs, "p", 102.0, 10)
    assert proofs.prove("p", 10) == (102.0, 102.0)
