"""Which partitions are ours and ready: one gate each, opened when its partition was taken up, shut at revocation.

Records of a new assignment come before aiokafka calls back, and the callback for it must return at once, because the heartbeat
stands still while it runs: so it only notes what changed, and a gate is opened in the background. The callback for a revocation
may take its time: the heartbeat goes on, and what is in flight can still be delivered.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from stream.errors import SourceLost
from stream.kafka.background import Background
from stream.kafka.partition_client import Group
from stream.kafka.taking_up import Opened
from stream.ports import Assigned, Draining, Revoked

log = logging.getLogger(__name__)

RETRY_S = 0.5
CHECKS = 5
"""Failed looks at the topics in a row that end the worker, as many as a partition's failures."""
LOOK_TIMEOUT_S = 10.0


class Keeping(Protocol):
    """One partition under one assignment, in the hands of whoever delivers."""

    closed: asyncio.Event
    """Nothing of it will be delivered any more."""

    async def open(self, incarnation: int) -> Opened | None:
        """Take the partition up; None: it is to be left alone. Raises StreamError where the worker must end."""
        ...

    def discard(self) -> None:
        """It is over: deliver nothing more."""
        ...


class Delivery(Protocol):
    """Whoever knows where partitions stand: it takes them up, and delivers what came of them."""

    async def check(self) -> None:
        """Look whether the topics are as they must be. Raises StreamRefused if not, SourceLost if nobody answers."""
        ...

    def keep(self, tp: TopicPartition, group: Group, void: Callable[[], None]) -> Keeping:
        """Begin with a partition that was assigned; `void` is to be called when it must be taken up again."""
        ...


@dataclass(slots=True, eq=False)
class Gate:
    """One incarnation of one partition: an object of its own for each, so that late answers find out that it is over."""

    tp: TopicPartition
    incarnation: int
    keeping: Keeping
    expected: int | None = None
    """Lowest offset that the next record may have; None: not known yet."""
    is_open: bool = False
    is_announced: bool = False
    """The worker was told of it."""
    strikes: int = 0
    """Reads that failed in a row at the expected offset."""
    moved_s: float = field(default_factory=time.monotonic)
    """When something was read last, or nothing was left to read."""
    opening: asyncio.Task[None] | None = None
    fed_again_below: int = 0
    """Records below it may be what a decoder is fed again, up to a picture that it knows."""


@dataclass(slots=True)
class GateCounts:
    """What happened to the places of partitions."""

    skipped_by_retention: int = 0
    """Offsets that were gone before they were read."""
    taken_up: int = 0
    """Times that a partition was opened."""
    voided: int = 0
    """Times that a partition was taken up again after a delivery failed."""
    rebalances: int = 0
    """Times that the group assigned partitions anew."""


