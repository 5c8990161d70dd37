"""Where a worker is made to end: each crash point stands around what it is named for, and nowhere else."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.keeper import Keeper
from stream.kafka.partition_client import Cluster, DeliveryConfig, Group, PartitionClient
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames
from tests.unit.keeper_world import kept, tick
from tests.unit.memory_cluster import MemoryCluster
from tools.chaos.crashing_port import RESTORED_EVERY, CrashingPort
from tools.chaos.status import IN_RESTORE, CrashPoint, Files, How, InjectedError, Order, Side, reached

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

TAKING_UP = [
    "group_offset", "prove", "clear", "init", "state_end", "state_records", "log", "found", "group_offset", "published", "begin",
    "send_state", "commit", "prove", "seek",
]  # fmt: skip
"""Calls of a try."""
DELIVERING = ["begin", *["send_alerts"] * 3, "send_dead_letter", *["send_state"] * 3, "commit"]
"""Calls of a tick with three events, a dead letter, a camera, a forgotten one, and the partition's record."""
STEPS = {
    CrashPoint.MEMBERSHIP: 1,
    CrashPoint.CLEAR: 2,
    CrashPoint.INIT: 3,
    CrashPoint.HIGH_WATERMARK: 4,
    CrashPoint.ADOPT: 9,
    CrashPoint.QUARANTINE: 11,
    CrashPoint.MEMBERSHIP_AGAIN: 13,
    CrashPoint.SEEK: 14,
}
"""Place of the call in TAKING_UP that a point stands around."""
WRITES = {
    CrashPoint.BEGIN: 0,
    CrashPoint.ALERT: 1,
    CrashPoint.DEAD_LETTER: 4,
    CrashPoint.STATE: 5,
    CrashPoint.TOMBSTONE: 6,
    CrashPoint.COMMIT: 8,
}
"""Place of the call in DELIVERING."""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Of a worker without an order."""
    return Files(tmp_path, "w1")


def crashing(files: Files) -> tuple[Keeper, MemoryCluster]:
    """A keeper whose ports obey orders, of a partition with a past."""
    stage = kept()
    cluster = stage.cluster
    return Keeper(("frames", 3), lambda: CrashingPort(cluster.new_port(), files), stage.keeping, lambda: None), cluster


async def test_every_crash_point_is_tried_below() -> None:
    """In a restore, in a tick, and the two that stand around more than a call."""
    assert {*STEPS, CrashPoint.RESTORED} == IN_RESTORE
    assert {*STEPS, *WRITES, CrashPoint.RESTORED, CrashPoint.GROUP_COMMIT} == set(CrashPoint)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", STEPS)
async def test_step_of_taking_up_fails_where_it_was_ordered(files: Files, point: CrashPoint, side: Side) -> None:
    """Before or after its own call, once; the next try takes the partition up."""
    keeper, cluster = crashing(files)
    order = Order(point, side, How.ERROR)
    order.give(files)
    assert await keeper.open(1) is not None
    first, second = cluster.ports
    assert first.calls == TAKING_UP[: STEPS[point] + (side is Side.AFTER)]
    assert second.calls == TAKING_UP
    assert reached(files) == [order]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("point", WRITES)
async def test_tick_fails_where_it_was_ordered(files: Files, point: CrashPoint, side: Side) -> None:
    """Before or after its own call, once; of several alone the first."""
    keeper, cluster = crashing(files)
    await keeper.open(1)
    Order(point, side, How.ERROR).give(files)
    assert not await keeper.deliver(tick())
    (port,) = cluster.ports
    assert port.calls[len(TAKING_UP) :] == DELIVERING[: WRITES[point] + (side is Side.AFTER)]


@pytest.mark.parametrize("side", Side)
async def test_restore_fails_in_the_midst_of_its_records(files: Files, side: Side) -> None:
    """Not at the first one: at each so many."""
    cluster = MemoryCluster(state=[(b"camera", b"")] * (2 * RESTORED_EVERY))
    port = CrashingPort(cluster.new_port(), files)
    Order(CrashPoint.RESTORED, side, How.ERROR).give(files)
    read = []
    with pytest.raises(InjectedError):  # noqa: PT012  (the records before count)
        async for record in port.state_records(len(cluster.state)):
            read.append(record)  # noqa: PERF401  (a comprehension would lose them)
    assert len(read) == RESTORED_EVERY - (side is Side.BEFORE)


async def test_short_restore_has_no_such_point(files: Files) -> None:
    """An order waits until so many records come."""
    cluster = MemoryCluster(state=[(b"camera", b"")] * (RESTORED_EVERY - 1))
    port = CrashingPort(cluster.new_port(), files)
    Order(CrashPoint.RESTORED, Side.BEFORE, How.ERROR).give(files)
    assert len([each async for each in port.state_records(len(cluster.state))]) == RESTORED_EVERY - 1
    assert reached(files) == []


@pytest.mark.parametrize("side", Side)
async def test_group_commit_fails_in_the_background(files: Files, side: Side) -> None:
    """Where the offsets are committed, of all partitions at once; offering them passes."""
    committed: list[dict[TopicPartition, int]] = []

    async def commit(offsets: dict[TopicPartition, int]) -> None:
        committed.append(offsets)

    commits, consumer = Commits(commit), AIOKafkaConsumer()
    names = TopicNames("frames", "alerts", "test")
    cluster = Cluster(KafkaConnection("nowhere:1"), names, "/test", DeliveryConfig(writer="test"), Retired())
    places = [TopicPartition("frames", 3), TopicPartition("frames", 4)]
    ports = [CrashingPort(PartitionClient(place, Group(consumer, commits), cluster), files) for place in places]
    order = Order(CrashPoint.GROUP_COMMIT, side, How.ERROR)
    order.give(files)
    for port in ports:
        port.commit_group(7)
    assert reached(files) == []
    with pytest.raises(InjectedError):
        await commits.flush(1.0)
    assert reached(files) == [order]
    await commits.flush(1.0)
    assert committed == [dict.fromkeys(places, 7)] * (2 if side is Side.AFTER else 1)
    await consumer.stop()
