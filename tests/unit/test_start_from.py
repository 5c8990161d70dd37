"""Where `tools/run worker --from` lets a new partition begin."""

import pytest

from tools.errors import CommandError
from tools.worker import parse_start_from


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        pytest.param("earliest", "earliest", id="the first record"),
        pytest.param("latest", "latest", id="the end"),
        pytest.param("2026-01-01T00:00:00Z", 1_767_225_600.0, id="a time"),
        pytest.param("2026-01-01T01:00:00.5+01:00", 1_767_225_600.5, id="a time elsewhere"),
    ],
)
def test_start_is_read(said: str, meant: str | float) -> None:
    """Two words, or a time with its offset, as seconds since the epoch."""
    assert parse_start_from(said) == meant


@pytest.mark.parametrize("said", ["yesterday", "", "1767225600", "2026-01-01T00:00:00"])
def test_everything_else_is_refused(said: str) -> None:
    """With what may be said, and an example."""
    with pytest.raises(CommandError, match=r"--from.*earliest, latest.*2026-"):
        parse_start_from(said)
