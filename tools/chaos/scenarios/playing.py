"""Plays one scenario: sets the stage, lets it happen, waits until all is done, and judges."""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tools.chaos.bystanders import Bystanders
from tools.chaos.ending import judged
from tools.chaos.order import OrderReader
from tools.chaos.run import Plan, finished, staged
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.truth import Script

START_BOUND_S = 90.0
"""Within which all partitions give alerts after the start, on a machine that has other things to do."""
_SEED = 7


async def perform(name: str, scenario: Scenario) -> dict[str, Any]:
    """Play a scenario; the processes' logs are kept where it does not pass.

    Returns:
        `name`, `passed`, `figures`, and `problems` in sentences.

    Raises:
        CommandError: no broker can be started here.
    """
    folder = Path(tempfile.mkdtemp(prefix="pawsight-scenario-"))
    began_s = time.monotonic()
    setting = scenario.setting
    plan = Plan(_SEED, faults=0, nodes=setting.nodes, workers=setting.workers, batch_s=setting.batch_s)
    async with staged(plan, folder, _script(setting), setting.broker, **setting.worker) as stage:
        steady = {camera.name for camera in stage.script.plan() if camera.is_steady and setting.is_steady}
        act = Act(stage, OrderReader(stage.direct, stage.names.alerts, steady, stage.names.group))
        following = asyncio.create_task(act.reader.follow())
        try:
            await _live(act, scenario)
            await _judge(act)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    act.figures["wall_s"] = round(time.monotonic() - began_s, 1)
    if act.problems:
        act.problems.append(f"logs in {folder}")
    else:
        shutil.rmtree(folder)
    return {"name": name, "passed": not act.problems, "figures": act.figures, "problems": act.problems}


def _script(setting: Setting) -> Script:
    return Script(
        seed=_SEED,
        base_s=int(time.time()),
        cameras=setting.cameras,
        partitions=setting.partitions,
        lost_after_s=setting.lost_after_s,
        leaving=setting.leaving,
        leave_at=setting.leave_at,
    )


async def _live(act: Act, scenario: Scenario) -> None:
    world, setting = act.stage.world, scenario.setting
    world.fleet.start()
    if setting.publishes:
        world.publisher.start()
    tending = asyncio.create_task(world.fleet.tend())
    try:
        async with _visited(act, setting):
            if setting.publishes:
                await act.flows(timeout_s=START_BOUND_S)
            await scenario.disturb(act)
        act.unstall()
        if not any(worker.is_running for worker in act.workers):
            act.start_workers()
        if world.publisher.is_running:
            await act.flows()
        await act.ready()
        act.problems += await finished(act.stage)
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


@asynccontextmanager
async def _visited(act: Act, setting: Setting) -> AsyncIterator[None]:
    if not setting.has_bystanders:
        yield
        return
    bystanders = Bystanders(act.stage.direct, act.stage.names.frames, act.stage.script, random.Random(_SEED))
    visiting = asyncio.create_task(bystanders.publish())
    try:
        yield
    finally:
        visiting.cancel()
        await asyncio.gather(visiting, return_exceptions=True)


async def _judge(act: Act) -> None:
    stage = act.stage
    replay = await act.replayed()
    ending = await judged(stage.direct, stage.names, stage.script, stage.folder, act.reader, is_naive=False, replay=replay)
    verdict = ending.verdict
    problems = ending.problems
    for sentence in act.expected:
        if sentence in problems:
            problems.remove(sentence)
        else:
            act.problems.append(f"the judgement should say, and does not: {sentence}")
    act.problems += problems
    act.figures |= {
        "expected": verdict.expected,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "spurious": verdict.spurious,
        "out_of_order": verdict.out_of_order,
        "reasked_percent": round(ending.asked.again_percent, 1),
        "worker_ends": sum(end.is_by_itself for end in stage.world.fleet.ends),
    }
