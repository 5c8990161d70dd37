"""Doing a fault to the processes, brokers and connections of a run, and putting right again what it broke.

`faults_busy`: a fault is busy if, just before it is done, the worker that it hits has frames in flight or an open transaction, by
the status that the worker writes (`tools.chaos.status`); any worker, where it hits brokers, the publisher or all clients, or adds
a worker. A crash point is also busy if that is so when it is reached. An aimed fault waits up to 2 s for such a moment.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tools.broker.cluster import await_whole
from tools.broker.process import BrokerProcess
from tools.chaos.faults import Fault, Kind
from tools.chaos.processes import Child, Fleet
from tools.chaos.proxy import Proxy
from tools.chaos.rules import Hold
from tools.chaos.status import IN_RESTORE, CrashPoint, How, reached, withdraw

AIM_S = 2.0
AIM_EVERY_S = 0.005
TERM_BOUND_S = 15.0
"""Within which a worker must have drained and committed after SIGTERM."""
POINT_BOUND_S = 20.0
"""Within which a crash point is reached, or the order is withdrawn: a session, a rebalance and a restore fit into it often."""
TOMBSTONE_BOUND_S = 60.0
"""The same of a tombstone: no camera is forgotten before its partition was proven live without a break, which each fault is."""
HOLD_BOUND_S = 15.0
"""Within which the moment of a held request comes; after that it is delivered at any moment."""


class World(Protocol):
    """What faults are done to."""

    @property
    def fleet(self) -> Fleet:
        """The workers."""
        ...

    @property
    def publisher(self) -> Child:
        """Who publishes the cameras' frames, and goes on where it was when it is started again."""
        ...

    @property
    def nodes(self) -> Sequence[BrokerProcess]:
        """The brokers."""
        ...

    @property
    def proxy(self) -> Proxy:
        """What stands between the workers and the brokers."""
        ...


@dataclass(slots=True)
class Injected:
    """A fault that was done."""

    fault: Fault
    target: str
    """Who was hit."""
    began_s: float
    """Unix time at which it was done."""
    is_busy: bool
    ended_s: float = 0.0
    """Unix time at which everybody who was hit ran again, and brokers answered."""
    hits: int = 0
    """Requests that a network fault took hold of."""
    is_reached: bool = False
    """Whether a crash point was."""
    late_codes: list[int | None] = field(default_factory=list)
    """What brokers answered to held requests."""
    problem: str | None = None
    """What must not be: a sentence."""


async def inject(fault: Fault, world: World) -> Injected:
    """Wait for a busy moment if the fault is aimed, do it, and return when what it broke is put right.

    What the system needs to recover is not waited for.

    Raises:
        CommandError: a broker did not come up again.
    """
    injected = await _DO[fault.kind](fault, world)
    injected.ended_s = time.time()
    return injected


async def _kill(fault: Fault, world: World) -> Injected:
    child = _worker(fault, world)
    injected = await _begin(fault, child.name, lambda: child.is_busy)
    child.kill()
    await asyncio.sleep(fault.lasts_s)
    child.start()
    return injected


async def _stop(fault: Fault, world: World) -> Injected:
    child = _worker(fault, world)
    injected = await _begin(fault, child.name, lambda: child.is_busy)
    child.pause()
    await asyncio.sleep(fault.lasts_s)
    child.resume()
    return injected


async def _term(fault: Fault, world: World) -> Injected:
    child = _worker(fault, world)
    injected = await _begin(fault, child.name, lambda: child.is_busy)
    injected.problem = _judge(child, await asyncio.to_thread(child.terminate, TERM_BOUND_S))
    child.start()
    return injected


async def _join(fault: Fault, world: World) -> Injected:
    injected = await _begin(fault, "fleet", lambda: world.fleet.is_busy)
    injected.target = world.fleet.join().name
    return injected


async def _leave(fault: Fault, world: World) -> Injected:
    child = _worker(fault, world)
    injected = await _begin(fault, child.name, lambda: child.is_busy)
    injected.problem = _judge(child, await world.fleet.leave(child, TERM_BOUND_S))
    return injected


async def _broker_kill(fault: Fault, world: World) -> Injected:
    injected = await _begin(fault, "all nodes", lambda: world.fleet.is_busy)
    await _outage(world.nodes, fault.lasts_s)
    await asyncio.to_thread(await_whole, world.nodes)
    return injected


async def _broker_restart(fault: Fault, world: World) -> Injected:
    injected = await _begin(fault, "each node", lambda: world.fleet.is_busy)
    for node in world.nodes:
        await asyncio.to_thread(node.stop)
        await asyncio.to_thread(node.start)
        await asyncio.to_thread(await_whole, world.nodes)
    return injected


