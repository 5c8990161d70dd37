"""Every kind of fault, done to a real broker, a proxy and child processes; afterwards everybody works again."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from stream.kafka.topology import TopicNames
from tests.chaos.proxied import PATIENCE_S, committed, create, producer
from tools.broker.find import why_no_broker
from tools.broker.process import BrokerProcess
from tools.chaos.brokers import Brokers, brokers_behind_proxy
from tools.chaos.faults import Fault, Kind
from tools.chaos.frames import TRANSACTION, Api
from tools.chaos.inject import Injected, inject
from tools.chaos.processes import Child, Fleet
from tools.chaos.proxy import Proxy
from tools.chaos.rules import BETWEEN, Cut, Delay, Hold, Rule, Swallow
from tools.chaos.status import CrashPoint, How, Order, Side, reached

TOPIC = "ticks"
SIGKILL = -9

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER: {why_no_broker()}"),
]


@dataclass(frozen=True, slots=True)
class World:
    """What the faults are done to."""

    brokers: Brokers
    fleet: Fleet
    publisher: Child

    @property
    def nodes(self) -> tuple[BrokerProcess, ...]:
        """The only broker."""
        return self.brokers.nodes

    @property
    def proxy(self) -> Proxy:
        """The proxy before it."""
        return self.brokers.proxy

    async def all_tick(self) -> None:
        """Wait until everybody has committed something from now on."""
        since_s = time.time()
        async with asyncio.timeout(PATIENCE_S):
            for child in (*self.fleet.workers, self.publisher):
                while (status := child.status) is None or status.tick_s < since_s or status.transactions_open:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Two workers and a publisher behind a proxy; who ends by itself is started again."""
    folder = tmp_path_factory.mktemp("chaos")
    async with brokers_behind_proxy() as brokers:
        await create(brokers, TOPIC)
        arguments = {"bootstrap_servers": brokers.bootstrap_servers, "topic": TOPIC}
        fleet = Fleet(lambda number: Child(f"pawsight-w{number}", "tests.chaos.ticking", arguments, folder), 2)
        publisher = Child("publisher", "tests.chaos.ticking", arguments, folder)
        fleet.start()
        publisher.start()
        tending = asyncio.create_task(fleet.tend())
        try:
            yield World(brokers, fleet, publisher)
        finally:
            tending.cancel()
            publisher.kill()
            codes = await fleet.stop(10.0)
            assert set(codes) == {0}, codes


def a_fault(kind: Kind, lasts_s: float = 0.7, *, rule: Rule | None = None, order: Order | None = None) -> Fault:
    """One fault on the first worker, at a busy moment."""
    return Fault(0, kind, 0.0, 0, lasts_s, is_aimed=True, rule=rule, order=order)


async def done(world: World, fault: Fault) -> Injected:
    """Do it to a world in which everybody works, and see that everybody does again."""
    await world.all_tick()
    injected = await inject(fault, world)
    await world.all_tick()
    assert injected.problem is None
    assert injected.began_s <= injected.ended_s <= time.time()
    return injected


async def _until_still(pid: int) -> None:
    """Wait until a process is stopped."""
    async with asyncio.timeout(PATIENCE_S):
        while "T (stopped)" not in Path(f"/proc/{pid}/status").read_text():  # noqa: ASYNC110, ASYNC240  (only asking tells)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        pytest.param(Kind.KILL, [SIGKILL], id="kill"),
        pytest.param(Kind.TERM, [0], id="term"),
        pytest.param(Kind.STOP, [], id="stop"),
    ],
)
async def test_worker_is_hit_and_comes_back(world: World, kind: Kind, codes: list[int]) -> None:
    """A killed or terminated worker is a new process; one that stood still is the same and said nothing meanwhile."""
    worker = world.fleet.workers[0]
    ends = len(worker.ends)
    injected = await done(world, a_fault(kind))
    assert [end.code for end in worker.ends[ends:]] == codes
    assert not any(end.is_by_itself for end in worker.ends[ends:])
    assert (injected.target, injected.is_busy) == (worker.name, True)
    if kind is not Kind.TERM:
        assert injected.ended_s - injected.began_s >= 0.7


async def test_stopped_worker_stands_still(world: World) -> None:
    """While it lasts, the worker's status does not change."""
    await world.all_tick()
    worker = world.fleet.workers[0]
    task = asyncio.create_task(inject(a_fault(Kind.STOP, 2.0), world))
    await _until_still(worker.pid)
    before = worker.status
    await asyncio.sleep(1.0)
    assert worker.status == before
    await task


async def test_workers_join_and_leave(world: World) -> None:
    """The fleet grows by a worker of a new name and shrinks by the one that is hit, with status 0."""
    before = [child.name for child in world.fleet.workers]
    injected = await done(world, a_fault(Kind.JOIN))
    assert [child.name for child in world.fleet.workers] == [*before, injected.target]
    left = world.fleet.workers[0]
    await done(world, a_fault(Kind.LEAVE))
    assert [child.name for child in world.fleet.workers] == [*before[1:], injected.target]
    assert (world.fleet.gone[-1], left.ends[-1].code, left.is_running) == (left, 0, False)


@pytest.mark.parametrize("kind", [Kind.BROKER_KILL, Kind.BROKER_RESTART, Kind.NODE_KILL])
async def test_broker_ends_and_comes_back_with_its_data(world: World, kind: Kind) -> None:
    """It is another process on the same ports, and what was committed before is there."""
    pid, node = world.nodes[0].pid, world.nodes[0].node
    before = len(await committed(world.brokers, TOPIC))
    injected = await done(world, a_fault(kind))
    assert world.nodes[0].pid != pid
    assert (world.nodes[0].node, injected.is_busy) == (node, True)
    async with asyncio.timeout(PATIENCE_S):
        while len(await committed(world.brokers, TOPIC)) <= before:  # noqa: ASYNC110  (markers come after the commit's answer)
            await asyncio.sleep(0.1)


