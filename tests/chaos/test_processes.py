"""Children of a chaos run: how their ends are noted, who is started again, and that none outlives the run."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.chaos.processes import Child, Fleet
from tools.chaos.status import CrashPoint, Files, How, InjectedError, Order, Side, Status, crash_point, reached, withdraw

PATIENCE_S = 30.0
NOWHERE = {"bootstrap_servers": "127.0.0.1:1", "topic": "t"}


def a_child(folder: Path, number: int = 1) -> Child:
    """A worker that finds no broker, and tries on."""
    return Child(f"w{number}", "tests.chaos.ticking", NOWHERE, folder)


def test_ends_are_noted_with_their_cause(tmp_path: Path) -> None:
    """A killed child and one that ended by itself are told apart, and the log has all its lives."""
    child = a_child(tmp_path)
    child.start()
    child.kill()
    child.module = "no.such.module"
    child.start()
    until_s = time.monotonic() + PATIENCE_S
    while child.is_running:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert [(end.code, end.is_by_itself) for end in child.ends] == [(-9, False), (1, True)]
    assert "No module named" in child.log.read_text()
    assert (child.is_wanted, child.pid, child.is_busy) == (True, 0, False)


async def _until_restarted(fleet: Fleet) -> None:
    tending = asyncio.create_task(fleet.tend())
    async with asyncio.timeout(PATIENCE_S):
        while not all(worker.is_running for worker in fleet.workers):  # noqa: ASYNC110  (only asking tells)
            await asyncio.sleep(0.05)
    tending.cancel()


def test_who_ended_by_itself_is_started_again(tmp_path: Path) -> None:
    """An end from outside is noted as the child's own, and another process takes its place after the back-off."""
    fleet = Fleet(lambda number: a_child(tmp_path, number), 2)
    fleet.start()
    try:
        (first, second), before_s = fleet.workers, time.time()
        subprocess.run(["kill", "-9", str(first.pid)], check=True)
        pids = second.pid
        while first.is_running:
            time.sleep(0.02)
        asyncio.run(_until_restarted(fleet))
        assert time.time() - before_s > 1.0
        assert ([end.child for end in fleet.ends], second.pid) == ([first.name], pids)
        assert fleet.ends[0].is_by_itself
    finally:
        for worker in fleet.workers:
            worker.kill()


def test_who_was_taken_away_stays_away(tmp_path: Path) -> None:
    """A killed worker that is not started again by the fault is not started by the fleet."""
    fleet = Fleet(lambda number: a_child(tmp_path, number), 1)
    fleet.start()
    fleet.workers[0].kill()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(_until_restarted(fleet), 2.0))


def test_no_child_outlives_the_run(tmp_path: Path) -> None:
    """When the run is killed with -9 its children end at once, also one that stands still."""
    run = (
        "import sys, time; from pathlib import Path; from tools.chaos.processes import Child\n"
        "child = Child('w', 'tests.chaos.ticking', {'bootstrap_servers': '127.0.0.1:1', 'topic': 't'}, Path(sys.argv[1]))\n"
        "child.start(); child.pause(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", run, str(tmp_path)], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        process = Path(f"/proc/{int(running.stdout.readline())}")
        assert process.exists()
        running.kill()
    until_s = time.monotonic() + PATIENCE_S
    while process.exists() and "Z (zombie)" not in (process / "status").read_text():
        assert time.monotonic() < until_s, "the child outlived the run"
        time.sleep(0.02)


@pytest.mark.parametrize("side", Side)
def test_order_is_obeyed_once_at_its_point_and_side(tmp_path: Path, side: Side) -> None:
    """Other points pass; at its own the error comes once, before or after what the point is named for."""
    files, done = Files(tmp_path, "w1"), []
    order = Order(CrashPoint.COMMIT, side, How.ERROR)
    order.give(files)
    with crash_point(files, CrashPoint.BEGIN):
        done.append("begin")
    with pytest.raises(InjectedError, match=f"{side} commit"), crash_point(files, CrashPoint.COMMIT):
        done.append("commit")
    with crash_point(files, CrashPoint.COMMIT):
        done.append("again")
    assert done == (["begin", "again"] if side is Side.BEFORE else ["begin", "commit", "again"])
    assert reached(files) == [order]


def test_withdrawn_order_is_not_obeyed(tmp_path: Path) -> None:
    """What the run took back has no effect, and is not in the list of what was reached."""
    files = Files(tmp_path, "w1")
    Order(CrashPoint.SEEK, Side.BEFORE, How.EXIT).give(files)
    withdraw(files)
    with crash_point(files, CrashPoint.SEEK):
        pass
    assert reached(files) == []


@pytest.mark.parametrize(
    ("in_flight", "transactions", "age_s", "is_busy"),
    [
        pytest.param(0, 0, 0.0, False, id="idle"),
        pytest.param(1, 0, 0.0, True, id="frames in flight"),
        pytest.param(0, 1, 0.0, True, id="open transaction"),
        pytest.param(3, 1, 60.0, False, id="old news"),
    ],
)
def test_busy_is_what_was_told_lately(tmp_path: Path, in_flight: int, transactions: int, age_s: float, *, is_busy: bool) -> None:
    """Frames in flight or an open transaction, by a status that is not old."""
    files = Files(tmp_path, "w1")
    assert Status.read(files) is None
    Status(in_flight, transactions, time.time() - age_s).write(files)
    status = Status.read(files)
    assert status is not None
    assert status.is_busy == is_busy
