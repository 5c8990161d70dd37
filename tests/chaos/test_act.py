"""The steps that scenarios are made of: what they wait for, and what they say if it never comes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tools.chaos.processes import Child
from tools.chaos.scenarios.act import Act

pytestmark = pytest.mark.asyncio


@pytest.fixture
def act(tmp_path: Path) -> Act:
    """A scenario of two workers that do not run, with logs."""
    workers = [Child(name, "nowhere", {}, tmp_path) for name in ("w1", "w2")]
    for worker in workers:
        worker.log.write_text(
            "error: topic 'frames.chaos.state' does not exist\n" if worker.name == "w1" else "", encoding="utf-8"
        )
    stage = SimpleNamespace(world=SimpleNamespace(fleet=SimpleNamespace(workers=workers, gone=[])))
    return Act(cast("Any", stage), cast("Any", None))


async def test_what_is_left_is_named(act: Act) -> None:
    """Once it is too late; before, and where nothing is left, nothing is a problem."""
    left = [["a", "b"], ["b"], []]

    async def still() -> list[str]:
        return left.pop(0)

    await act.until_none(still, 5.0, "all are lost")
    assert act.problems == []
    left[:] = [["b"]]
    await act.until_none(still, 0.0, "all are lost")
    assert act.problems == ["not within 0 s: all are lost; left: ['b']"]


async def test_one_worker_does_not_speak_for_all(act: Act) -> None:
    """Each has a log of its own."""
    await act.must_say("does not exist", 0.0)
    assert act.problems == []
    await act.all_say("does not exist", 0.0)
    assert act.problems == ["not within 0 s: every worker says 'does not exist'; left: ['w2']"]
