"""Cameras that move to another partition and return: what is known of them on the one is nothing to the other."""

from dataclasses import dataclass, replace

from tools.chaos.expected import line_of
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.feed import Skewed, feed
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.truth import MICROSECONDS_PER_S, Camera

_LOST_AFTER_S = 8.0
_SILENT_US = round((_LOST_AFTER_S + 60.0) * MICROSECONDS_PER_S)
_EACH_FPS = 10.0
_FAR = 10**9


@dataclass(frozen=True, slots=True)
class _Leg:
    """A stay on a partition."""

    first: int
    """Picture with which it begins."""
    last: int
    further: int
    """How many partitions away from home."""


_LEGS = (_Leg(0, 60, 0), _Leg(61, 110, 1), _Leg(111, 160, 0))


async def _moves_and_returns(act: Act) -> None:
    """Let all cameras move by one partition once they are lost, and back again; kills in each stay and between them."""
    for times, leg in enumerate(_LEGS, start=1):
        cameras = [_away(camera, leg, act.stage.script.partitions) for camera in act.stage.script.plan()]
        middle = (leg.first + leg.last) // 2
        async with feed(act.stage.direct, act.stage.names.frames, cameras) as cams:
            await cams.play(range(leg.first, middle), _EACH_FPS)
            act.workers[times % len(act.workers)].kill()
            act.start_workers()
            await cams.play(range(middle, leg.last), _EACH_FPS)
            await cams.finish(leg.last)
        await act.loses([camera.name for camera in cameras], times)  # it may move only then
        if leg is not _LEGS[-1]:
            act.kill_workers()
            act.start_workers()
        act.lost |= {
            line_of(away.name, away.partition, home.partition)
            for away, home in zip(cameras, act.stage.script.plan(), strict=True)
        }
    act.figures["moves"] = len(_LEGS) - 1


def _away(camera: Camera, leg: _Leg, partitions: int) -> Camera:
    """A camera on a stay, whose time has gone on by a silence before each."""
    skews = [(each.first, _FAR, _SILENT_US) for each in _LEGS[1:]]
    return replace(Skewed.of(camera, *skews), partition=(camera.partition + leg.further) % partitions)


SCENARIOS = {
    "9-camera-moves": Scenario(
        "all cameras move to another partition and return, with kills in the middle of each stay: no id repeats, none is missing",
        _moves_and_returns,
        Setting(lost_after_s=_LOST_AFTER_S, publishes=False, worker={"silence_grace_s": 3.0, "forget_after_s": 86_400.0}),
    ),
}
