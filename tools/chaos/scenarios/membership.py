"""Who owns which partition: members that come, go, are cut off or wait as spares, and partitions that come back."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack

from tools.chaos.faults import Kind
from tools.chaos.frames import GROUP, Api
from tools.chaos.rules import AFTER_ALERTS, Hold, Swallow
from tools.chaos.run import TIMING
from tools.chaos.scenarios.act import FLOW_BOUND_S, Act
from tools.chaos.scenarios.cluster import fence, foreign_transaction, other_member
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.status import CrashPoint, How, Order, Side

MAX_STARTS = 12
"""Of producers, while three partitions go from one worker to another: two each (the two phases), and as many again for a second
rebalance."""

_MAX_POLL_INTERVAL_S, _INTERVALS = 5.0, 3
"""Without a poll for so long a member leaves, and how often that passes."""
_IMPATIENT = {"max_poll_interval_s": _MAX_POLL_INTERVAL_S}

_ZOMBIES = 6
"""Workers that are taken away while what they say to become the writer is on its way."""

MEMBERSHIP = GROUP - {Api.FIND_COORDINATOR}
"""What a member says to its group. The API that is left out is also how a producer that starts finds its coordinator: without an
answer it could not fence anybody, member or not."""


async def _reassigned_to_itself(act: Act) -> None:
    """Stall the device, let another member come and go, so that all partitions come back, and let the device go on."""
    rebalance_s = 1.5 * TIMING.session_s
    for stalled_s in (rebalance_s / 3, rebalance_s * 1.5, rebalance_s / 3):
        act.stall()
        await asyncio.sleep(0.5)
        async with other_member(act.stage.direct, act.stage.names, TIMING.session_s) as member:
            await asyncio.sleep(stalled_s)
            await act.until(lambda: bool(member.assignment()), 30.0, "the other member got a partition")
        await asyncio.sleep(1.0)
        act.unstall()
        await act.flows()
    act.figures["times"] = 3


async def _spare_takes_over(act: Act) -> None:
    """Leave one worker without a partition for longer than it may go without a poll, then take the owners away for good."""
    fleet = act.stage.world.fleet
    await _nobody_leaves(act)
    owners = [worker for worker in fleet.workers if act.has_asked(worker)]
    spares = [worker for worker in fleet.workers if worker not in owners]
    act.figures |= {"workers": len(fleet.workers), "spares": len(spares)}
    if not spares:
        act.problems.append("no worker was without a partition")
    for owner in owners:
        owner.kill()
    act.figures["takeover_s"] = await act.flows()


async def _restore_past_the_interval(act: Act) -> None:
    """Hold the state of every partition back by a stranger's transaction while all workers start: nothing can be polled."""
    names = act.stage.names
    async with AsyncExitStack() as transactions:
        for partition in act.populated:
            await transactions.enter_async_context(foreign_transaction(act.stage.direct, names.state, partition))
        act.kill_workers()
        act.start_workers()
        await act.ready()
        pids, before_s = [worker.pid for worker in act.workers], time.time() + 1.0
        await _nobody_leaves(act)
        if told := act.alive_since(before_s):
            act.problems.append(f"partitions {sorted(told)} give alerts although nobody can know their state")
        if pids != [worker.pid for worker in act.workers]:
            act.problems.append("a worker ended while it waited")
    act.figures["opens_after_s"] = await act.flows()


async def _nobody_leaves(act: Act) -> None:
    """Wait for longer than a member may go without a poll; who leaves its group meanwhile was taken for dead."""
    passed, leave = act.stage.world.proxy.passed, Api.LEAVE_GROUP.name.lower()
    before = passed[leave]
    await asyncio.sleep(_INTERVALS * _MAX_POLL_INTERVAL_S)
    act.figures |= {"intervals": _INTERVALS, "left_the_group": passed[leave] - before}
    if passed[leave] > before:
        act.problems.append(f"{passed[leave] - before} workers left the group because they had nothing to read")


