"""What goes wrong while a partition is written: late requests, zombies, stalled brokers, workers that end in mid-transaction."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tools.chaos.frames import Api
from tools.chaos.reading import unsettled
from tools.chaos.rules import AFTER_ALERTS, BEFORE_STATE, Hold
from tools.chaos.run import TIMING
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.cluster import fence
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.status import CrashPoint, How, Order, Side

HELD = 20
"""Requests of each kind (notes/exactly-once.md 2)."""
_AT_ONCE = 6
_ROUND_S = 25.0
"""Within which a request is held and the next transaction of its partition comes."""
_ROUNDS = 6
MAX_GROWTH_BYTES = 64 * 1024 * 1024
"""Stated bound of what stalls add to a worker: a poll of 32 MiB and 16 MiB fetched, once, however many clients it dropped."""


def _late(api: Api) -> Callable[[Act], Awaitable[None]]:
    async def disturb(act: Act) -> None:
        """Hold, cut, and deliver in the middle of the next transaction: by turns before and after the state is part of it.

        An EndTxn that is taken before commits the alerts, and the state in a transaction of its own; one that is taken after
        commits them for good while the state is refused: their writer has to adopt them.
        """
        proxy, held = act.stage.world.proxy, 0
        codes, codes_anyhow = Counter[str](), Counter[str]()
        for number in range(_ROUNDS):
            if held >= HELD:
                break
            moment = (BEFORE_STATE, AFTER_ALERTS)[number % 2]
            applied = proxy.apply(Hold(frozenset({api}), moment, min(_AT_ONCE, HELD - held)))
            if api is Api.INIT_PRODUCER_ID:  # who is not fenced has no reason to begin again
                await fence(act.stage.direct, act.stage.names, act.populated)
            await applied.wait(_ROUND_S)
            in_time = len(applied.delivered)
            await proxy.deliver(applied)
            proxy.clear()
            held += applied.hits.total()
            codes.update(str(each.error_code) for each in applied.delivered[:in_time])
            codes_anyhow.update(str(each.error_code) for each in applied.delivered[in_time:])
        act.figures |= {"held": held, "late_error_codes": dict(codes), "error_codes_outside_transactions": dict(codes_anyhow)}
        if api is not Api.INIT_PRODUCER_ID and codes["0"]:  # that one may: whoever it fences begins again
            act.problems.append(f"{codes['0']} late requests were taken for part of the transaction that ran")
        if held < HELD:
            act.problems.append(f"only {held} requests were held")
        if api is Api.END_TXN and codes["0"]:  # it ended a transaction that it was never meant for
            act.problems.append(f"{codes['0']} late EndTxn requests were taken: they committed half of a transaction")

    return disturb


async def _fenced_before_term(act: Act) -> None:
    """Fence all ids, send SIGTERM at once, and start again; twice."""
    for _ in range(2):
        await fence(act.stage.direct, act.stage.names, act.populated)
        await act.stop_workers()
        act.start_workers()
        await act.flows()


async def _broker_stalled_in_flush(act: Act) -> None:
    (node,) = act.stage.world.nodes
    for lasts_s in (TIMING.deadline_s / 2, TIMING.deadline_s * 2):
        node.pause()
        stopping = asyncio.create_task(act.stage.world.fleet.stop(60.0))
        await asyncio.sleep(lasts_s)
        node.resume()
        codes = await stopping
        act.problems += [f"a worker ended with {code}" for code in codes if code is None or code < 0]
        act.figures[f"codes_after_{lasts_s:g}_s"] = codes
        act.start_workers()
        await act.flows()


async def _fenced_with_full_queues(act: Act) -> None:
    draw = random.Random(4)
    times = 12
    for _ in range(times):
        await asyncio.sleep(draw.uniform(0.8, 1.6))
        await fence(act.stage.direct, act.stage.names, [draw.choice(act.populated)])
    act.figures["fenced"] = times


def _stalled(*bounds_s: float) -> Callable[[Act], Awaitable[None]]:
    async def disturb(act: Act) -> None:
        """Let the broker stand still for 0.5, 1 and 3 times each bound; count what workers hold before and after."""
        (node,) = act.stage.world.nodes
        before = [(worker.rss_bytes(), worker.descriptors()) for worker in act.workers]
        recoveries_s = []
        for lasts_s in (factor * bound_s for bound_s in bounds_s for factor in (0.5, 1.0, 3.0)):
            node.pause()
            await asyncio.sleep(lasts_s)
            node.resume()
            recoveries_s.append(await act.flows())
        await asyncio.sleep(8.0)  # what a discarded producer needs to end
        after = [(worker.rss_bytes(), worker.descriptors()) for worker in act.workers]
        act.figures |= {
            "recovery_s": max(recoveries_s),
            "rss_mib_before": [rss // 2**20 for rss, _ in before],
            "rss_mib_after": [rss // 2**20 for rss, _ in after],
            "descriptors_before": [count for _, count in before],
            "descriptors_after": [count for _, count in after],
        }
        for (began, had), (rss, has) in zip(before, after, strict=True):
            if has > had + 15:
                act.problems.append(f"a worker had {had} descriptors, and has {has} after the stalls")
            if rss > began + MAX_GROWTH_BYTES:
                act.problems.append(f"a worker had {began // 2**20} MiB, and has {rss // 2**20} after the stalls")

    return disturb


async def _all_killed_in_transaction(act: Act) -> None:
    """Let every worker die between an alert and its state, and measure how long readers are held back."""
    for worker in act.workers:
        worker.is_wanted = False  # stays away
        Order(CrashPoint.ALERT, Side.AFTER, How.EXIT).give(worker.files)
    await act.until(lambda: not any(worker.is_running for worker in act.workers), 30.0, "all workers died at their crash points")
    began_s = time.monotonic()
    held = len(await unsettled(act.stage.direct, act.stage.names.alerts))
    await act.until_none(lambda: unsettled(act.stage.direct, act.stage.names.alerts), 60.0, "readers see all")
    act.figures |= {"partitions_held_back": held, "visible_after_s": round(time.monotonic() - began_s, 1)}
    if not held:
        act.problems.append("no transaction was open")
    act.start_workers()


SCENARIOS = {
    "2-late-end-txn": Scenario(
        f"{HELD} EndTxn requests are held, their clients cut, and delivered in the middle of the next transaction",
        _late(Api.END_TXN),
        Setting(partitions=6),
    ),
    "2-late-add-partitions": Scenario(
        f"{HELD} AddPartitionsToTxn requests are held, their clients cut, and delivered in the middle of the next transaction",
        _late(Api.ADD_PARTITIONS_TO_TXN),
        Setting(partitions=6),
    ),
    "2-late-init-producer-id": Scenario(
        f"{HELD} InitProducerId requests are held, their clients cut, and delivered in the middle of a transaction",
        _late(Api.INIT_PRODUCER_ID),
        Setting(partitions=6),
    ),
    "3-fenced-before-term": Scenario("all ids are fenced just before SIGTERM, twice", _fenced_before_term),
    "3-broker-stalled-in-flush": Scenario(
        "the broker stands still for half and twice the deadline while all workers end", _broker_stalled_in_flush
    ),
    "4-fenced-with-full-queues": Scenario(
        "a zombie fences one partition after the other while the queues are full, without a rebalance",
        _fenced_with_full_queues,
        Setting(batch_s=0.25),
    ),
    "5-broker-stalls-deadline-and-session": Scenario(
        "the broker stands still for 0.5, 1 and 3 times deadline and session timeout, which are equal here",
        _stalled(TIMING.deadline_s),
    ),
    "5-broker-stalls-transaction": Scenario(
        "the broker stands still for 0.5, 1 and 3 times the transaction timeout",
        _stalled(TIMING.transaction_s),
    ),
    "19-all-killed-in-transaction": Scenario(
        "all workers die between an alert and its state; how long readers are held back", _all_killed_in_transaction
    ),
}
