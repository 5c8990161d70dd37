"""One chaos run: brokers, workers and publishers as processes, faults one after the other, and the judgement at the end."""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from tools.broker.process import BrokerProcess
from tools.chaos.brokers import QUICK_FAULTS, Brokers, brokers_behind_proxy
from tools.chaos.bystanders import Bystanders
from tools.chaos.ending import WORKER_FILE, Ending, judged
from tools.chaos.faults import Fault, Timing, schedule
from tools.chaos.inject import Injected, inject
from tools.chaos.order import OrderReader
from tools.chaos.processes import Child, Fleet
from tools.chaos.proxy import Proxy
from tools.chaos.status import CrashPoint, reached
from tools.chaos.stored import behind
from tools.chaos.truth import Script
from tools.chaos.visits import MARGIN_S

PARTITIONS = 6
WORKER_MODULE = "tools.chaos.worker_process"
START_S = 12.0
"""Until all workers work: nothing is done to them before."""
DRAIN_S = 60.0
"""After the publisher's end: longest time in which nothing gets done."""
NEARLY = 500
"""Records that may be left when the publisher ends: some seconds of all cameras, done long before lost_after_s."""
NAIVE_DRAIN_S = 8.0
"""The negative control keeps no record of what is done."""
TERM_BOUND_S = 20.0
SILENCE_GRACE_S = 20.0
QUIET_S = SILENCE_GRACE_S + 2 * MARGIN_S
"""After the last fault: faults follow each other so closely that nobody who fell silent must be lost, and forgotten, before."""

TIMING = Timing(deadline_s=3.0, session_s=3.0, transaction_s=5.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    seed: int
    faults: int
    nodes: int = 1
    workers: int = 3
    is_naive: bool = False
    batch_s: float = 0.02
    """Time that the device takes for a batch."""


@dataclass(slots=True)
class World:
    """What faults are done to."""

    fleet: Fleet
    publisher: Child
    nodes: Sequence[BrokerProcess]
    proxy: Proxy


@dataclass(slots=True)
class Report:
    """What came of a run."""

    plan: Plan
    injected: list[Injected] = field(default_factory=list)
    reached: Counter[str] = field(default_factory=Counter)
    """How often each crash point was."""
    recovery_s: list[float] = field(default_factory=list)
    """Longest time without an alert on any partition around each fault."""
    ending: Ending | None = None
    stops: list[str] = field(default_factory=list)
    """What went wrong when all was stopped."""
    wall_s: float = 0.0

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        found = [f"{each.fault.kind}: {each.problem}" for each in self.injected if each.problem is not None]
        found += [] if self.plan.is_naive else self.stops
        return found + (["the run was not judged"] if self.ending is None else self.ending.problems)


@dataclass(slots=True)
class Stage:
    """Everything that runs, and where it can be reached."""

    plan: Plan
    script: Script
    names: TopicNames
    folder: Path
    brokers: Brokers
    world: World

    @property
    def direct(self) -> KafkaConnection:
        """For those who judge: past the proxy."""
        return KafkaConnection(self.brokers.direct_servers, client_id="judge")


def script_of(seed: int) -> Script:
    """The cameras of a seed; their time begins now, so that nothing is deleted as too old."""
    return Script(seed=seed, base_s=int(time.time()), partitions=PARTITIONS)


@asynccontextmanager
async def staged(
    plan: Plan, folder: Path, script: Script | None = None, settings: Mapping[str, str] = QUICK_FAULTS, **worker: Any
) -> AsyncIterator[Stage]:
    """Start brokers and prepare the processes.

    Args:
        plan: how many of each.
        folder: of the processes' files.
        script: the cameras; None takes those of the plan's seed.
        settings: of the brokers.
        worker: settings of the workers beyond the plan's.

    Raises:
        CommandError: no broker can be started here.
    """
    script = script or script_of(plan.seed)
    names = TopicNames("frames", "alerts", "chaos")
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with brokers_behind_proxy(plan.nodes, settings) as brokers:
        direct = KafkaConnection(brokers.direct_servers, client_id="judge")
        await create_topics(direct, names, partitions=script.partitions)

        arguments = told(plan, script, names, brokers, **worker)
        await asyncio.to_thread((folder / WORKER_FILE).write_text, json.dumps(arguments), encoding="utf-8")

        def make(number: int) -> Child:
            return Child(f"pawsight-w{number}", WORKER_MODULE, arguments, folder)

        feed = {"bootstrap_servers": brokers.bootstrap_servers, "topic": names.frames, "script": script.as_json()}
        publisher = Child("publisher", "tools.chaos.publisher", feed, folder)
        world = World(Fleet(make, plan.workers), publisher, brokers.nodes, brokers.proxy)
        try:
            yield Stage(plan, script, names, folder, brokers, world)
        finally:
            for child in (*world.fleet.workers, *world.fleet.gone, publisher):
                child.kill()


async def chaos(plan: Plan, folder: Path, on_fault: Callable[[Injected], None]) -> Report:
    """Do what the plan says; `on_fault` hears of every fault that was done.

    Raises:
        CommandError: a broker did not come up.
    """
    began_s = time.monotonic()
    report = Report(plan)
    async with staged(plan, folder) as stage:
        steady = {camera.name for camera in stage.script.plan() if camera.is_steady}
        reader = OrderReader(stage.direct, stage.names.alerts, steady, stage.names.group)
        bystanders = Bystanders(stage.direct, stage.names.frames, stage.script, random.Random(plan.seed))
        following = asyncio.create_task(reader.follow())
        visiting = asyncio.create_task(bystanders.publish())
        async with running(stage):
            for fault in schedule(plan.seed, plan.faults, nodes=plan.nodes, timing=TIMING):
                await _quiet(fault)
                report.injected.append(await inject(fault, stage.world))
                on_fault(report.injected[-1])
            await asyncio.sleep(TIMING.session_s + 2)
            visiting.cancel()
            if not plan.is_naive:  # cameras that end long before the last frame is done are lost, by the rule, and no fault
                await _left(stage, NEARLY)
                await asyncio.sleep(QUIET_S)
            report.stops = await finished(stage)
        await asyncio.gather(visiting, return_exceptions=True)
        report.ending = await judged(stage.direct, stage.names, stage.script, stage.folder, reader, is_naive=plan.is_naive)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        report.recovery_s = [reader.longest_pause_s(each.began_s, each.ended_s + TIMING.session_s) for each in report.injected]
        for child in (*stage.world.fleet.workers, *stage.world.fleet.gone):
            report.reached.update(order.point.value for order in reached(child.files))
    report.wall_s = time.monotonic() - began_s
    return report


@asynccontextmanager
async def running(stage: Stage) -> AsyncIterator[None]:
    """Start the workers and the publisher; who ends by itself is started again while the block lasts."""
    stage.world.fleet.start()
    stage.world.publisher.start()
    tending = asyncio.create_task(stage.world.fleet.tend())
    try:
        await asyncio.sleep(START_S)
        yield
    finally:
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)


