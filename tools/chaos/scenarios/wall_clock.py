"""The clock on the wall of a worker's machine, by which alone the silence of a camera is told."""

import asyncio

from tools.chaos.jumping_clock import machine, set_ahead
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.feed import Skewed, feed
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.truth import Form, Habits

_LOST_AFTER_S = 12.0
_GRACE_S = 8.0
_JUMP_S = 1_800.0
"""Many times what a camera may be silent, and within what brokers take for a record's time."""
_SELDOM_FPS = 0.5
_UNSEEN_S = 2.5
"""From a jump to the next picture: long enough for a worker to see the partition's end by the new clock."""


async def _jumps(act: Act) -> None:
    """Set the clocks of all workers between two pictures of cameras that seldom send one."""
    folder = act.stage.folder / "machine"
    folder.mkdir()
    act.kill_workers()
    for worker in act.workers:
        worker.python_path = machine(folder)
    act.start_workers()
    cameras = [
        Skewed(**{name: getattr(camera, name) for name in Skewed.__dataclass_fields__ if name != "skews"} | {"habits": Habits()})
        for camera in act.stage.script.plan()
        if camera.form in {Form.PNG, Form.JPEG}
    ]
    async with feed(act.stage.direct, act.stage.names.frames, cameras) as cams:
        await cams.play(range(40), 10.0)
        await act.done()
        for number, ahead_s in enumerate((_JUMP_S, 0.0, -_JUMP_S, 0.0)):
            first = 40 + 5 * number
            await cams.play(range(first, first + 5), _SELDOM_FPS)
            set_ahead(folder, ahead_s)
            await asyncio.sleep(_UNSEEN_S)
        await cams.play(range(60, 90), 10.0)
    act.figures["jumps"] = 4


SCENARIOS = {
    "10-clock-jump": Scenario(
        "the wall clocks of all workers jump by half an hour, ahead and back, and back and ahead: no camera is lost",
        _jumps,
        Setting(lost_after_s=_LOST_AFTER_S, publishes=False, worker={"silence_grace_s": _GRACE_S, "forget_after_s": 86_400.0}),
    ),
}
