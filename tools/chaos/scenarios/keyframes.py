"""Retention under a decoder: the keyframe from which it would have to be fed again is gone."""

import time

from tools.chaos.expected import Replay
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.cluster import delete_records
from tools.chaos.scenarios.feed import Feed, Skewed, feed
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.stored import stored
from tools.chaos.truth import MICROSECONDS_PER_S, UNITS

_FPS = 10.0
_DIES_AT = 90
"""In the middle of a group of 60."""
_KEPT = 10
"""Last records of each partition that retention leaves: none of them a keyframe."""
_MOST_HELD = 8
"""Pictures that a decoder may hold back: three B-frames, and what reordering adds."""
_DONE_BOUND_S, _LOST_BOUND_S = 60.0, 120.0


async def _keyframe_gone(act: Act) -> None:
    """Let all cameras break off in mid-group, kill the workers, delete the keyframes; one camera is dead, the others return."""
    direct, frames = act.stage.direct, act.stage.names.frames
    cameras = [Skewed.of(camera) for camera in act.stage.script.plan()]
    units = [camera for camera in cameras if camera.form in UNITS]
    dead = cameras[-1]
    assert dead in units
    async with feed(direct, frames, cameras) as cams:
        await cams.play(range(_DIES_AT), _FPS)
    await _shown(act, units)
    act.kill_workers()
    shown_us = await _last_us(act)
    replay, ends = Replay(act.stage.script.rules()), await act.ends()
    for one in await act.frames():
        replay.take(one)
    held = {camera.name: replay.break_off(camera.name, shown_us[camera.name]) for camera in units}
    await delete_records(direct, frames, {camera.partition: ends[camera.partition] - _KEPT for camera in units})
    act.start_workers()
    async with feed(direct, frames, cameras[:-1]) as cams:
        await cams.finish(await _played_until_lost(act, dead.name, cams))
    for partition, offset, one in await act.placed_frames():
        if offset >= ends[partition]:
            replay.take(one)
    replay.finish({dead.name})
    act.replay = replay
    act.figures["never_shown"] = held
    if not all(0 < count <= _MOST_HELD for count in held.values()):
        act.problems.append(f"decoders held {held} pictures, when their keyframes went: 1 to {_MOST_HELD} each are due")


async def _last_us(act: Act) -> dict[str, int]:
    """Capture time of the last picture that is done, by camera."""
    cameras = (await stored(act.stage.direct, act.stage.names)).cameras
    return {each["camera"]: round(each["last_s"] * MICROSECONDS_PER_S) for each in cameras}


async def _shown(act: Act, units: list[Skewed]) -> None:
    """Wait until all is done that decoders gave."""
    sent_us = {one.camera: one.shots[-1].at_us for one in await act.frames()}
    held_us = _MOST_HELD * MICROSECONDS_PER_S // round(_FPS)

    async def left() -> list[str]:
        last_us = await _last_us(act)
        return [camera.name for camera in units if last_us.get(camera.name, 0) < sent_us[camera.name] - held_us]

    await act.until_none(left, _DONE_BOUND_S, "what decoders gave is done")


async def _played_until_lost(act: Act, dead: str, cams: Feed) -> int:
    """Let the others go on until one is lost; gives the number of their next picture."""
    first, until_s = _DIES_AT + 1, time.monotonic() + _LOST_BOUND_S
    while dead not in await act.told_lost():
        await cams.play(range(first, first + 10), _FPS)
        first += 10
        if time.monotonic() > until_s:
            act.problems.append(f"{dead} is not lost after {_LOST_BOUND_S:g} s")
            break
    return first


SCENARIOS = {
    "12-keyframe-gone": Scenario(
        "retention deletes the keyframes under the decoders of a camera that is dead and of one that returns, workers are killed",
        _keyframe_gone,
        Setting(
            cameras=5,
            lost_after_s=30.0,
            publishes=False,
            worker={"silence_grace_s": 3.0, "forget_after_s": 86_400.0},
        ),
    ),
}