async def finished(stage: Stage) -> list[str]:
    """Stop the publisher, wait until all of it is done, and stop the workers; names what did not work."""
    await asyncio.to_thread(stage.world.publisher.terminate, DRAIN_S)
    left = await _left(stage, 0) if not stage.plan.is_naive else {}
    if stage.plan.is_naive:
        await asyncio.sleep(NAIVE_DRAIN_S)
    codes = await stage.world.fleet.stop(TERM_BOUND_S)
    return [f"a worker ended with {code}" for code in codes if code != 0] + ([f"not done: {left}"] if left else [])


async def _left(stage: Stage, most: int) -> dict[int, int]:
    """Wait until no more than so many records are left, for as long as it gets less; give what is left of each partition."""
    least, until_s = 1 << 62, time.monotonic() + DRAIN_S
    left: dict[int, int] = {}
    while time.monotonic() < until_s:
        with contextlib.suppress(KafkaError):
            left = await behind(stage.direct, stage.names)
            if sum(left.values()) <= most:
                break
            if sum(left.values()) < least:
                least, until_s = sum(left.values()), time.monotonic() + DRAIN_S
        await asyncio.sleep(0.5)
    return left


async def _quiet(fault: Fault) -> None:
    await asyncio.sleep(fault.after_s)


def points() -> list[str]:
    """Every crash point's name."""
    return [point.value for point in CrashPoint]


def told(plan: Plan, script: Script, names: TopicNames, brokers: Brokers, **changes: Any) -> dict[str, Any]:
    """What a worker of these topics is told."""
    return {
        "bootstrap_servers": brokers.bootstrap_servers,
        "frames": names.frames,
        "alerts": names.alerts,
        "group": names.group,
        "script": script.as_json(),
        "session_s": TIMING.session_s,
        "max_poll_interval_s": 900.0,
        "deadline_s": TIMING.deadline_s,
        "batch_s": plan.batch_s,
        "device_timeout_s": 60.0,
        "decode_timeout_s": 300.0,
        "max_wait_s": 0.05,
        "forget_after_s": script.lost_after_s + 1.0,
        "is_naive": plan.is_naive,
        "trial_s": 5.0,
        "silence_grace_s": SILENCE_GRACE_S,
        "policy": {},
    } | changes
