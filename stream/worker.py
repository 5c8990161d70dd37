"""The worker: three tasks and two queues of size one between a source and a sink.

    ingest (poll, decode, sample, batch) --> answer (the device) --> emit (observe, debounce, deliver)

The full queue is the backpressure: ingest stops polling and the source holds the rest. The worker owns no thread, no clock but
the loop's, and no opinion on commits, brokers or devices: they come in as ports. Any task's failure ends the others and `run`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.batcher import Batcher
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.counts import Counts
from stream.debounce import DebounceRules
from stream.errors import StreamError
from stream.intake import Decode, Intake, PartitionKey
from stream.partition import Partition
from stream.ports import Assigned, Poll, Proof, Sink, Source
from stream.types import Answer, Batch, DeadLetter, Frame, Observation


class Infer(Protocol):
    """The device, off the event loop."""

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer the first n frames of a padded batch, uint8 (bucket, S, S, 3).

        Raises:
            DeviceLost: the device failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What the worker asks and how it paces itself."""

    behaviors: tuple[str, ...]
    """Behaviour of each column of the answers."""
    debounce: DebounceRules
    clock: ClockRules
    cameras: CameraRegistry
    buckets: tuple[int, ...]
    """Compiled batch sizes, ascending."""
    max_wait_s: float = 0.25
    """Longest time that a frame waits for others to fill its batch."""
    poll_timeout_s: float = 0.5
    """Longest idle poll; bounds how late a stop is noticed."""
    tick_s: float = 1.0
    """Longest time between two deliveries of a partition that moved; events never wait for it."""
    device_timeout_s: float = 600.0
    """A batch that takes longer means that the device is lost."""
    drain_timeout_s: float = 30.0
    """After a stop: time for what was taken in to be answered and delivered."""
    silence_grace_s: float = 10.0
    """How long a partition must have been proven live before silence counts (after a start or an outage)."""


class _End(Enum):
    """End of the flow."""

    SOURCE_ENDED = auto()
    STOPPED = auto()


@dataclass(frozen=True, slots=True)
class _Answered:
    batch: Batch
    answers: Answers


_Asked: TypeAlias = Batch | DeadLetter | Proof | _End
_Done: TypeAlias = _Answered | DeadLetter | Proof | _End


@dataclass(slots=True)
class Ports:
    """The worker's four connections to the world."""

    source: Source
    sink: Sink
    decode: Decode
    infer: Infer