async def test_open_transaction_does_not_survive_the_broker(world: World, names: TopicNames) -> None:
    """One whose owner is gone when the broker is killed is aborted after its timeout: readers see what comes behind it.

    Brokers that drop its marker (KAFKA-20734) hide everything from here on.
    """
    await create(world.brokers, names.alerts)
    options = {"bootstrap_servers": world.brokers.direct_servers, "transactional_id": names.group, "transaction_timeout_ms": 3000}
    owner = AIOKafkaProducer(**options)
    await owner.start()
    await owner.begin_transaction()
    await owner.send_and_wait(names.alerts, b"open", partition=0)
    await owner.client.close()
    await inject(a_fault(Kind.BROKER_KILL, 4.0), world)
    async with producer(world.brokers, "next", enable_idempotence=True) as behind:
        await behind.send_and_wait(names.alerts, b"behind", partition=0)
    async with asyncio.timeout(PATIENCE_S):
        while await committed(world.brokers, names.alerts) != [b"behind"]:  # noqa: ASYNC110  (only asking tells)
            await asyncio.sleep(0.1)
    await owner.stop()


async def test_stopped_broker_stops_everybody(world: World) -> None:
    """While it stands still nobody commits."""
    await world.all_tick()
    task = asyncio.create_task(inject(a_fault(Kind.BROKER_STOP, 2.0), world))
    await _until_still(world.nodes[0].pid)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(world.all_tick(), 1.0)
    await task
    await world.all_tick()


async def test_publisher_is_killed_and_comes_back(world: World) -> None:
    """It is a new process; the workers' own are the same."""
    ends = len(world.publisher.ends), len(world.fleet.ends)
    await done(world, a_fault(Kind.PUBLISHER_KILL))
    assert (len(world.publisher.ends), len(world.fleet.ends)) == (ends[0] + 1, ends[1])
    assert world.publisher.ends[-1].code == SIGKILL


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(Cut(TRANSACTION, count=2), id="cut"),
        pytest.param(Delay(0.2, 1.0, TRANSACTION), id="delay"),
        pytest.param(Swallow(frozenset({Api.PRODUCE}), 1.0), id="swallow"),
        pytest.param(Hold(frozenset({Api.END_TXN}), BETWEEN), id="hold"),
    ],
)
async def test_network_rule_hits_its_worker_and_ends(world: World, rule: Rule) -> None:
    """The rule took hold of something, a held request was answered late, and nothing of it stays in force."""
    injected = await done(world, a_fault(Kind.NETWORK, rule=rule))
    assert injected.hits >= 1
    assert len(injected.late_codes) == isinstance(rule, Hold)
    assert injected.target == world.fleet.workers[0].name


@pytest.mark.parametrize("how", How)
@pytest.mark.parametrize("point", [CrashPoint.INIT, CrashPoint.COMMIT])
async def test_crash_point_is_reached_once(world: World, point: CrashPoint, how: How) -> None:
    """The order is obeyed once, at its point, by exit, standstill or error; a point in a restore is provoked."""
    worker = world.fleet.workers[0]
    ends, before = len(worker.ends), len(reached(worker.files))
    order = Order(point, Side.AFTER, how)
    injected = await done(world, a_fault(Kind.CRASH_POINT, order=order))
    assert injected.is_reached
    assert reached(worker.files)[before:] == [order]
    provoked, by_itself = point is CrashPoint.INIT, how is How.EXIT
    assert [(end.code, end.is_by_itself) for end in worker.ends[ends:]] == [(SIGKILL, False)] * provoked + [
        (SIGKILL, True)
    ] * by_itself


@pytest.mark.parametrize(
    ("point", "bound"), [(CrashPoint.DEAD_LETTER, "POINT_BOUND_S"), (CrashPoint.TOMBSTONE, "TOMBSTONE_BOUND_S")]
)
async def test_point_that_is_never_reached_is_withdrawn(
    world: World, monkeypatch: pytest.MonkeyPatch, point: CrashPoint, bound: str
) -> None:
    """After its bound, which is a tombstone's own, the order is taken back, and the fault says so."""
    monkeypatch.setattr(f"tools.chaos.inject.{bound}", 0.5)
    injected = await done(world, a_fault(Kind.CRASH_POINT, order=Order(point, Side.BEFORE, How.EXIT)))
    assert not injected.is_reached
    assert injected.ended_s - injected.began_s < 5.0
    assert Order.given(world.fleet.workers[0].files) is None


async def test_memory_and_descriptors_are_those_of_the_process(world: World) -> None:
    """A Python process with Kafka connections has some tens of MiB and descriptors; one that ended has none."""
    await world.all_tick()
    worker = world.fleet.workers[0]
    assert 20 < worker.rss_bytes() / 2**20 < 300
    assert 5 < worker.descriptors() < 60
    assert (world.fleet.gone[0].rss_bytes(), world.fleet.gone[0].descriptors()) == (0, 0)


async def test_child_that_does_not_obey_sigterm_is_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not end within the bound is killed, and the fault has a sentence about it."""
    monkeypatch.setattr("tools.chaos.inject.TERM_BOUND_S", 0.5)
    await world.all_tick()
    worker = world.fleet.workers[0]
    worker.pause()
    injected = await inject(a_fault(Kind.TERM), world)
    assert injected.problem is not None
    assert f"{worker.name} did not end within" in injected.problem
    assert worker.ends[-1].code == SIGKILL
    await world.all_tick()
