"""What load and deploys do: a device that stands still under a flood, workers that are replaced, a partition that is slow."""

import asyncio
import time

from tools.chaos.engine import asked
from tools.chaos.frames import Api
from tools.chaos.rules import Delay
from tools.chaos.run import TERM_BOUND_S, TIMING
from tools.chaos.scenarios.act import READY_BOUND_S, Act
from tools.chaos.scenarios.cluster import writer_of
from tools.chaos.scenarios.heavy import RECORD_BYTES, flood
from tools.chaos.scenarios.scenario import Scenario, Setting

STALL_SESSIONS = 25
DEVICE_TIMEOUT_S = 150.0
"""Twice the stall, as the ratio to `device_timeout_s` must be a half."""
_FLOOD_TIMES, _FLOOD_EVERY_S = 32, 1.0
"""Large records to each partition, and how often: all of them lie there before the devices go on."""
_FLOOD_DEADLINE_S = 30.0
"""Of a transaction: all dead letters of a poll are one tick, 32 MiB here, which a busy machine does not send in 3 s."""
MAX_GROWTH_BYTES = 128 * 1024 * 1024
"""Stated bound of what a stall adds to a worker: a poll of 32 MiB and the record behind it, another one of dead letters that
wait, 16 MiB fetched, and what is being received. Who polled on would hold what is sent to its partitions."""
_RESTARTS = 3
_SLOW_S, _SLOW_LASTS_S = 2.0, 20.0
"""What a slow commit takes, and how long commits are slow."""
_SLOW_DEADLINE_S = 8.0
"""Of a transaction, the product's: a slow commit is slow, and no failure."""
_FASTER = 2
"""So many times as often as the slow one the others commit, at least."""


async def _stalled(act: Act) -> None:
    """Block every device for 25 sessions and half of device_timeout_s under a flood: nobody leaves the group, nobody grows."""
    stage, lasts_s = act.stage, STALL_SESSIONS * TIMING.session_s
    await act.until(lambda: all(map(act.has_asked, act.workers)), READY_BOUND_S, "every worker has a partition")
    await act.flows()
    passed, join = stage.world.proxy.passed, Api.JOIN_GROUP.name.lower()
    joined, before = passed[join], {worker.pid: worker.rss_bytes() for worker in act.workers}
    act.stall()
    flooding = asyncio.create_task(flood(stage.direct, stage.names.frames, act.populated, _FLOOD_TIMES, _FLOOD_EVERY_S))
    growth, until_s = 0, time.monotonic() + lasts_s
    while time.monotonic() < until_s:
        await asyncio.sleep(1.0)
        growth = max([growth, *(worker.rss_bytes() - before.get(worker.pid, 0) for worker in act.workers)])
    if not flooding.done():
        act.problems.append(f"not all that was to be sent was sent within {lasts_s:g} s")
    await flooding
    act.unstall()
    after = [worker.pid for worker in act.workers]
    act.figures |= {
        "stall_sessions": STALL_SESSIONS,
        "stall_of_device_timeout": lasts_s / DEVICE_TIMEOUT_S,
        "flood_mib": len(act.populated) * _FLOOD_TIMES * RECORD_BYTES // 2**20,
        "rss_before_mib": max(before.values()) // 2**20,
        "growth_mib": growth // 2**20,
        "growth_bound_mib": MAX_GROWTH_BYTES // 2**20,
        "flows_after_s": await act.flows(),
        "rebalances": passed[join] - joined,
    }
    if after != list(before):
        act.problems.append(f"workers ended while their devices stood still: {list(before)} became {after}")
    if growth > MAX_GROWTH_BYTES:
        act.problems.append(f"a worker grew by {growth // 2**20} MiB, the bound is {MAX_GROWTH_BYTES // 2**20}")
    if passed[join] > joined:
        act.problems.append(f"the group's members joined again {passed[join] - joined} times")


async def _stalled_for_good(act: Act) -> None:
    """Block the devices past device_timeout_s: each worker ends by itself with a sentence, and its successor goes on."""
    act.stall()
    await act.must_say("the device answered nothing for 12 s", timeout_s=60.0)
    act.unstall()
    act.figures["flows_after_s"] = await act.flows()


async def _rolling(act: Act) -> None:
    """Replace three workers one after the other under load, three times over; what one asked no other asks again."""
    restarts = 0
    for _ in range(_RESTARTS):
        for worker in list(act.workers):
            code = await asyncio.to_thread(worker.terminate, TERM_BOUND_S)
            if code != 0:
                act.problems.append(f"{worker.name} ended with {code} after SIGTERM")
            worker.start()
            restarts += 1
            await act.flows()
    await act.settled()
    told = asked(sorted(act.stage.folder.glob("*.asked")))
    again = told.total - told.different
    act.figures |= {"restarts": restarts, "asked": told.total, "asked_again": again}
    if again:
        act.problems.append(f"{again} pictures were asked again although every worker ended in order")


async def _slow_partition(act: Act) -> None:
    """Let each commit of one partition take two seconds, and count how often the worker's other ones commit."""
    slow, *others = act.populated
    began_s, id_ = time.time(), writer_of(act.stage.names, slow)
    applied = act.stage.world.proxy.apply(Delay(_SLOW_S, _SLOW_LASTS_S, frozenset({Api.END_TXN}), transactional_id=id_))
    await applied.wait(_SLOW_LASTS_S + 1.0)
    times = {number: len({at_s for at_s in act.reader.arrivals_s[number] if at_s > began_s}) for number in act.populated}
    act.figures |= {"slow": times[slow], "others": [times[number] for number in others]}
    if not 0 < times[slow] <= _SLOW_LASTS_S / _SLOW_S + 1:
        act.problems.append(
            f"commits of the slow partition came {times[slow]} times, of which {applied.hits.total()} were held up"
        )
    if held_up := {number: times[number] for number in others if times[number] < _FASTER * times[slow]}:
        act.problems.append(f"the slow partition, with {times[slow]} commits, held others up: {held_up}")


SCENARIOS = {
    "stall": Scenario(
        "The devices stand still for 25 sessions and half of device_timeout_s, under a flood: no rebalance, bounded memory.",
        _stalled,
        Setting(worker={"device_timeout_s": DEVICE_TIMEOUT_S, "deadline_s": _FLOOD_DEADLINE_S}),
    ),
    "stall-for-good": Scenario(
        "The devices stand still past device_timeout_s: the workers end with a sentence, their successors lose nothing.",
        _stalled_for_good,
        Setting(worker={"device_timeout_s": 12.0}),
    ),
    "rolling-restart": Scenario(
        "Three workers are replaced one by one under load, three times: nothing lost, nothing asked again that was answered.",
        _rolling,
        Setting(workers=3),
    ),
    "slow-partition": Scenario(
        "Every commit of one partition takes two seconds: the other partitions of its worker go on as before.",
        _slow_partition,
        Setting(workers=1, worker={"deadline_s": _SLOW_DEADLINE_S}),
    ),
}
