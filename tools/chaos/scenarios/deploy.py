"""A deploy of other questions, worker by worker, under kills: old and new ones side by side, a mistake, and the way back."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tools.chaos.debounced import Rule
from tools.chaos.judge import delivered
from tools.chaos.processes import Child
from tools.chaos.question_sets import QuestionSet
from tools.chaos.run import TERM_BOUND_S, TIMING
from tools.chaos.scenarios.act import PARKED, Act
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.stored import Stored, stored
from tools.chaos.truth import FLIP, RULES

_BARKING, _DIGGING, _PACING = RULES[1:]
ONE = QuestionSet(1, RULES)
TWO = QuestionSet(
    2,
    (
        FLIP,
        replace(_BARKING, start_above=0.45, stop_below=0.2, start_after_s=0.3),
        _PACING,
        Rule("circling", 0.65, 0.35, start_after_s=0.4, stop_after_s=0.4, cooldown_s=0.5),
    ),
)
"""Digging is asked no more, circling is new, and an answer that was between barking's thresholds is a yes."""
THREE = QuestionSet(3, RULES)
"""The way back: what 1 asked, under a revision of its own."""

_STATE_BOUND_S = 60.0
_LEFT_ALONE_S = 4.0
"""How long a fleet that is too old for its partitions is watched."""


async def _rolling(act: Act) -> None:
    """Deploy revision 2 over 1, take a worker back to 1 by mistake, and roll back by revision 3; a kill in every step."""
    act.asked = (ONE, TWO, THREE)
    await _one_falls_silent(act)
    await _onward(act)
    await _mistaken(act)
    await _back(act)
    await _judge(act)


async def _until(act: Act, what: str, holds: Callable[[Stored], bool]) -> None:
    """Wait until the state says something."""

    async def does_not() -> bool:
        return not holds(await stored(act.stage.direct, act.stage.names))

    await act.until_none(does_not, _STATE_BOUND_S, what)


async def _one_falls_silent(act: Act) -> None:
    """Wait until all of the camera that stops is done: what it is digging at then must end without any further picture."""
    script = act.stage.script
    silent = script.plan()[-1]
    last = script.ends_at(silent)
    assert last is not None, script
    last_s = silent.captured_at_s(last - 1)
    await _until(
        act,
        f"{silent.name} is done up to its last picture",
        lambda state: any(each["camera"] == silent.name and each["last_s"] >= last_s for each in state.cameras),
    )


async def _onward(act: Act) -> None:
    """From 1 to 2: by SIGTERM, by SIGHUP and by kill -9, each with a kill of a worker of the other revision."""
    first, second, third = act.workers
    TWO.write(first.files)
    await asyncio.to_thread(first.terminate, TERM_BOUND_S)
    first.start()
    _again(second)
    await _until(act, "a partition is of revision 2", lambda state: TWO.revision in _revisions(state))
    first.kill()
    await act.must_say(PARKED)  # what it had taken up is come to workers that ask 1 still
    first.start()
    await act.ready()
    TWO.write(second.files)
    second.hang_up()
    await _until(
        act, f"{second.name} took {TWO.revision} at SIGHUP", lambda state: TWO.revision in _revisions(state, second.name)
    )
    _again(second)
    await act.ready()
    TWO.write(third.files)
    _again(third)
    await _until(act, "every partition is of revision 2", lambda state: _revisions(state) == {TWO.revision})
    act.figures["onward_s"] = await act.flows()


async def _mistaken(act: Act) -> None:
    """Restart one worker with 1 and take the others away: it leaves alone what is of 2, and tells nothing."""
    first, second, third = act.workers
    ONE.write(first.files)
    await asyncio.to_thread(first.terminate, TERM_BOUND_S)
    said = act.said(PARKED)
    first.start()
    await act.ready()
    second.kill()
    third.kill()
    await act.until(lambda: act.said(PARKED) >= said + len(act.populated), 45.0, "every partition is left alone")
    before_s = time.time() + 1.0  # a reader may be behind by as much
    await asyncio.sleep(_LEFT_ALONE_S)
    if told := act.alive_since(before_s):
        act.problems.append(f"a worker that asks revision 1 told something on {sorted(told)}, whose state is of revision 2")


async def _back(act: Act) -> None:
    """Let the worker that was left with nothing read 3, which takes everything up; then the others, and a kill."""
    first, second, third = act.workers
    THREE.write(first.files)
    first.hang_up()
    act.figures["taken_up_after_s"] = await act.flows()
    for worker in (second, third):
        THREE.write(worker.files)
        worker.start()
    await asyncio.sleep(2 * TIMING.session_s)
    _again(first)
    act.figures["back_s"] = await act.flows()


def _again(worker: Child) -> None:
    """Kill -9 it and start it with what its file says."""
    worker.kill()
    worker.start()


async def _judge(act: Act) -> None:
    """That the deploy did what it was to do; what must have come of it the replay says."""
    alerts = [each.alert for each in await delivered(act.stage.direct, act.stage.names.alerts)]
    removed = Counter(alert.behavior for alert in alerts if alert.reason == "question_removed")
    asked = Counter(alert.questions for alert in alerts)
    act.figures |= {
        "removed": dict(removed),
        "alerts_by_revision": dict(sorted(asked.items(), key=str)),
        "left_alone": act.said(PARKED),
    }
    silent = act.stage.script.plan()[-1].name
    ended = [alert.behavior for alert in alerts if (alert.camera, alert.reason) == (silent, "question_removed")]
    if ended != [_DIGGING.behavior]:
        act.problems.append(f"{silent} sent nothing when digging was asked no more; by that ended {ended}")
    if asked.keys() != {each.fingerprint for each in act.asked}:
        act.problems.append(f"alerts by questions: {asked}")
    if (found := _revisions(await stored(act.stage.direct, act.stage.names))) != {THREE.revision}:
        act.problems.append(f"partitions are of revisions {found}")


def _revisions(state: Stored, writer: str | None = None) -> set[int]:
    """Of all partitions, or of those that a worker wrote last."""
    return {record.questions.number for record in state.partitions.values() if writer in {None, record.writer}}


SCENARIOS = {
    "13-rolling-deploy": Scenario(
        "three workers go from revision 1 to 2, one by mistake to 1, all to 3, which asks what 1 asked; a kill in every step",
        _rolling,
        Setting(cameras=4, workers=3, lost_after_s=600.0, leaving=1, leave_at=90),
    ),
}
