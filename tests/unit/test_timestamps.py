"""Times as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.timestamps import from_rfc3339, to_rfc3339


@given(st.integers(0, 7_258_118_399_999_999))
def test_round_trip_keeps_every_microsecond(microseconds: int) -> None:
    """From 1970 to 2200 a time in whole microseconds is the same after writing and reading."""
    seconds = microseconds / 1_000_000
    assert from_rfc3339(to_rfc3339(seconds)) == seconds
    assert to_rfc3339(seconds).endswith(f".{microseconds % 1_000_000:06}Z")


@given(st.lists(st.integers(0, 7_258_118_399_999_999), min_size=2, max_size=9))
def test_texts_sort_as_times_do(microseconds: list[int]) -> None:
    """A subscriber may sort alerts by their texts."""
    texts = [to_rfc3339(us / 1_000_000) for us in sorted(microseconds)]
    assert texts == sorted(texts)


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-01", "2026-W01-1T00:00:00Z", "2026-01-01T00:00Z", "20260101T000000Z",
             "2026-13-01T00:00:00Z", "2026-01-01T24:30:00Z", "\u0662026-01-01T00:00:00Z"]
)  # fmt: skip
def test_what_is_no_rfc3339_is_refused(text: str) -> None:
    """The rest of ISO 8601 is refused, so that a time never means two things."""
    with pytest.raises(ValueError, match="no RFC 3339 time"):
        from_rfc3339(text)
