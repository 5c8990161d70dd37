"""The worker: three tasks and two queues of size one between a source and a sink.

    ingest (poll, decode, sample, batch) --> answer (the device) --> emit (observe, debounce, deliver)

The full queue is the backpressure: ingest stops polling and the source holds the rest. The worker owns no thread, no clock but
the loop's, and no opinion on commits, brokers or devices: they come in as ports. Any task's failure ends the others and `run`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.errors import DeviceLost
from stream.answering import DEVICE_TIMEOUT_S, Answered, Answering, Ask, Asked, Done, End, Infer, Reload
from stream.batcher import Batcher
from stream.counts import Counts
from stream.debounce import DebounceRules
from stream.decode_threads import Threads
from stream.deliveries import Deliveries
from stream.errors import StreamError
from stream.intake import Intake, IntakeConfig, Trial
from stream.partition import Partition, PartitionKey
from stream.ports import Draining, Poll, Proof, Sink, Source
from stream.reloads import Reloads
from stream.state_records import QuestionRevision
from stream.types import Batch, DeadLetter, Frame, Observation


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the worker asks and how it paces itself."""

    behaviors: tuple[str, ...]
    """Behaviour of each column of the answers."""
    debounce: DebounceRules
    intake: IntakeConfig
    buckets: tuple[int, ...]
    """Compiled batch sizes, ascending."""
    max_wait_s: float = 0.25
    """Longest time that a frame waits for others to fill its batch."""
    poll_timeout_s: float = 0.5
    """Longest idle poll; bounds how late a stop is noticed."""
    tick_s: float = 1.0
    """Longest time between two deliveries of a partition that moved; events never wait for it."""
    device_timeout_s: float = DEVICE_TIMEOUT_S
    """A batch that takes longer means that the device is lost."""
    drain_timeout_s: float = 30.0
    """After a stop: time for what was taken in to be answered and delivered."""
    silence_grace_s: float = 10.0
    """How long a partition must have been proven live before silence counts (after a start or an outage)."""
    submitters: int = 1
    """Batches that may be on the device at once; their answers are handed on in order."""
    questions: QuestionRevision | None = None
    """What is asked at the start; None: what the sink was told, and never anything else."""


@dataclass(slots=True)
class Ports:
    """The worker's connections to the world."""

    source: Source
    sink: Sink
    infer: Infer
    threads: Threads
    """Where decoding runs."""
    trial: Trial
    """Where a record is decoded that may have killed a worker."""
    ask: Ask | None = None
    """Turns the device to other questions; None: it keeps those it has."""
    on_observation: Callable[[Observation], None] | None = None
    """Hears what was observed on each frame, right after it was judged; None: only the events leave."""


