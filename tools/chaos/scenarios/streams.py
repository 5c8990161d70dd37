"""Cameras that fall silent, return, have wrong clocks, or die in the middle of a group of pictures."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from uuid import uuid4

from tools.chaos.run import TIMING
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.cluster import other_member
from tools.chaos.scenarios.feed import Skewed, feed
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.status import CrashPoint, How, Order, Side
from tools.chaos.truth import MICROSECONDS_PER_S

_LOST_AFTER_S = 8.0
_QUICK = {"silence_grace_s": 3.0, "forget_after_s": 86_400.0}
"""Silence counts soon, and nobody is forgotten."""
_FAR = 10**9
_HOUR_US = 3_600 * MICROSECONDS_PER_S
_YEAR_2099_US = 4_070_908_800 * MICROSECONDS_PER_S


# ---------------------------------------------------------------- silence


async def _kills_at_tombstones(act: Act) -> None:
    """Kill before and after the tombstones of visitors, each time when a worker came by."""
    fleet = act.stage.world.fleet
    for side in (Side.BEFORE, Side.AFTER, Side.BEFORE, Side.AFTER):
        died = len(fleet.ends) + 1
        for worker in act.workers:
            Order(CrashPoint.TOMBSTONE, side, How.EXIT).give(worker.files)
        await act.until(partial(_have_died, act, died), 60.0, "a worker died at a tombstone")
        await asyncio.sleep(2.0)
    act.figures["killed"] = len(fleet.ends)


def _have_died(act: Act, times: int) -> bool:
    return len(act.stage.world.fleet.ends) >= times


async def _camera_returns(act: Act) -> None:
    """Let all cameras be silent until they are lost, with kills before and after, and return as new streams."""
    silent_us = round((_LOST_AFTER_S + 60.0) * MICROSECONDS_PER_S)
    cameras = [Skewed.of(camera, (61, _FAR, silent_us)) for camera in act.stage.script.plan()]
    names = act.stage.names
    async with feed(act.stage.direct, names.frames, cameras) as cams:
        await cams.play(range(60), 10.0)
        await cams.finish(60)
    act.kill_workers()
    act.start_workers()
    await act.loses([camera.name for camera in cameras])
    act.kill_workers()
    act.start_workers()
    async with feed(act.stage.direct, names.frames, cameras) as cams:
        await cams.play(range(61, 110), 10.0)
        await cams.finish(110)


async def _outage(act: Act) -> None:
    """Kill the broker for longer than a camera may be silent; the cameras live."""
    (node,) = act.stage.world.nodes
    node.kill()
    await asyncio.sleep(_LOST_AFTER_S + 4.0)
    await asyncio.to_thread(node.start)
    act.figures["recovery_s"] = await act.flows()
    await _none_lost(act)


async def _all_workers_away(act: Act) -> None:
    """Kill all workers for longer than a camera may be silent; the publisher goes on."""
    act.kill_workers()
    await asyncio.sleep(_LOST_AFTER_S + 4.0)
    act.start_workers()
    act.figures["recovery_s"] = await act.flows()
    await _none_lost(act)


async def _none_lost(act: Act) -> None:
    act.figures["cameras_lost"] = (await act.told_lost()).total()


async def _rebalances_with_dead_camera(act: Act) -> None:
    """Rebalance every half of lost_after_s while the last camera is dead: it must be lost all the same, once."""
    dead = act.stage.script.plan()[-1].name
    act.lost = {dead}
    until_s = time.monotonic() + 90.0
    rebalances = 0
    while dead not in await act.told_lost() and time.monotonic() < until_s:
        async with other_member(act.stage.direct, act.stage.names, TIMING.session_s):
            await asyncio.sleep(_LOST_AFTER_S / 2)
        rebalances += 2
        await asyncio.sleep(_LOST_AFTER_S / 2)
    act.figures |= {"rebalances": rebalances, "cameras_lost": (await act.told_lost()).total()}


async def _backlog(act: Act) -> None:
    """Publish five times as fast while no worker runs, then let all be read at once, with a kill in the middle."""
    await act.stop_publisher()
    await act.stop_workers()
    act.start_publisher(speed=5.0)
    await asyncio.sleep(10.0)
    await act.stop_publisher()
    began_s = time.monotonic()
    act.start_workers()
    await act.flows()
    act.workers[0].kill()
    act.start_workers()
    await act.done(120.0)
    act.figures["read_in_s"] = round(time.monotonic() - began_s, 1)
    await _none_lost(act)
    act.start_publisher(speed=1.0)


# ---------------------------------------------------------------- clocks and streams


async def _clock_steps(act: Act) -> None:
    """Let every clock go wrong for some pictures or for good, with a kill after each."""
    base_us = act.stage.script.base_s * MICROSECONDS_PER_S
    skews = (
        (40, 41, -base_us + 1_000 * MICROSECONDS_PER_S),  # one picture in 1970
        (60, 61, _YEAR_2099_US - base_us),
        (80, _FAR, _HOUR_US + MICROSECONDS_PER_S),  # forward for good
        (110, _FAR, -_HOUR_US - 40 * MICROSECONDS_PER_S - 50_000),  # back for good
        (140, 160, -base_us + 2_000 * MICROSECONDS_PER_S + 30_000),  # 1970 for so long that it is believed
        (170, 190, _YEAR_2099_US - base_us),
    )
    cameras = [Skewed.of(camera, *skews) for camera in act.stage.script.plan()]
    async with feed(act.stage.direct, act.stage.names.frames, cameras) as cams:
        for first in range(0, 210, 30):
            await cams.play(range(first, first + 30), 15.0)
            act.workers[(first // 30) % len(act.workers)].kill()
            act.start_workers()
        await cams.finish(210)


async def _publisher_repeats(act: Act) -> None:
    """Send the last records again under the same stream uuid, then go on with a new stream that repeats pictures."""
    cameras = [Skewed.of(camera) for camera in act.stage.script.plan()]
    uuids = {camera.name: str(uuid4()) for camera in cameras}
    async with feed(act.stage.direct, act.stage.names.frames, cameras, uuids) as cams:
        for first in (0, 40, 80):
            await cams.play(range(first, first + 40), 15.0)
            act.workers[first // 40 % len(act.workers)].kill()
            await cams.repeat()
            act.start_workers()
        await cams.finish(120)
    async with feed(act.stage.direct, act.stage.names.frames, cameras) as cams:
        await cams.play(range(110, 160), 15.0)
        await cams.repeat()
        await cams.finish(160)


# ---------------------------------------------------------------- groups of pictures


def _kills(count: int, every_s: float) -> Callable[[Act], Awaitable[None]]:
    async def disturb(act: Act) -> None:
        """Kill one worker after the other, wherever in a group of pictures the cameras are."""
        for number in range(count):
            await asyncio.sleep(every_s)
            act.workers[number % len(act.workers)].kill()
            act.start_workers()
        act.figures["kills"] = count

    return disturb


async def _dead_in_gop(act: Act) -> None:
    """Let a camera of access units die between keyframes; restart all workers before and after it is lost."""
    dead = act.stage.script.plan()[-1].name
    act.lost = {dead}
    act.kill_workers()
    act.start_workers()
    await act.loses([dead])
    act.kill_workers()
    act.start_workers()
    await act.flows()
    act.figures["cameras_lost"] = (await act.told_lost()).total()


SCENARIOS = {
    "9-kills-at-tombstones": Scenario(
        "cameras are forgotten soon after they are lost, and workers die before and after the tombstones",
        _kills_at_tombstones,
        Setting(lost_after_s=15.0, has_bystanders=True, worker={"silence_grace_s": 3.0, "forget_after_s": 16.0}),
    ),
    "9-camera-returns": Scenario(
        "all cameras fall silent, are lost, and return, with kills of all workers before and after the loss",
        _camera_returns,
        Setting(lost_after_s=_LOST_AFTER_S, publishes=False, worker=_QUICK),
    ),
    "10-outage": Scenario(
        "the broker is away for longer than a camera may be silent, while the cameras live",
        _outage,
        Setting(lost_after_s=_LOST_AFTER_S, worker={"forget_after_s": 86_400.0}),
    ),
    "10-all-workers-away": Scenario(
        "all workers are away for longer than a camera may be silent",
        _all_workers_away,
        Setting(lost_after_s=_LOST_AFTER_S, worker={"forget_after_s": 86_400.0}),
    ),
    "10-rebalances-with-dead-camera": Scenario(
        "the group rebalances every half of lost_after_s while a camera is dead: it is lost once",
        _rebalances_with_dead_camera,
        Setting(lost_after_s=12.0, cameras=5, leaving=1, leave_at=75, worker=_QUICK),
    ),
    "10-backlog": Scenario(
        "frames are published five times as fast while no worker runs, and read at once under a kill",
        _backlog,
        Setting(lost_after_s=30.0, worker={"forget_after_s": 86_400.0}),
    ),
    "11-clock-steps": Scenario(
        "every clock steps by an hour and back, to 1970 and to 2099, for one picture and for long, under kills",
        _clock_steps,
        Setting(publishes=False, is_steady=False),
    ),
    "11-publisher-repeats": Scenario(
        "every camera sends its last records again under the same uuid, then repeats them as a new stream, under kills",
        _publisher_repeats,
        Setting(publishes=False),
    ),
    "12-kills-in-gop": Scenario(
        "12 kills spread over the groups of pictures of H.264 and H.265 cameras with B-frames",
        _kills(12, 2.5),
        Setting(workers=3),
    ),
    "12-kills-in-segments": Scenario(
        "8 kills while segments are spread over several batches of a slow device",
        _kills(8, 3.0),
        Setting(workers=3, batch_s=0.3),
    ),
    "12-camera-dead-in-gop": Scenario(
        "a camera of access units dies between keyframes; all workers are killed before and after it is lost",
        _dead_in_gop,
        Setting(lost_after_s=12.0, cameras=5, leaving=1, leave_at=75, worker=_QUICK),
    ),
}