async def _broker_stop(fault: Fault, world: World) -> Injected:
    node = world.nodes[fault.target % len(world.nodes)]
    injected = await _begin(fault, f"node {node.node.node_id}", lambda: world.fleet.is_busy)
    node.pause()
    await asyncio.sleep(fault.lasts_s)
    node.resume()
    await asyncio.to_thread(await_whole, world.nodes)
    return injected


async def _node_kill(fault: Fault, world: World) -> Injected:
    node = world.nodes[fault.target % len(world.nodes)]
    injected = await _begin(fault, f"node {node.node.node_id}", lambda: world.fleet.is_busy)
    await _outage([node], fault.lasts_s)
    await asyncio.to_thread(await_whole, world.nodes)
    return injected


async def _publisher_kill(fault: Fault, world: World) -> Injected:
    injected = await _begin(fault, world.publisher.name, lambda: world.fleet.is_busy)
    world.publisher.kill()
    await asyncio.sleep(fault.lasts_s)
    world.publisher.start()
    return injected


async def _network(fault: Fault, world: World) -> Injected:
    assert fault.rule is not None
    child = _worker(fault, world)
    target, client = ("everybody", None) if fault.hits_everybody else (child.name, child.name)
    injected = await _begin(fault, target, lambda: world.fleet.is_busy if fault.hits_everybody else child.is_busy)
    applied = world.proxy.apply(replace(fault.rule, client=client))
    await applied.wait(getattr(fault.rule, "lasts_s", HOLD_BOUND_S) + 1.0)
    if isinstance(fault.rule, Hold):
        await world.proxy.deliver(applied)
    world.proxy.clear()
    injected.hits = applied.hits.total()
    injected.late_codes = [each.error_code for each in applied.delivered]
    return injected


async def _crash_point(fault: Fault, world: World) -> Injected:
    """Order it; a point that is only in a restore is provoked by killing the worker and starting it again."""
    assert fault.order is not None
    child = _worker(fault, world)
    injected = await _begin(fault, child.name, lambda: child.is_busy)
    before = len(reached(child.files))
    if fault.order.point in IN_RESTORE:
        child.kill()
        fault.order.give(child.files)
        child.start()
    else:
        fault.order.give(child.files)
    bound_s = TOMBSTONE_BOUND_S if fault.order.point is CrashPoint.TOMBSTONE else POINT_BOUND_S
    injected.is_reached = await _until(lambda: len(reached(child.files)) > before, bound_s)
    status = child.status
    injected.is_busy |= injected.is_reached and status is not None and status.is_busy
    withdraw(child.files)
    if injected.is_reached and fault.order.how is How.STOP:
        await asyncio.sleep(fault.lasts_s)
    child.resume()
    return injected


_DO: dict[Kind, Callable[[Fault, World], Awaitable[Injected]]] = {
    Kind.KILL: _kill,
    Kind.STOP: _stop,
    Kind.TERM: _term,
    Kind.JOIN: _join,
    Kind.LEAVE: _leave,
    Kind.BROKER_KILL: _broker_kill,
    Kind.BROKER_RESTART: _broker_restart,
    Kind.BROKER_STOP: _broker_stop,
    Kind.NODE_KILL: _node_kill,
    Kind.PUBLISHER_KILL: _publisher_kill,
    Kind.NETWORK: _network,
    Kind.CRASH_POINT: _crash_point,
}


async def _begin(fault: Fault, target: str, is_busy: Callable[[], bool]) -> Injected:
    """Wait for a busy moment if the fault is aimed, and note whether this is one."""
    if fault.is_aimed:
        await _until(is_busy, AIM_S)
    return Injected(fault, target, time.time(), is_busy())


async def _outage(nodes: Sequence[BrokerProcess], lasts_s: float) -> None:
    """Kill nodes at once, and start them again side by side after a while."""
    for node in nodes:
        node.kill()
    await asyncio.sleep(lasts_s)
    for node in nodes:
        await asyncio.to_thread(node.begin)
    for node in nodes:
        await asyncio.to_thread(node.await_answer)


async def _until(is_so: Callable[[], bool], timeout_s: float) -> bool:
    """Whether something came to be within a time."""
    until_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(AIM_EVERY_S)
    return True


def _worker(fault: Fault, world: World) -> Child:
    """One of those that run: who ended by itself is away for a second."""
    workers = [worker for worker in world.fleet.workers if worker.is_running] or world.fleet.workers
    return workers[fault.target % len(workers)]


def _judge(child: Child, code: int | None) -> str | None:
    """What is wrong with an end after SIGTERM."""
    if code is None:
        return f"{child.name} did not end within {TERM_BOUND_S:.0f} s of SIGTERM. Its log: {child.log}"
    return None if code == 0 else f"{child.name} ended with status {code} after SIGTERM. Its log: {child.log}"