class Worker:
    """One process, one device core. `run` once; `stop` from a signal handler, `reload` from a task."""

    def __init__(self, ports: Ports, config: WorkerConfig) -> None:
        """Take the ports; nothing is touched before `run`."""
        self.counts = Counts()
        self._ports = ports
        self._config = config
        self._partitions: dict[PartitionKey, Partition] = {}
        self._rules: dict[str, DebounceRules] = {}
        self._batcher = Batcher(config.buckets, config.max_wait_s)
        self._intake = Intake(ports.threads, ports.trial, config.intake, self.counts)
        self._answering = Answering(ports.infer, ports.ask, self.counts, config.submitters, config.device_timeout_s)
        self._deliveries = Deliveries(ports.sink, self.counts)
        self._stopping = asyncio.Event()
        self._reloads = Reloads()

    async def run(self) -> None:
        """Work until the source ends, `stop` is called, or something fails.

        Raises:
            DeviceLost, StreamError: whatever ended it, the first one if several tasks failed.
        """
        asked: asyncio.Queue[Asked] = asyncio.Queue(maxsize=1)
        done: asyncio.Queue[Done] = asyncio.Queue(maxsize=1)
        try:
            async with asyncio.TaskGroup() as tasks:
                watchdog = tasks.create_task(self._bound_drain())
                tasks.create_task(self._ingest(asked))
                tasks.create_task(self._answering.run(asked, done))
                emit = tasks.create_task(self._emit(done))
                emit.add_done_callback(lambda _: watchdog.cancel())
        except* (DeviceLost, StreamError) as failures:
            raise first_of(failures) from failures
        finally:
            self._reloads.close()

    def stop(self) -> None:
        """Poll no more, drain what was taken in, deliver it, and return from `run`. Ends no episode."""
        self._stopping.set()

    async def reload(self, reload: Reload) -> None:
        """Ask other questions from the next batch on; return when the first answer to them may come.

        Behaviours that are not asked any more end there, in every partition; new wording or thresholds keep an open episode.
        What waits here is cancelled if the worker ends before.

        Raises:
            ValueError: some camera's own thresholds do not fit them: the old ones stay in force.
        """
        intake = self._config.intake
        intake.cameras.check(intake.clock, reload.debounce)
        await self._reloads.taken(reload)

    @property
    def open_records(self) -> int:
        """Records that were read and are not done."""
        return sum(partition.ledger.open_records for partition in self._partitions.values())

    # ---------------------------------------------------------------- ingest

    async def _ingest(self, asked: asyncio.Queue[Asked]) -> None:
        loop = asyncio.get_running_loop()
        ended = False
        while not (ended or self._stopping.is_set()):
            due_s = self._batcher.due_s()
            most_s = self._config.poll_timeout_s
            timeout_s = most_s if due_s is None else min(due_s - loop.time(), most_s)
            poll = await self._ports.source.poll(max(0.0, timeout_s), self._deliveries.held())
            self._reassign(poll)
            await self._take(poll, asked)
            await self._pass_reloads(asked)
            ended = poll.ended
        if ended:
            await self._batch(await self._intake.close_all(self._partitions), asked)
        await _put(asked, self._batcher.flush())
        await asked.put(End.SOURCE_ENDED if ended else End.STOPPED)

    async def _take(self, poll: Poll, asked: asyncio.Queue[Asked]) -> None:
        async for item in self._intake.take(poll, self._partitions):
            if isinstance(item, DeadLetter):
                await asked.put(item)
            else:
                await self._batch([item], asked)
        if poll.draining:  # whatever was read of them goes to the device before they are told to finish
            await _put(asked, self._batcher.flush())
        for draining in poll.draining:
            await asked.put(draining)
        await _put(asked, self._batcher.take_due(asyncio.get_running_loop().time()))
        for proof in poll.proofs:
            partition = self._books(proof.topic, proof.partition, proof.incarnation)
            if partition is not None:
                await self._batch(await self._intake.close_silent(proof, partition), asked)
                await asked.put(proof)

    async def _pass_reloads(self, asked: asyncio.Queue[Asked]) -> None:
        while (reload := self._reloads.pop()) is not None:
            await _put(asked, self._batcher.flush())
            await asked.put(reload)

    async def _batch(self, frames: Iterable[Frame], asked: asyncio.Queue[Asked]) -> None:
        for frame in frames:
            await _put(asked, self._batcher.add(frame, asyncio.get_running_loop().time()))

    def _reassign(self, poll: Poll) -> None:
        for revoked in poll.revoked:
            self._partitions.pop((revoked.topic, revoked.partition), None)
            self._forget(revoked.topic, revoked.partition)
        for assigned in poll.assigned:
            self._forget(assigned.topic, assigned.partition)
            rules = self._rules_of(assigned.cameras)
            self._partitions[assigned.topic, assigned.partition] = Partition(assigned, rules, self._config.questions)

    def _forget(self, topic: str, partition: int) -> None:
        self.counts.stale_frames += self._batcher.forget(topic, partition)
        self._intake.forget((topic, partition))

    def _books(self, topic: str, partition: int, incarnation: int) -> Partition | None:
        """The books of a partition, unless it was reassigned since."""
        books = self._partitions.get((topic, partition))
        return books if books is not None and books.incarnation == incarnation else None

    def _rules_of(self, cameras: Iterable[str]) -> Mapping[str, DebounceRules]:
        return {camera: self._rules_for(camera) for camera in cameras}

    def _rules_for(self, camera: str) -> DebounceRules:
        if camera not in self._rules:
            self._rules[camera] = self._config.intake.cameras.rules_for(camera, self._config.debounce)
        return self._rules[camera]

    # ---------------------------------------------------------------- emit

    async def _emit(self, done: asyncio.Queue[Done]) -> None:
        loop = asyncio.get_running_loop()
        next_tick_s = loop.time() + self._config.tick_s
        async with self._deliveries as deliveries:
            while True:
                item = await _get_before(done, next_tick_s)
                self._apply(item)
                tick_due = loop.time() >= next_tick_s
                deliveries.begin(self._partitions.values(), everything=tick_due)
                if tick_due:
                    next_tick_s = loop.time() + self._config.tick_s
                if isinstance(item, End):
                    break
            for partition in self._partitions.values():
                deliveries.finish(partition)

    def _apply(self, item: Done | None) -> None:
        match item:
            case Answered():
                self._observe(item)
            case Proof():
                self._hear(item)
            case Draining():
                if (partition := self._books(item.topic, item.partition, item.incarnation)) is not None:
                    self._deliveries.finish(partition)
            case Reload():
                self._turn(item)
            case End.SOURCE_ENDED:
                self._lose_all()
            case _:  # a dead letter is in the books already: it came along to be delivered soon, and not to run ahead
                pass

    def _observe(self, answered: Answered) -> None:
        for observation in answered.observations(self._config.behaviors):
            position = observation.position
            partition = self._books(position.topic, position.partition, position.incarnation)
            if partition is None:
                self.counts.stale_frames += 1
            else:
                partition.observe(observation, self._rules_for(observation.camera_id))
                self.counts.answered += 1
                if self._ports.on_observation is not None:
                    self._ports.on_observation(observation)

    def _turn(self, reload: Reload) -> None:
        """Judge by other rules from here on: every answer to the old questions was observed, none to the new ones."""
        self._config = replace(self._config, behaviors=reload.behaviors, debounce=reload.debounce, questions=reload.questions)
        self._rules.clear()
        for partition in self._partitions.values():
            partition.ask(self._rules_of(partition.cameras), reload.questions)
        self._reloads.in_force()

    def _hear(self, proof: Proof) -> None:
        partition = self._books(proof.topic, proof.partition, proof.incarnation)
        if partition is not None:
            partition.lose_silent(proof, self._config.silence_grace_s, self._rules)  # those of every camera that has a state
            partition.forget_silent(proof, self._config.debounce.forget_after_s)
            partition.drop_strangers(proof, self._config.intake.lost_after_s)  # after their decoders were closed

    def _lose_all(self) -> None:
        for partition in self._partitions.values():
            for camera in partition.cameras:
                partition.lose(camera, self._rules_for(camera))

    async def _bound_drain(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self._config.drain_timeout_s)
        msg = f"could not drain within {self._config.drain_timeout_s:g} s after the stop; what was not delivered is read again"
        raise StreamError(msg)


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group of groups."""
    first = failures.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def _put(asked: asyncio.Queue[Asked], batch: Batch | None) -> None:
    if batch is not None:
        await asked.put(batch)


async def _get_before(done: asyncio.Queue[Done], deadline_s: float) -> Done | None:
    try:
        async with asyncio.timeout_at(deadline_s):
            return await done.get()
    except TimeoutError:
        return None
