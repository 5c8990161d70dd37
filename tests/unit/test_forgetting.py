"""How long a worker must remember a silent camera: longer than its records live."""

import pytest

from tools.errors import CommandError
from tools.worker import check_forgetting

WEEK_S = 7 * 86_400.0


def test_camera_that_is_remembered_longer_than_its_records_is_taken() -> None:
    """By however little."""
    check_forgetting("frames", WEEK_S, WEEK_S + 0.001)


@pytest.mark.parametrize("retention_s", [WEEK_S, WEEK_S + 0.001, float("inf")])
def test_records_that_outlive_their_camera_are_refused(retention_s: float) -> None:
    """As long is too long: the sentence names the topic, both times and both remedies."""
    with pytest.raises(CommandError) as refusal:
        check_forgetting("frames", retention_s, WEEK_S)
    for words in ("frames keeps frames for", "after 604800 s", "retention.ms", "forget_after_s", "[stream]"):
        assert words in str(refusal.value)
