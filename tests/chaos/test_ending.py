"""What is judged at the end of a run beside its alerts, judged: each judge finds what it is there for, and nothing else."""

import json
from pathlib import Path

import pytest

from stream.counts import Counts
from tools.chaos.ending import conservation

# ------------------------------------------------------------------------------------------------ conservation

COUNTED = Counts(
    received=20,
    used=14,
    dead_lettered=3,
    repeated=2,
    stale=1,
    decoded=19,
    answered=10,
    late=2,
    clock=1,
    duplicate=3,
    stale_frames=3,
)


def counted(folder: Path, **changes: int) -> list[str]:
    """What is found where a worker says at its end that it counted so."""
    line = json.dumps({"at_s": 1.0, **COUNTED.as_dict(), **changes})
    (folder / "w1.log").write_text(f"2026-01-01 WARNING of something\n{line}\n", encoding="utf-8")
    return conservation(folder)


def test_what_adds_up_is_no_mistake(tmp_path: Path) -> None:
    """However often the worker lived."""
    assert counted(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "mistake"),
    [
        pytest.param({"received": 21}, "w1: received 21 records, accounted for 20", id="a record too few"),
        pytest.param({"used": 15}, "w1: received 20 records, accounted for 21", id="a record too many"),
        pytest.param({"answered": 9}, "w1: decoded 19 pictures, accounted for 18", id="a picture too few"),
        pytest.param({"stale_frames": 4}, "w1: decoded 19 pictures, accounted for 20", id="a picture too many"),
    ],
)
def test_what_does_not_add_up_is_found(changes: dict[str, int], mistake: str, tmp_path: Path) -> None:
    """On either side."""
    assert counted(tmp_path, **changes) == [mistake]


def test_every_life_is_counted(tmp_path: Path) -> None:
    """A mistake of an earlier one is not covered up, and no life at all is a mistake, too."""
    assert conservation(tmp_path) == ["no worker told what it counted"]
    lines = [json.dumps({"at_s": 1.0, **COUNTED.as_dict(), **changes}) for changes in ({"answered": 9}, {})]
    (tmp_path / "w1.log").write_text("\n".join(lines), encoding="utf-8")
    assert conservation(tmp_path) == ["w1: decoded 19 pictures, accounted for 18"]