@dataclass(slots=True)
class Worker:
    """One process, one device core. `run` once; `stop` from a signal handler."""

    ports: Ports
    config: WorkerConfig
    counts: Counts = field(default_factory=Counts)
    _partitions: dict[PartitionKey, Partition] = field(default_factory=dict)
    _rules: dict[str, DebounceRules] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work until the source ends, `stop` is called, or something fails.

        Raises:
            DeviceLost, StreamError: whatever ended it, the first one if several tasks failed.
        """
        batcher = Batcher(self.config.buckets, self.config.max_wait_s)
        asked: asyncio.Queue[_Asked] = asyncio.Queue(maxsize=1)
        done: asyncio.Queue[_Done] = asyncio.Queue(maxsize=1)
        try:
            async with asyncio.TaskGroup() as tasks:
                watchdog = tasks.create_task(self._bound_drain())
                tasks.create_task(self._ingest(batcher, asked))
                tasks.create_task(self._answer(asked, done))
                emit = tasks.create_task(self._emit(done))
                emit.add_done_callback(lambda _: watchdog.cancel())
        except* (DeviceLost, StreamError) as failures:
            raise first_of(failures) from failures

    def stop(self) -> None:
        """Poll no more, drain what was taken in, deliver it, and return from `run`. Ends no episode."""
        self._stopping.set()

    # ---------------------------------------------------------------- ingest

    async def _ingest(self, batcher: Batcher, asked: asyncio.Queue[_Asked]) -> None:
        loop = asyncio.get_running_loop()
        intake = Intake(self.ports.decode, self.config.cameras, self.config.clock, self.counts)
        ended = False
        while not (ended or self._stopping.is_set()):
            due_s = batcher.due_s()
            timeout_s = self.config.poll_timeout_s if due_s is None else min(due_s - loop.time(), self.config.poll_timeout_s)
            poll = await self.ports.source.poll(max(0.0, timeout_s))
            self._reassign(poll, batcher)
            frames, letters = await intake.take(poll, self._partitions)
            for letter in letters:
                await asked.put(letter)
            for frame in frames:
                await _put(asked, batcher.add(frame, loop.time()))
            await _put(asked, batcher.take_due(loop.time()))
            for proof in poll.proofs:
                await asked.put(proof)
            ended = poll.ended
        await _put(asked, batcher.flush())
        await asked.put(_End.SOURCE_ENDED if ended else _End.STOPPED)

    def _reassign(self, poll: Poll, batcher: Batcher) -> None:
        for revoked in poll.revoked:
            self._partitions.pop((revoked.topic, revoked.partition), None)
            batcher.forget(revoked.topic, revoked.partition)
        for assigned in poll.assigned:
            batcher.forget(assigned.topic, assigned.partition)
            self._partitions[assigned.topic, assigned.partition] = Partition(assigned, self._rules_of(assigned))

    def _rules_of(self, assigned: Assigned) -> Mapping[str, DebounceRules]:
        return {camera: self._rules_for(camera) for camera in assigned.cameras}

    def _rules_for(self, camera: str) -> DebounceRules:
        if camera not in self._rules:
            self._rules[camera] = self.config.cameras.rules_for(camera, self.config.debounce)
        return self._rules[camera]

    # ---------------------------------------------------------------- answer

    async def _answer(self, asked: asyncio.Queue[_Asked], done: asyncio.Queue[_Done]) -> None:
        while True:
            item = await asked.get()
            if isinstance(item, Batch):
                self.counts.batches += 1
                await done.put(_Answered(item, await self._infer(item)))
            else:
                await done.put(item)
            if isinstance(item, _End):
                return

    async def _infer(self, batch: Batch) -> Answers:
        try:
            async with asyncio.timeout(self.config.device_timeout_s):
                return await self.ports.infer(batch.pixels(), len(batch.frames))
        except TimeoutError as error:
            msg = f"the device answered nothing for {self.config.device_timeout_s:g} s: restart the worker, check the device"
            raise DeviceLost(msg) from error

    # ---------------------------------------------------------------- emit

    async def _emit(self, done: asyncio.Queue[_Done]) -> None:
        loop = asyncio.get_running_loop()
        next_tick_s = loop.time() + self.config.tick_s
        while True:
            item = await _get_before(done, next_tick_s)
            match item:
                case _Answered():
                    self._observe(item)
                case DeadLetter():
                    self._reject(item)
                case Proof():
                    self._hear(item)
                case _End.SOURCE_ENDED:
                    self._lose_all()
                case _:
                    pass
            tick_due = loop.time() >= next_tick_s or isinstance(item, _End)
            await self._deliver(everything=tick_due)
            if tick_due:
                next_tick_s = loop.time() + self.config.tick_s
            if isinstance(item, _End):
                return

    def _observe(self, answered: _Answered) -> None:
        for row, frame in enumerate(answered.batch.frames):
            partition = self._current(frame)
            if partition is None:
                self.counts.stale_frames += 1
                continue
            p_yes, share = answered.answers.p_yes[row], answered.answers.share[row]
            observation = Observation(
                position=frame.position,
                camera_id=frame.camera_id,
                captured_at_s=frame.captured_at_s,
                answers={
                    behavior: Answer(float(p_yes[column]), float(share[column]))
                    for column, behavior in enumerate(self.config.behaviors)
                },
                clock=frame.clock,
                traceparent=frame.traceparent,
                arrived_at_s=frame.arrived_at_s,
            )
            partition.observe(observation, self._rules_for(frame.camera_id))
            self.counts.answered += 1

    def _current(self, frame: Frame) -> Partition | None:
        """The books that a frame belongs to, unless its partition was reassigned since it was read."""
        partition = self._partitions.get((frame.position.topic, frame.position.partition))
        return partition if partition is not None and partition.incarnation == frame.position.incarnation else None

    def _reject(self, letter: DeadLetter) -> None:
        partition = self._partitions.get((letter.record.topic, letter.record.partition))
        if partition is not None and partition.incarnation == letter.record.incarnation:
            partition.reject(letter)

    def _hear(self, proof: Proof) -> None:
        partition = self._partitions.get((proof.topic, proof.partition))
        if partition is not None and partition.incarnation == proof.incarnation:
            rules = {camera: self._rules_for(camera) for camera in partition.cameras}
            partition.lose_silent(proof, self.config.silence_grace_s, rules)

    def _lose_all(self) -> None:
        for partition in self._partitions.values():
            for camera in partition.cameras:
                partition.lose(camera, self._rules_for(camera))

    async def _deliver(self, *, everything: bool) -> None:
        async with asyncio.TaskGroup() as deliveries:
            for partition in self._partitions.values():
                if partition.urgent or (everything and partition.due):
                    tick = partition.take_tick()
                    deliveries.create_task(self.ports.sink.deliver(tick))
                    self.counts.events += len(tick.events)

    async def _bound_drain(self) -> None:
        await self._stopping.wait()
        await asyncio.sleep(self.config.drain_timeout_s)
        msg = f"could not drain within {self.config.drain_timeout_s:g} s after the stop; what was not delivered is read again"
        raise StreamError(msg)


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group of groups."""
    first = failures.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def _put(asked: asyncio.Queue[_Asked], batch: Batch | None) -> None:
    if batch is not None:
        await asked.put(batch)


async def _get_before(done: asyncio.Queue[_Done], deadline_s: float) -> _Done | None:
    try:
        async with asyncio.timeout_at(deadline_s):
            return await done.get()
    except TimeoutError:
        return None
