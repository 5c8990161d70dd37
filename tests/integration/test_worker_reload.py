"""Other questions while the worker is at work, in virtual time: each answer is read and judged by those that were asked."""

import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.answering import Reload
from stream.cameras import CameraRegistry
from stream.debounce_rules import DebounceRules
from stream.ports import Assigned, Poll, Tick
from stream.state_records import QuestionRevision
from stream.types import BehaviorEvent, Event
from stream.worker import Ports, Worker
from tests.integration.worker_world import BLACK, CONFIG, RULE, T0_S, TOPIC, WHITE, World, here, record, scene, world

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

ONE, TWO = QuestionRevision(1, "one"), QuestionRevision(2, "two")
GLOWING, DARK = RULE, replace(RULE, behavior="dark")
BOTH = Reload(("dark", "glowing"), DebounceRules.of([DARK, GLOWING]), TWO, ("dark", "glowing"))
"""Another column before the one that was there."""
ONLY_DARK = Reload(("dark",), DebounceRules.of([DARK]), TWO, ("dark",))
"""Glowing is gone."""
FILM = [BLACK] * 3 + [WHITE] * 7 + [BLACK] * 6


@dataclass
class AskedDevice:
    """Answers what it is asked: brightness for `glowing`, the opposite for `dark`, in the order of its questions."""

    seconds: float = 0.0
    asked: tuple[str, ...] = ("glowing",)
    turning_s: float = 0.0
    on_it: int = 0
    most: int = 0
    """Batches that were on it at once since it was turned."""
    turned_at: list[tuple[float, int]] = field(default_factory=list)
    """When it was turned to other questions, and how many pictures it had answered by then."""
    answered: int = 0

    async def infer(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer with the questions that are in force at the end: a turn in between would show."""
        self.on_it += 1
        self.most = max(self.most, self.on_it)
        await asyncio.sleep(self.seconds)
        self.on_it -= 1
        self.answered += n
        glow = pixels[:n].mean(axis=(1, 2, 3), dtype=np.float32) / np.float32(255)
        p_yes = np.stack([glow if name == "glowing" else 1 - glow for name in self.asked], axis=1)
        return Answers(p_yes=p_yes, share=np.ones_like(p_yes))

    async def ask(self, prepared: object) -> None:
        """Turn to other questions, which takes its time."""
        assert self.on_it == 0, "a batch is on the device"
        assert isinstance(prepared, tuple)
        await asyncio.sleep(self.turning_s)
        assert self.on_it == 0, "a batch came on the device"
        self.turned_at.append((asyncio.get_running_loop().time(), self.answered))
        self.asked, self.most = prepared, 0


@dataclass
class Stage:
    """A world whose device can be asked other questions."""

    world: World
    device: AskedDevice

    def worker(self) -> Worker:
        """The worker, not running yet."""
        world = self.world
        ports = Ports(world.source, world.sink, self.device.infer, here, world.trial, self.device.ask)
        return Worker(ports, world.config)

    def told(self, behavior: str) -> list[BehaviorEvent]:
        """Events of a behaviour, in order."""
        return [each for each in self.world.sink.events if isinstance(each, BehaviorEvent) and each.behavior == behavior]


def stage(*polls: Poll, bounded: bool = True, device_s: float = 0.0, **config: object) -> Stage:
    """Revision 1 asks whether it glows."""
    made = world(*polls, bounded=bounded, **{"questions": ONE, **config})
    return Stage(made, AskedDevice(device_s))


def singly(film: list[bytes], camera: str = "den") -> list[Poll]:
    """A poll for each picture, half a second apart."""
    return [
        each for n, level in enumerate(film) for each in (Poll(records=scene([level], first_offset=n, camera=camera)), Poll())
    ]


async def reloaded_at(play: Stage, seconds: float, reload: Reload) -> Worker:
    """Run a worker that is told to reload after so long."""
    worker = play.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(seconds)
    await asyncio.gather(worker.reload(reload), return_exceptions=True)
    await running
    return worker


@pytest.mark.parametrize("submitters", [1, 2])
@pytest.mark.parametrize("tenths", range(0, 40, 3))
async def test_answers_are_read_with_the_columns_that_they_were_asked_with(tenths: int, submitters: int) -> None:
    """Whenever the reload comes, what is asked before and after it tells the same as without it."""
    plain = stage(*singly(FILM), device_s=0.3)
    await plain.worker().run()
    play = stage(*singly(FILM), device_s=0.3, submitters=submitters, max_wait_s=0.6)
    worker = await reloaded_at(play, tenths / 10, BOTH)
    assert worker.counts.answered == len(FILM)
    assert play.told("glowing") == plain.told("glowing")
    assert [each.kind.value for each in play.told("glowing")] == ["started", "ended"]
    assert len(play.device.turned_at) == 1


async def test_all_submitters_go_on_after_a_reload() -> None:
    """The room that the turn took is given back."""
    play = stage(*[Poll(records=scene([WHITE] * 4, first_offset=4 * n)) for n in range(12)], device_s=1.0, submitters=3)
    await reloaded_at(play, 1.5, BOTH)
    assert play.device.most == 3


async def test_new_behavior_is_asked_from_the_boundary_on() -> None:
    """Its first yes is a picture behind the reload."""
    play = stage(*singly([BLACK] * 16))
    await reloaded_at(play, 3.0, BOTH)
    ((_, answered),) = play.device.turned_at
    assert 0 < answered < 16
    started = play.told("dark")[0]
    assert started.started_at_s == T0_S + answered / 2


async def test_removed_behavior_ends_at_the_boundary_in_every_partition() -> None:
    """Every open episode of every camera, once, at its last picture; a camera where nothing is open says nothing."""
    cameras = {"den": (0, WHITE), "attic": (0, WHITE), "porch": (0, BLACK), "shed": (1, WHITE)}
    polls = []
    for n in range(12):
        at = [record(3 * n + i, n / 2, level, camera=name, partition=p) for i, (name, (p, level)) in enumerate(cameras.items())]
        polls += [Poll(records=tuple(at)), Poll()]
    play = stage(*polls, bounded=False)
    play.world.source.polls[0] = Poll(assigned=tuple(Assigned(TOPIC, number, 1) for number in (0, 1)))
    worker = play.worker()
    asyncio.get_running_loop().call_later(30.0, worker.stop)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(3.0)
    await worker.reload(ONLY_DARK)
    last = (play.device.answered // 4 - 1) / 2
    await running
    ends = [each for each in play.told("glowing") if each.kind == "ended"]
    assert {(each.camera_id, each.reason, each.at_s - T0_S) for each in ends} == {
        (camera, "question_removed", last) for camera in ("den", "attic", "shed")
    }
    assert len(ends) == 3
    states = {camera: each for tick in play.world.sink.ticks for camera, each in tick.cameras.items()}
    assert all(each.state.behaviors["glowing"].episode is None for each in states.values())


async def test_new_wording_and_thresholds_keep_an_open_episode() -> None:
    """The same name goes on under its new rule: here it stops at once where it would have taken a second."""
    quick = DebounceRules.of([replace(GLOWING, stop_after_s=0.0)])
    play = stage(*singly(FILM))
    await reloaded_at(play, 2.0, Reload(("glowing",), quick, TWO, ("glowing",)))
    started, ended = play.told("glowing")
    assert (started.episode, ended.episode, ended.reason) == (1, 1, "stopped")
    assert ended.at_s == T0_S + 5.0


async def test_each_tick_follows_from_one_set_of_questions() -> None:
    """What waits behind a slow delivery when the reload comes is told as what it is, before what the reload ends."""
    play = stage(*singly([WHITE] * 12), tick_s=0.125, buckets=(1,))
    ticks: list[Tick] = []

    async def slow(tick: Tick) -> bool:
        ticks.append(tick)
        await asyncio.sleep(5.0 if len(ticks) == 1 else 0.0)
        return True

    play.world.sink.deliver = slow  # type: ignore[method-assign]
    await reloaded_at(play, 2.0, ONLY_DARK)
    said = [(tick.questions, [_name(event) for event in tick.events]) for tick in ticks if tick.events]
    assert said == [(ONE, ["seen"]), (ONE, ["started"]), (TWO, ["ended"]), (TWO, ["lost"])]
    assert [tick.final for tick in ticks].count(True) == 1
    assert ticks[-1].final
    assert [tick.questions for tick in ticks] == sorted(
        (tick.questions for tick in ticks if tick.questions), key=lambda q: q.number
    )


async def test_waiting_frames_leave_with_the_questions_that_they_came_under() -> None:
    """A batch that is not full goes to the device before it is turned."""
    play = stage(Poll(records=scene([WHITE] * 3)), bounded=False, max_wait_s=100.0)
    worker = play.worker()
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0.1)
    await worker.reload(BOTH)
    assert [answered for _, answered in play.device.turned_at] == [3]
    worker.stop()
    await running
    assert play.told("dark") == []


async def test_partition_that_comes_later_is_judged_by_the_new_questions() -> None:
    """What an earlier owner left open on a removed behaviour ends with its first tick, which says of which revision it is."""
    first = stage(*singly([WHITE] * 6), bounded=False)
    worker = first.worker()
    asyncio.get_running_loop().call_later(5.0, worker.stop)
    await worker.run()
    cameras = {camera: each for tick in first.world.sink.ticks for camera, each in tick.cameras.items()}
    later = Assigned(TOPIC, 0, 2, resume_offset=6, cameras=cameras)
    play = stage(Poll(), Poll(), Poll(), Poll(), Poll(assigned=(later,)), bounded=False)
    play.world.source.polls[0] = Poll()
    worker = play.worker()
    asyncio.get_running_loop().call_later(20.0, worker.stop)
    running = asyncio.create_task(worker.run())
    await worker.reload(ONLY_DARK)
    await running
    assert [each.reason for each in play.told("glowing")] == ["question_removed"]
    assert [tick.questions for tick in play.world.sink.ticks if tick.events] == [TWO]


async def test_reloads_follow_each_other() -> None:
    """Two in a row leave the last one in force; whoever waits for the first is told first."""
    play = stage(*singly(FILM))
    worker = play.worker()
    running = asyncio.create_task(worker.run())
    order: list[str] = []

    async def reload(name: str, what: Reload) -> None:
        await worker.reload(what)
        order.append(name)

    back = Reload(("glowing",), CONFIG.debounce, QuestionRevision(3, "one"), ("glowing",))
    await asyncio.gather(reload("first", ONLY_DARK), reload("second", back))
    await running
    assert (order, play.device.asked) == (["first", "second"], ("glowing",))


async def test_cameras_own_thresholds_must_fit_the_new_questions() -> None:
    """Else nothing changes: the device is not turned, and the old rules go on."""
    registry = CameraRegistry.parse({"camera": [{"id": "den", "thresholds": {"glowing": {"start_above": 0.8}}}]})
    play = stage(*singly(FILM), intake=replace(CONFIG.intake, cameras=registry))
    worker = play.worker()
    running = asyncio.create_task(worker.run())
    with pytest.raises(ValueError, match=r"camera 'den': thresholds of 'glowing', which is not asked"):
        await worker.reload(ONLY_DARK)
    await running
    assert play.device.turned_at == []
    assert [each.kind.value for each in play.told("glowing")] == ["started", "ended"]


async def test_device_that_does_not_turn_is_lost() -> None:
    """A turn has the time of a batch; past it the worker ends, and whoever waits for the reload is let go."""
    play = stage(*singly(FILM), bounded=False, device_timeout_s=60.0)
    play.device.turning_s = 1e6
    worker = play.worker()
    running = asyncio.create_task(worker.run())
    waiting = asyncio.create_task(worker.reload(BOTH))
    with pytest.raises(DeviceLost, match="other questions within 60 s"):
        await running
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_reload_of_a_worker_that_is_over_is_cancelled() -> None:
    """Nobody waits for ever."""
    play = stage()
    worker = play.worker()
    await worker.run()
    waiting = asyncio.create_task(worker.reload(BOTH))
    await asyncio.wait([waiting], timeout=1.0)
    assert waiting.cancelled()


def _name(event: Event) -> str:
    return event.kind.value
