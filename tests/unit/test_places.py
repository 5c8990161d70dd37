"""Where reading a partition begins."""

import pytest

from stream.kafka.places import Place, StartFrom, place


@pytest.mark.parametrize(
    ("wanted", "start_from", "expected"),
    [
        (None, "earliest", Place(5)),
        (None, "latest", Place(20)),
        (5, "latest", Place(5)),
        (20, "earliest", Place(20)),
        (3, "latest", Place(5, skipped=2)),
        (0, "earliest", Place(5, skipped=5)),
        (21, "latest", Place(5, restarted=True)),
    ],
)
def test_place_is_the_wanted_one_as_far_as_the_log_holds_it(wanted: int | None, start_from: StartFrom, expected: Place) -> None:
    """In a log of offsets 5 to 19: nothing committed follows the policy, below it is a gap, behind its end is another log."""
    assert place(wanted, 5, 20, start_from) == expected