async def _group_coordinator_lost(act: Act) -> None:
    """Swallow all that one worker says to its group, which others do not hear of until it is out.

    Fenced by who takes its partitions over, it must not fence back before the group has heard it again.
    """
    victim, began_s, proxy = act.workers[0], time.time(), act.stage.world.proxy
    init = Api.INIT_PRODUCER_ID.name.lower()
    before, victims_before = proxy.passed[init], proxy.passed_of[victim.name, init]
    applied = proxy.apply(Swallow(MEMBERSHIP, 3 * TIMING.session_s, victim.name))
    await asyncio.sleep(3 * TIMING.session_s)
    victims = proxy.passed_of[victim.name, init] - victims_before
    await applied.wait(5.0)
    starts = proxy.passed[init] - before
    await act.flows()
    pause_s = act.reader.longest_pause_s(began_s, time.time())
    act.figures |= {"swallowed": applied.hits.total(), "longest_pause_s": round(pause_s, 1), "producer_starts": starts}
    act.figures["starts_outside_the_group"] = victims
    if victims:
        act.problems.append(f"{victims} starts of producers by a worker that its group does not hear: it fences the owner")
    if starts > MAX_STARTS:
        act.problems.append(f"{starts} starts of producers: two owners fenced each other, {MAX_STARTS} are enough to take over")
    if not applied.hits:
        act.problems.append("nothing was swallowed")


async def _late_init_of_a_zombie(act: Act) -> None:
    """Hold an InitProducerId, take its worker away, and deliver it in the middle of a transaction of who took over.

    By turns the worker is dead, and stands still until that was done. Whoever took over is fenced by it and begins again.
    """
    stage, proxy = act.stage, act.stage.world.proxy
    init, codes = frozenset({Api.INIT_PRODUCER_ID}), Counter[str]()
    for number in range(_ZOMBIES):
        victim, dies = act.workers[number % 2], number % 4 < 2  # noqa: PLR2004  (both ways with both workers)
        held = proxy.apply(Hold(init, AFTER_ALERTS, client=victim.name))
        proxy.apply(Swallow(init, 2 * FLOW_BOUND_S, victim.name))  # else it would send it again before it is taken away
        await fence(stage.direct, stage.names, act.populated)  # who is not fenced has no reason to begin again
        await act.until(lambda held=held: held.hits.total() > 0, FLOW_BOUND_S, f"{victim.name} begins again")  # type: ignore[misc]
        (victim.kill if dies else victim.pause)()
        await held.wait(FLOW_BOUND_S)
        codes.update(str(each.error_code) for each in held.delivered)
        proxy.clear()
        (victim.start if dies else victim.resume)()
        await act.flows()
    act.figures |= {"zombies": _ZOMBIES, "late_error_codes": dict(codes)}
    if codes.total() < _ZOMBIES:
        act.problems.append(f"only {codes.total()} of {_ZOMBIES} requests came in the middle of another worker's transaction")


async def _crash_points_of_a_start(act: Act) -> None:
    orders = [
        Order(CrashPoint.INIT, Side.BEFORE, How.EXIT),
        Order(CrashPoint.INIT, Side.AFTER, How.EXIT),
        Order(CrashPoint.INIT, Side.AFTER, How.STOP),
        Order(CrashPoint.SEEK, Side.BEFORE, How.EXIT),
    ]
    reached = 0
    for number, order in enumerate(orders):
        injected = await act.hit(Kind.CRASH_POINT, number, 1.5 * TIMING.session_s, order=order)
        reached += injected.is_reached
    await act.flows()
    act.figures["reached"] = reached
    if reached < len(orders):
        act.problems.append(f"only {reached} of {len(orders)} crash points were reached")


SCENARIOS = {
    "4-reassigned-to-itself": Scenario(
        "all partitions are revoked and come back to the same worker while its device stands still, also past a rebalance",
        _reassigned_to_itself,
        Setting(workers=1),
    ),
    "14-spare-takes-over": Scenario(
        "a worker without a partition waits for three times max_poll_interval, then the owners are killed for good",
        _spare_takes_over,
        Setting(partitions=2, workers=3, cameras=4, worker=_IMPATIENT),
    ),
    "14-restore-past-the-interval": Scenario(
        "no partition can be restored for three times max_poll_interval: nobody leaves the group, and all go on afterwards",
        _restore_past_the_interval,
        Setting(worker=_IMPATIENT),
    ),
    "15-group-coordinator-lost": Scenario(
        "one worker's group requests (APIs 8, 9 and 11 to 14) are swallowed for three sessions, its other requests go on",
        _group_coordinator_lost,
    ),
    "15-late-init-of-a-zombie": Scenario(
        f"{_ZOMBIES} InitProducerId requests are held, their workers killed or stopped, and delivered in transactions of others",
        _late_init_of_a_zombie,
    ),
    "15-crash-points-of-a-start": Scenario(
        "workers die or stand still before and after they become the writer, and before the seek", _crash_points_of_a_start
    ),
}
