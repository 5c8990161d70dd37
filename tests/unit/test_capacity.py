"""Capacities: how they are written, what they hold, and what they say of what they do not."""

import pytest

from pipeline.capacity import Capacity
from pipeline.errors import QuestionError


def test_written_and_read_back() -> None:
    """`16x128` is sixteen slots and 128 tokens."""
    assert Capacity.parse("16x128") == Capacity(slots=16, tokens=128)
    assert str(Capacity(8, 72)) == "8x72"


@pytest.mark.parametrize("said", ["", "16", "16x", "x128", "0x128", "16x0", "16X128", "-1x2", "16x128x2"])
def test_anything_else_is_refused(said: str) -> None:
    """With an example of what would be right."""
    with pytest.raises(ValueError, match="such as 16x128"):
        Capacity.parse(said)


@pytest.mark.parametrize(("slots", "tokens", "holds"), [(8, 72, True), (9, 72, False), (8, 73, False), (1, 1, True)])
def test_both_sizes_count(slots: int, tokens: int, holds: bool) -> None:  # noqa: FBT001
    """Either one can be too large."""
    assert Capacity(8, 72).holds(Capacity(slots, tokens)) is holds
    if holds:
        Capacity(8, 72).refuse(Capacity(slots, tokens))
    else:
        with pytest.raises(QuestionError, match="1 too many; shorten them, or compile with --capacity"):
            Capacity(8, 72).refuse(Capacity(slots, tokens))
