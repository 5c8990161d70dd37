"""A scenario while it is played: everything that runs, what was noted so far, and the steps that scenarios are made of."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.kafka.topology import TopicNames
from tools.chaos.expected import Replay, Rules, Sent
from tools.chaos.faults import Fault, Kind
from tools.chaos.inject import Injected, inject
from tools.chaos.judge import delivered, replayed
from tools.chaos.order import OrderReader
from tools.chaos.processes import Child
from tools.chaos.question_sets import QuestionSet
from tools.chaos.reading import high_watermarks, read_all
from tools.chaos.records import sent
from tools.chaos.rules import Rule
from tools.chaos.run import TERM_BOUND_S, Stage
from tools.chaos.status import Order
from tools.chaos.stored import behind
from tools.chaos.turns import LOST, turns

LOOK_EVERY_S = 0.1
FLOW_BOUND_S = 45.0
"""Within which every partition must give alerts again; a session, a rebalance and a restore on a machine that is busy."""
READY_BOUND_S = 60.0
LOST_BOUND_S = 90.0
"""Within which a silent camera is told lost; a silence, a grace, and a restart where it has one."""
PARKED = "is left alone: "
"""What a worker says of a partition that waits for its operator."""


@dataclass(slots=True)
class Act:
    """One scenario on its stage."""

    stage: Stage
    reader: OrderReader
    figures: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Sentences of the judgement that must come, each once: what the scenario did on purpose."""
    lost: set[str] = field(default_factory=set)
    """Lines (`tools.chaos.expected.line_of`: a camera, or its stay on a partition) that were silent until they must be lost."""
    earlier: list[Sent] = field(default_factory=list)
    """What lay on the frames topic and was deleted after it was done."""
    asked: Sequence[QuestionSet] = ()
    """Question sets of a deploy, the first one first; none: the script's all the time."""
    replay: Replay | None = None
    """What must have come of the frames, where the topic alone does not tell."""

    @property
    def workers(self) -> list[Child]:
        """Those that belong to the fleet."""
        return self.stage.world.fleet.workers

    async def replayed(self) -> Replay:
        """What must have come of the frames."""
        if self.replay is not None:
            return self.replay
        stage = self.stage
        if not self.earlier:
            return await replayed(stage.direct, stage.names.frames, stage.script, self.lost, await self._turns())
        replay = Replay(stage.script.rules())
        for one in [*self.earlier, *await self.frames()]:
            replay.take(one)
        replay.finish(self.lost)
        return replay

    async def _turns(self) -> Mapping[str, Sequence[tuple[int, Rules]]]:
        """At which picture of each camera the questions of a deploy came into force."""
        if not self.asked:
            return {}
        alerts = await delivered(self.stage.direct, self.stage.names.alerts, self.stage.names.group)
        return turns(alerts, [each.judged(self.stage.script) for each in self.asked])

    async def frames(self) -> list[Sent]:
        """What the script's cameras have on the frames topic now."""
        return [one for _, _, one in await self.placed_frames()]

    async def placed_frames(self) -> list[tuple[int, int, Sent]]:
        """The same, each with its partition and offset."""
        cameras = {camera.name: camera for camera in self.stage.script.plan()}
        found = []
        async for record in read_all(self.stage.direct, self.stage.names.frames, "read_uncommitted"):
            one = sent(record, cameras)
            if one is not None:
                found.append((record.partition, record.offset, one))
        return found

    # ---------------------------------------------------------------- doing

    async def hit(
        self, kind: Kind, target: int = 0, lasts_s: float = 0.0, *, rule: Rule | None = None, order: Order | None = None
    ) -> Injected:
        """Do one fault to the worker of a place, at a busy moment."""
        injected = await inject(Fault(0, kind, 0.0, target, lasts_s, True, rule, False, order), self.stage.world)
        if injected.problem is not None:
            self.problems.append(injected.problem)
        return injected

    async def stop_workers(self) -> None:
        """End all workers in order."""
        await self.ready()
        codes = await self.stage.world.fleet.stop(TERM_BOUND_S)
        self.problems += [f"a worker ended with status {code} after SIGTERM" for code in codes if code != 0]

    def kill_workers(self) -> None:
        """End all workers with kill -9."""
        for worker in self.workers:
            worker.kill()

    def start_workers(self, **changes: Any) -> None:
        """Start all workers that do not run, with other settings if any are given."""
        for worker in self.workers:
            worker.arguments = {**worker.arguments, **changes}
            if not worker.is_running:
                worker.start()

    async def stop_publisher(self) -> None:
        """End the publisher in order: all that it sent is acknowledged."""
        await asyncio.to_thread(self.stage.world.publisher.terminate, 60.0)

    def start_publisher(self, **changes: Any) -> None:
        """Start the publisher again; it goes on where the topic ends."""
        publisher = self.stage.world.publisher
        publisher.arguments = {**publisher.arguments, **changes}
        publisher.start()

    def stall(self) -> None:
        """Let no device finish a batch."""
        (self.stage.folder / "stall").touch()

    def unstall(self) -> None:
        """Let the devices go on."""
        (self.stage.folder / "stall").unlink(missing_ok=True)

    # ---------------------------------------------------------------- seeing

    async def until(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> float:
        """Wait until something is so, and give the seconds that it took; it is a problem if it never is."""

        async def is_not() -> bool:
            return not is_so()

        return await self.until_none(is_not, timeout_s, what)

    async def until_none(self, left: Callable[[], Awaitable[object]], timeout_s: float, what: str) -> float:
        """The same of what only asking tells: wait until nothing of it is left; the problem names what still is."""
        began_s = time.monotonic()
        while missing := await left():
            if time.monotonic() - began_s > timeout_s:
                self.problems.append(f"not within {timeout_s:g} s: {what}" + ("" if missing is True else f"; left: {missing}"))
                break
            await asyncio.sleep(LOOK_EVERY_S)
        return round(time.monotonic() - began_s, 2)

    async def ready(self) -> None:
        """Wait until all workers that run have begun to work: one that is still starting ends by SIGTERM as any program does."""
        await self.until(self._are_ready, READY_BOUND_S, "all workers have begun")

    def _are_ready(self) -> bool:
        return all(worker.status is not None for worker in self.workers if worker.is_running)

    async def flows(self, partitions: Iterable[int] | None = None, timeout_s: float = FLOW_BOUND_S) -> float:
        """Wait until an alert comes on each partition that has cameras; gives the seconds."""
        wanted = set(self.populated if partitions is None else partitions)
        from_s = time.time()
        return await self.until(lambda: wanted <= self.alive_since(from_s), timeout_s, f"alerts on partitions {sorted(wanted)}")

    async def done(self, timeout_s: float = 90.0, names: TopicNames | None = None) -> None:
        """Wait until a group (None: the workers') has done all that lies on the frames topic; it is a problem if it never has."""
        await self.until_none(lambda: behind(self.stage.direct, names or self.stage.names), timeout_s, "all is done")

    async def settled(self) -> None:
        """Stop the publisher and wait until all that lies on the frames topic is done."""
        await self.stop_publisher()
        await self.done()

    async def ends(self) -> dict[int, int]:
        """End of each partition of the frames topic."""
        found = await high_watermarks(self.stage.direct, self.stage.names.frames)
        return {place.partition: end for place, end in found.items()}

    def alive_since(self, from_s: float) -> set[int]:
        """Partitions on which an alert came after a time (Unix)."""
        return {number for number, arrivals_s in self.reader.arrivals_s.items() if arrivals_s and arrivals_s[-1] > from_s}

    async def told_lost(self) -> Counter[str]:
        """How often each camera was told lost."""
        alerts = await delivered(self.stage.direct, self.stage.names.alerts)
        return Counter(each.alert.camera for each in alerts if each.alert.type == LOST)

    async def loses(self, cameras: Iterable[str], times: int = 1) -> float:
        """Wait until these cameras were told lost so often; gives the seconds."""

        async def left() -> list[str]:
            found = await self.told_lost()
            return [camera for camera in cameras if found[camera] < times]

        return await self.until_none(left, LOST_BOUND_S, f"cameras are told lost, {times} times each")

    @property
    def populated(self) -> Sequence[int]:
        """Partitions that have cameras."""
        return sorted({camera.partition for camera in self.stage.script.plan()})

    def has_asked(self, worker: Child) -> bool:
        """Whether a worker ever asked its device, which it does only with a partition."""
        journal = self.stage.folder / f"{worker.name}.asked"
        return journal.exists() and journal.stat().st_size > 0

    def said(self, words: str) -> int:
        """How often the workers said something, in all their lives."""
        fleet = self.stage.world.fleet
        return sum(_says(child, words) for child in (*fleet.workers, *fleet.gone))

    async def must_say(self, words: str, timeout_s: float = 45.0, *, beyond: int = 0) -> None:
        """Wait until a worker says something (again)."""
        await self.until(lambda: self.said(words) > beyond, timeout_s, f"a worker says {words!r}")

    async def all_say(self, words: str, timeout_s: float) -> None:
        """Wait until every worker has said something."""

        async def silent() -> list[str]:
            return [each.name for each in self.workers if not _says(each, words)]

        await self.until_none(silent, timeout_s, f"every worker says {words!r}")


def _says(child: Child, words: str) -> int:
    """How often, in all its lives."""
    return child.log.read_text(encoding="utf-8", errors="replace").count(words) if child.log.exists() else 0
