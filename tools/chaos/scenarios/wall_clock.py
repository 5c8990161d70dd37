"""The clock on the wall of a worker's machine, which is set while cameras send and while one is dead."""

import asyncio
import time
from functools import partial

from tools.chaos.jumping_clock import machine, set_ahead
from tools.chaos.processes import Child
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.feed import Skewed, feed
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.truth import Form

_GRACE_S = 3.0
_PERIOD_S = 7.0
"""Of cameras that seldom send: longer than the grace, so that only an arrival says that they live."""
_LOST_AFTER_S = 12.0
_JUMP_S = 1_800.0
"""Many times what a camera may be silent, and within what brokers take for a record's time."""
_SEEN_BOUND_S, _OFF_S = 15.0, 5.0
_FPS = 10.0


async def _jumps(act: Act) -> None:
    """Set the clocks of all workers between two pictures, with a kill after each; then a camera dies, on a clock set back."""
    folder = act.stage.folder / "machine"
    folder.mkdir()
    act.kill_workers()
    for worker in act.workers:
        worker.python_path = machine(folder)
    act.start_workers()
    stills = [camera for camera in act.stage.script.plan() if camera.form in {Form.PNG, Form.JPEG}]
    cameras = [Skewed.of(camera) for camera in stills]
    async with feed(act.stage.direct, act.stage.names.frames, cameras) as cams:
        await cams.play(range(40), _FPS)
        await act.done()
        for number, ahead_s in enumerate((_JUMP_S, 0.0, -_JUMP_S)):
            first = 40 + 3 * number
            await cams.play([first], _FPS)
            next_s = time.monotonic() + _PERIOD_S
            set_ahead(folder, ahead_s)
            await act.until(partial(_is_seen, act, ahead_s), _SEEN_BOUND_S, f"workers are {ahead_s:g} s ahead")
            await asyncio.sleep(next_s - time.monotonic())
            await cams.play(range(first + 1, first + 3), 1 / _PERIOD_S)
            act.workers[number % len(act.workers)].kill()
            act.start_workers()
        await cams.play(range(49, 60), _FPS)
    await _dies(act, cameras[-1], cameras[:-1])
    act.figures["jumps"] = 3


def _is_seen(act: Act, ahead_s: float) -> bool:
    """Whether every worker says that it is so late."""
    return all(abs(_ahead_s(worker) - ahead_s) < _OFF_S for worker in act.workers)


def _ahead_s(worker: Child) -> float:
    status = worker.status
    return float("inf") if status is None else status.tick_s - time.time()


async def _dies(act: Act, dead: Skewed, others: list[Skewed]) -> None:
    """Let one camera send no more while the others do: it is told lost, although its clock says that it is yet to send."""
    act.lost = {dead.name}
    async with feed(act.stage.direct, act.stage.names.frames, others) as cams:
        losing = asyncio.create_task(act.loses([dead.name]))
        first = 60
        while not losing.done():
            await cams.play(range(first, first + 10), _FPS)
            first += 10
    act.figures["told_lost_after_s"] = await losing


SCENARIOS = {
    "10-clock-jump": Scenario(
        "the wall clocks of all workers are set half an hour ahead, right, and back: none but the camera that dies then is lost",
        _jumps,
        Setting(lost_after_s=_LOST_AFTER_S, publishes=False, worker={"silence_grace_s": _GRACE_S, "forget_after_s": 86_400.0}),
    ),
}
