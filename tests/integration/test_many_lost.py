"""Thousands of cameras lost by one proof, on a real broker: in transactions of a bounded size, each event once and in order."""

import time
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest

from stream.camera_state import BehaviorState, CameraState, Episode
from stream.clock import ClockState
from stream.debounce import lose
from stream.kafka.topology import TopicNames, create_topics
from stream.phases import Phase
from stream.ports import Tick
from stream.state_records import CameraRecord, Cursor
from stream.ticks import MAX_RECORDS
from stream.types import Evidence
from tests.integration.kafka_world import joined
from tests.integration.restart_world import QUICK, Group
from tests.integration.watched_port import Watched
from tests.integration.worker_world import T0_S
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

IMPATIENT = replace(QUICK, silence_grace_s=0.0)
"""Loses a silent camera at the first proof after a start."""
PARTS_BEFORE_DEATH = 3


@dataclass
class Stalling(Watched):
    """The ports of a worker whose taking up and first parts are committed; the commit after them never comes back."""

    async def note(self, call: str) -> None:
        """Write a call down, and hang if it is one commit too many."""
        if self.calls.count("commit") > PARTS_BEFORE_DEATH:
            self.may_commit.clear()
        await super().note(call)


def glowing(camera: str) -> CameraRecord:
    """A camera with an open episode, silent for an hour."""
    episode = Episode(T0_S, "info", Evidence("frames", 0, 0, 0, T0_S))
    behaviors = {"glowing": BehaviorState(Phase.OPEN, episodes=1, episode=episode)}
    clock, arrived_at_s = ClockState(T0_S, T0_S, None), time.time() - 3600
    return CameraRecord(CameraState(camera, 1, clock, arrived_at_s, lost=False, sightings=1, behaviors=behaviors), Cursor(0))


def records_of(watched: Watched) -> list[int]:
    """Alerts and states of each transaction, the partition's own record among them."""
    sizes, size = [], 0
    for name, _, count in (call.partition(" ") for call in watched.calls):
        if name in ("alerts", "state"):
            size += int(count)
        elif name == "commit":
            sizes.append(size)
            size = 0
    return sizes


async def test_thousands_of_lost_cameras_are_told_once_across_a_death(broker: FoundBroker, names: TopicNames) -> None:
    """A worker dies after some parts of what one proof lost; its successor loses the others, and no camera twice."""
    await create_topics(broker.connection, names, partitions=1)
    cameras = {name: glowing(name) for name in (f"camera-{number:04d}" for number in range(3_000))}
    async with joined(broker.connection, names) as member:
        (assigned,) = (await member.watch(lambda seen: seen.assigned)).assigned
        assert await member.delivery.deliver(Tick(names.frames, 0, assigned.incarnation, 0, cameras=cameras))
    group, dying, succeeding = Group(broker, names), Stalling(), Watched()
    async with group.worker(config=IMPATIENT, decorate=dying.port) as life:
        await life.until(lambda: not dying.may_commit.is_set())
    before = len(await group.read(names.alerts))
    assert 0 < before < 2 * len(cameras)
    async with group.worker(config=IMPATIENT, decorate=succeeding.port) as life:
        await life.until(lambda: before + life.worker.counts.events >= 2 * len(cameras))
        await life.stop()
    told: dict[str, list[str]] = defaultdict(list)
    for message in await group.read(names.alerts):
        told[message.key().decode()].append(dict(message.headers())["ce_id"].decode())
    lost = {camera: lose(each.state, IMPATIENT.debounce) for camera, each in cameras.items()}
    assert told == {camera: [event.event_id for event in events] for camera, (_, events) in lost.items()}
    record, states = await group.state()
    assert record is not None
    assert record.clean
    assert {camera: each.state.behaviors for camera, each in states.items()} == {
        camera: state.behaviors for camera, (state, _) in lost.items()
    }
    assert all(each.state.lost for each in states.values())
    assert max(records_of(dying) + records_of(succeeding)) <= MAX_RECORDS + 1