class Gates(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's base is untyped
    """The partitions of this member of the group; aiokafka's listener."""

    def __init__(self, group: Group, delivery: Delivery, background: Background, revoke_budget_s: float) -> None:
        """Begin with no partition."""
        self.counts = GateCounts()
        self._group = group
        self._consumer = group.consumer
        self._delivery = delivery
        self._background = background
        self._revoke_budget_s = revoke_budget_s
        self._gates: dict[TopicPartition, Gate] = {}
        self._incarnations = 0
        self._generation = 0
        self._revoked: list[Revoked] = []
        self._assigned: list[Assigned] = []
        self._draining: list[Draining] = []

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002  (eager: it is all of them)
        """Called by aiokafka before it joins again: nothing more is read, what is in flight is delivered within the budget."""
        self._generation += 1
        told = [gate for gate in self._gates.values() if gate.is_announced and not self._awaits(gate)]
        for gate in self._gates.values():
            gate.is_open = False
        self._draining += [Draining(gate.tp.topic, gate.tp.partition, gate.incarnation) for gate in told]
        self._background.ring()
        if told:
            closed = [asyncio.create_task(gate.keeping.closed.wait()) for gate in told]
            _, late = await asyncio.wait(closed, timeout=self._revoke_budget_s)
            for waiting in late:
                waiting.cancel()
            if late:
                log.warning("%d partitions were taken from us before all of them was delivered: it is read again", len(late))
        self._draining = []
        for gate in list(self._gates.values()):
            self._give_up(gate)
        self._background.ring()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka with the new assignment, whose records it fetches already."""
        self.counts.rebalances += 1
        self._generation += 1
        tps = list(assigned)
        if tps:
            self._background.spawn(self._take_up(tps))

    def get(self, tp: TopicPartition) -> Gate | None:
        """The current incarnation of a partition, if it is ours."""
        return self._gates.get(tp)

    def holds(self, gate: Gate) -> bool:
        """Whether this incarnation is not over."""
        return self._gates.get(gate.tp) is gate

    def open_ones(self) -> list[Gate]:
        """Those that may be read, in the order in which they were assigned."""
        return [gate for gate in self._gates.values() if gate.is_open]

    def take_changes(self) -> tuple[tuple[Revoked, ...], tuple[Assigned, ...], tuple[Draining, ...]]:
        """What changed since the last call."""
        changes = tuple(self._revoked), tuple(self._assigned), tuple(self._draining)
        self._revoked, self._assigned, self._draining = [], [], []
        return changes

    def look_up_again(self, gate: Gate) -> None:
        """Shut a gate whose expected offset the log does not hold, and find out where to go on."""
        gate.is_open = False
        self._background.spawn(self._relocate(gate))

    def enter(self, gate: Gate, offset: int) -> None:
        """Read on at an offset."""
        self._consumer.seek(gate.tp, offset)
        self._admit(gate, offset)

    def _admit(self, gate: Gate, offset: int) -> None:
        """Open a gate whose consumer stands at an offset."""
        gate.expected = offset
        gate.moved_s = time.monotonic()
        gate.is_open = True
        self._background.ring()

    async def _take_up(self, tps: Iterable[TopicPartition]) -> None:
        generation = self._generation
        await self._check(generation)
        if generation == self._generation:  # else another rebalance came first
            for tp in tps:
                keeping = self._delivery.keep(tp, self._group, lambda tp=tp: self._void(tp))  # type: ignore[misc]
                self._begin(tp, keeping)

    async def _check(self, generation: int) -> None:
        """Look at the topics; once means little: every member looks at each rebalance, and may ask a broker that just died."""
        for failed in range(1, CHECKS):
            try:
                await self._delivery.check()
            except SourceLost as error:
                if generation != self._generation:
                    return
                log.warning("the topics could not be looked at (%d), trying again: %s", failed, error)
                await asyncio.sleep(RETRY_S * 2**failed * random.uniform(0.5, 1.0))  # noqa: S311  (spreads retries, keeps no secret)
            else:
                return
        await self._delivery.check()

    def _begin(self, tp: TopicPartition, keeping: Keeping) -> None:
        self._incarnations += 1
        gate = self._gates[tp] = Gate(tp, self._incarnations, keeping)
        gate.opening = self._background.spawn(self._open(gate))

    async def _open(self, gate: Gate) -> None:
        try:
            opened = await gate.keeping.open(gate.incarnation)
        finally:
            gate.opening = None  # a cancelled task keeps what its frames held, connections among it
        if opened is None or not self.holds(gate):
            return
        self.counts.taken_up += 1
        self.counts.skipped_by_retention += opened.skipped
        gate.is_announced = True
        decoders = (each.decoder for each in opened.assigned.cameras.values())
        gate.fed_again_below = 1 + max((each.shown_offset for each in decoders if each is not None), default=-1)
        self._assigned.append(opened.assigned)
        self._admit(gate, opened.read_from)

    def _void(self, tp: TopicPartition) -> None:
        """A delivery failed: the worker's books of the partition are void, and it is taken up again."""
        gate = self._gates.get(tp)
        if gate is not None:
            self.counts.voided += 1
            self._end(gate)
            self._begin(tp, gate.keeping)
            self._background.ring()

    def _give_up(self, gate: Gate) -> None:
        self._end(gate)
        gate.keeping.discard()

    def _end(self, gate: Gate) -> None:
        gate.is_open = False
        del self._gates[gate.tp]
        if gate.opening is not None:
            gate.opening.cancel()
        if self._awaits(gate):
            self._assigned = [each for each in self._assigned if each.incarnation != gate.incarnation]
        elif gate.is_announced:
            self._revoked.append(Revoked(gate.tp.topic, gate.tp.partition))
        self._group.commits.drop(gate.tp)

    def _awaits(self, gate: Gate) -> bool:
        """Whether the worker has not asked yet what it will be told of this gate."""
        return any(each.incarnation == gate.incarnation for each in self._assigned)

    async def _relocate(self, gate: Gate) -> None:
        while self.holds(gate):
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    first = (await self._consumer.beginning_offsets([gate.tp]))[gate.tp]
                    end = (await self._consumer.end_offsets([gate.tp]))[gate.tp]
            except (KafkaError, TimeoutError) as error:
                log.warning("where %s begins was not answered, trying again: %r", gate.tp, error)
                await asyncio.sleep(RETRY_S)
                continue
            if self.holds(gate):
                self._relocated(gate, first, end)
            return

    def _relocated(self, gate: Gate, first: int, end: int) -> None:
        assert gate.expected is not None
        if gate.expected > end:
            log.error("%s ends at %d, below our place %d: taking it up again", gate.tp, end, gate.expected)
            self._take_up_again(gate)
            return
        if first > gate.expected and gate.expected < gate.fed_again_below:  # a decoder would wait for ever for what is gone
            log.warning("%s: retention deleted what decoders were to be fed again: taking it up again", gate.tp)
            self._take_up_again(gate)
            return
        if first > gate.expected:
            self.counts.skipped_by_retention += first - gate.expected
            log.warning("%s: retention deleted offsets %d to %d before they were read", gate.tp, gate.expected, first)
        self.enter(gate, max(first, gate.expected))

    def _take_up_again(self, gate: Gate) -> None:
        gate.keeping.discard()
        self._void(gate.tp)
