"""What load and deploys do: a device that stands still, workers that are replaced one by one, a partition that is slow."""

import asyncio
import time

from tools.chaos.run import TERM_BOUND_S, TIMING
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.scenario import Scenario, Setting

STALL_SESSIONS = 25
DEVICE_TIMEOUT_S = 150.0
"""Twice the stall, as the ratio to `device_timeout_s` must be a half."""
MAX_RSS_BYTES = 400 * 1024 * 1024
"""Stated bound of a worker without a model: interpreter and libraries 150 MiB, a poll of 32 MiB, 16 MiB fetched, decoders."""
_RESTARTS = 3


async def _stalled(act: Act) -> None:
    """Block every device for 25 sessions and half of device_timeout_s: nobody leaves the group, nobody grows."""
    lasts_s = STALL_SESSIONS * TIMING.session_s
    before = [(worker.pid, worker.rss_bytes()) for worker in act.workers]
    act.stall()
    peak, until_s = 0, time.monotonic() + lasts_s
    while time.monotonic() < until_s:
        await asyncio.sleep(1.0)
        peak = max([peak, *(worker.rss_bytes() for worker in act.workers)])
    act.unstall()
    after = [worker.pid for worker in act.workers]
    act.figures |= {
        "stall_sessions": STALL_SESSIONS,
        "stall_of_device_timeout": lasts_s / DEVICE_TIMEOUT_S,
        "peak_rss_mib": peak // 2**20,
        "rss_before_mib": max(rss for _, rss in before) // 2**20,
        "rss_bound_mib": MAX_RSS_BYTES // 2**20,
    }
    if after != [pid for pid, _ in before]:
        act.problems.append(f"workers ended while their devices stood still: {before} became {after}")
    if peak > MAX_RSS_BYTES:
        act.problems.append(f"a worker grew to {peak // 2**20} MiB, the bound is {MAX_RSS_BYTES // 2**20}")
    if moved := act.said("taken from us"):
        act.problems.append(f"{moved} partitions were taken from stalled workers")
    act.figures["flows_after_s"] = await act.flows()


async def _stalled_for_good(act: Act) -> None:
    """Block the devices past device_timeout_s: each worker ends by itself with a sentence, and its successor goes on."""
    act.stall()
    await act.must_say("the device answered nothing for 12 s", timeout_s=60.0)
    act.unstall()
    act.figures["flows_after_s"] = await act.flows()


async def _rolling(act: Act) -> None:
    """Replace three workers one after the other under load, three times over."""
    asked = 0
    for _ in range(_RESTARTS):
        for worker in list(act.workers):
            code = await asyncio.to_thread(worker.terminate, TERM_BOUND_S)
            if code != 0:
                act.problems.append(f"{worker.name} ended with {code} after SIGTERM")
            worker.start()
            asked += 1
            await act.flows()
    act.figures["restarts"] = asked


SCENARIOS = {
    "stall": Scenario(
        "The devices stand still for 25 sessions and half of device_timeout_s: no rebalance, bounded memory, nothing lost.",
        _stalled,
        Setting(worker={"device_timeout_s": DEVICE_TIMEOUT_S}),
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
}
