"""What is judged at the end of a run beside its alerts, judged: each judge finds what it is there for, and nothing else."""

import asyncio
import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from stream.counts import Counts
from tools.chaos import worker_process
from tools.chaos.bystanders import letters_mistakes, visitors_mistakes
from tools.chaos.check import Published
from tools.chaos.ending import conservation
from tools.chaos.expected import Alert
from tools.chaos.leaks import Leaks, descriptors, leaks, opened
from tools.chaos.status import Files
from tools.chaos.visits import Overdue

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


# ------------------------------------------------------------------------------------------------ leaks


@pytest.mark.parametrize(
    ("left", "mistakes"),
    [
        pytest.param(Leaks([], [], 0), [], id="nothing"),
        pytest.param(Leaks(["<Task one>"], [], 0), ["w1: <Task one> was left"], id="a task"),
        pytest.param(Leaks([], ["descriptor 7 (socket)"], 0), ["w1: descriptor 7 (socket) was left open"], id="a descriptor"),
        pytest.param(Leaks([], [], 2), ["w1: 2 Kafka clients were not stopped"], id="clients"),
    ],
)
def test_what_a_life_leaves_behind_is_found(left: Leaks, mistakes: Sequence[str], tmp_path: Path) -> None:
    """Also where the same worker lives again, and leaves nothing."""
    for life in (left, Leaks([], [], 0)):
        life.append(Files(tmp_path, "w1"))
    assert leaks(tmp_path) == mistakes


def test_no_life_that_ended_in_order_is_found(tmp_path: Path) -> None:
    """Else a run would pass in which nobody looked."""
    assert leaks(tmp_path) == ["no worker told what it left behind"]


@pytest.mark.skipif(not descriptors(), reason="this machine has no /proc")
@pytest.mark.asyncio
async def test_a_connection_that_is_left_open_is_named() -> None:
    """Whatever its number: it may be that of another one that was open before."""
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0) as server:
        before = descriptors()
        assert opened(before, descriptors()) == []
        with socket.create_connection(server.sockets[0].getsockname()) as left:
            (found,) = [each for each in opened(before, descriptors()) if each.startswith(f"descriptor {left.fileno()} ")]
            assert "socket:" in found
            assert opened({left.fileno(): "another"}, {left.fileno(): "this"}) == [f"descriptor {left.fileno()} (this)"]


@pytest.mark.skipif(not descriptors(), reason="this machine has no /proc")
@pytest.mark.asyncio
async def test_a_worker_tells_what_its_life_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task, a descriptor, clients that were not stopped."""
    kept: list[socket.socket] = []

    async def careless(told: object) -> int:
        del told
        kept.extend(socket.socketpair())
        kept[1].close()
        asyncio.create_task(asyncio.sleep(60.0), name="forgotten")  # noqa: RUF006  (as a careless worker would)
        await asyncio.sleep(0)
        return 2

    monkeypatch.setattr(worker_process, "work", careless)
    left = await asyncio.create_task(worker_process.main(cast("Any", None)))
    number = kept[0].fileno()
    kept[0].close()
    assert any("forgotten" in task for task in left.tasks)
    assert [each.partition(" (")[0] for each in left.descriptors] == [f"descriptor {number}"]
    assert left.retiring == 2


# ------------------------------------------------------------------------------------------------ bystanders

VISITOR = "visitor-1"


def told(*types: str) -> list[Published]:
    """What was published of the visitor."""
    alerts = [Alert(str(number), f"pawsight.{each}", VISITOR, number) for number, each in enumerate(types)]
    return [Published(alert, 0, offset) for offset, alert in enumerate(alerts)]


IN_TIME, LATE = Overdue(frozenset(), frozenset()), Overdue(frozenset({VISITOR}), frozenset())
SEEN, LOST = "camera.seen", "camera.lost"


@pytest.mark.parametrize(
    ("types", "overdue", "mistakes"),
    [
        pytest.param((SEEN,), IN_TIME, [], id="seen, and not to be lost yet"),
        pytest.param((SEEN, LOST), IN_TIME, [], id="seen and lost"),
        pytest.param((SEEN, LOST), LATE, [], id="seen and lost in time"),
        pytest.param((), IN_TIME, ["visitor-1 was seen 0 times"], id="not seen"),
        pytest.param((SEEN, SEEN), IN_TIME, ["visitor-1 was seen 2 times"], id="seen twice"),
        pytest.param((SEEN,), LATE, ["visitor-1 fell silent long ago, and was not lost"], id="never lost"),
        pytest.param((SEEN, LOST, LOST), LATE, ["visitor-1 was lost 2 times"], id="lost twice"),
        pytest.param((SEEN, LOST, LOST), IN_TIME, ["visitor-1 was lost 2 times"], id="lost twice, and early"),
        pytest.param((SEEN, "behavior.started"), IN_TIME, ["visitor-1 has pawsight.behavior.started"], id="barking"),
        pytest.param(
            (SEEN, LOST),
            Overdue(frozenset({VISITOR}), frozenset({VISITOR})),
            ["visitor-1 fell silent long ago, and has a state"],
            id="never forgotten",
        ),
    ],
)
def test_what_is_wrong_with_a_visitor_is_found(types: Sequence[str], overdue: Overdue, mistakes: Sequence[str]) -> None:
    """Seen once, lost once, forgotten."""
    assert visitors_mistakes(told(*types), {VISITOR}, overdue) == mistakes


def test_a_visitor_that_never_came_is_found() -> None:
    """Seen, but not on the frames topic."""
    assert visitors_mistakes(told(SEEN), set(), IN_TIME) == ["visitor-1 was seen, but never came"]


@pytest.mark.parametrize(
    ("there", "letters", "mistakes"),
    [
        pytest.param([b"a", None, b"b"], [b"b", b"a"], [], id="right"),
        pytest.param([b"a", b"a"], [b"a", b"a"], [], id="sent twice"),
        pytest.param([b"a"], [], ["b'a' was sent 1 times, dead-lettered 0 times"], id="lost"),
        pytest.param([b"a"], [b"a", b"a"], ["b'a' was sent 1 times, dead-lettered 2 times"], id="repeated"),
        pytest.param([None], [b"a"], ["b'a' was dead-lettered, but never sent"], id="invented"),
        pytest.param([None], [None], ["None was dead-lettered, but never sent"], id="a healthy record"),
    ],
)
def test_what_is_wrong_with_a_dead_letter_is_found(
    there: Sequence[bytes | None], letters: Sequence[bytes | None], mistakes: Sequence[str]
) -> None:
    """Each unusable record once, and no other."""
    assert letters_mistakes(there, letters) == mistakes
