"""Which partitions are ours and ready: one gate each, opened when its place was looked up and sought, shut at revocation.

Records of a new assignment come before aiokafka calls back, and the callbacks must return at once, because the heartbeat stands
still while they run: so the callbacks only note what changed, and a gate is opened in the background.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError

from stream.kafka.background import Background
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import NOT_ALLOWED, as_stream_error
from stream.kafka.places import Place, StartFrom, find_places
from stream.ports import Assigned, Revoked

log = logging.getLogger(__name__)

RETRY_S = 0.5


@dataclass(slots=True, eq=False)
class Gate:
    """One assignment of one partition: an object of its own for each, so that late answers find out that it is over."""

    tp: TopicPartition
    incarnation: int
    expected: int | None = None
    """Lowest offset that the next record may have; None: to be looked up."""
    is_open: bool = False
    is_announced: bool = False
    """The worker was told of it."""
    strikes: int = 0
    """Reads that failed in a row at the expected offset."""


@dataclass(slots=True)
class GateCounts:
    """What happened to the places of partitions."""

    skipped_by_retention: int = 0
    """Offsets that were gone before they were read."""
    restarted_partitions: int = 0
    """Times that a partition ended below our place (recreated, truncated) and was begun anew."""


class Gates(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka's base is untyped
    """The partitions of this member of the group; aiokafka's listener."""

    def __init__(
        self, consumer: AIOKafkaConsumer, connection: KafkaConnection, start_from: StartFrom, background: Background
    ) -> None:
        """Begin with no partition."""
        self.counts = GateCounts()
        self._consumer = consumer
        self._connection = connection
        self._start_from = start_from
        self._background = background
        self._gates: dict[TopicPartition, Gate] = {}
        self._incarnations = 0
        self._revoked: list[Revoked] = []
        self._assigned: list[Assigned] = []

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002  (eager: it is all of them)
        """Called by aiokafka before it joins again: every gate is shut."""
        for gate in list(self._gates.values()):
            self._give_up(gate)
        self._background.ring()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by aiokafka with the new assignment, whose records it fetches already."""
        self._open_later([self._take(tp) for tp in assigned])

    def get(self, tp: TopicPartition) -> Gate | None:
        """The current assignment of a partition, if it is ours."""
        return self._gates.get(tp)

    def holds(self, gate: Gate) -> bool:
        """Whether this assignment is not over."""
        return self._gates.get(gate.tp) is gate

    def open_ones(self) -> list[Gate]:
        """Those that may be read, in the order in which they were assigned."""
        return [gate for gate in self._gates.values() if gate.is_open]

    def take_changes(self) -> tuple[tuple[Revoked, ...], tuple[Assigned, ...]]:
        """What changed since the last call."""
        changes = tuple(self._revoked), tuple(self._assigned)
        self._revoked, self._assigned = [], []
        return changes

    def look_up_again(self, gate: Gate) -> None:
        """Shut a gate whose expected offset the log does not hold, and find out where to go on."""
        gate.is_open = False
        self._open_later([gate])

    def enter(self, gate: Gate, offset: int) -> None:
        """Open a gate at an offset; the worker is told if it does not know of it."""
        gate.expected = offset
        self._consumer.seek(gate.tp, offset)
        gate.is_open = True
        if not gate.is_announced:
            gate.is_announced = True
            self._assigned.append(Assigned(gate.tp.topic, gate.tp.partition, gate.incarnation, cameras={}))
        self._background.ring()

    def _take(self, tp: TopicPartition) -> Gate:
        self._incarnations += 1
        self._gates[tp] = Gate(tp, self._incarnations)
        return self._gates[tp]

    def _give_up(self, gate: Gate) -> None:
        gate.is_open = False
        del self._gates[gate.tp]
        waiting = [each for each in self._assigned if each.incarnation != gate.incarnation]
        if gate.is_announced and len(waiting) == len(self._assigned):
            self._revoked.append(Revoked(gate.tp.topic, gate.tp.partition))
        self._assigned = waiting

    def _open_later(self, gates: Sequence[Gate]) -> None:
        if gates:
            self._background.spawn(self._open(gates))

    async def _open(self, gates: Sequence[Gate]) -> None:
        while gates := [gate for gate in gates if self.holds(gate)]:
            try:
                places = await find_places(self._consumer, {gate.tp: gate.expected for gate in gates}, self._start_from)
            except NOT_ALLOWED as error:
                self._background.fail(as_stream_error(error, self._connection))
                return
            except (KafkaError, TimeoutError) as error:
                log.warning("where to read on was not answered, trying again: %r", error)
                await asyncio.sleep(RETRY_S)
                continue
            for gate in gates:
                if self.holds(gate):
                    self._enter_place(gate, places[gate.tp])
            return

    def _enter_place(self, gate: Gate, found: Place) -> None:
        if found.skipped:
            self.counts.skipped_by_retention += found.skipped
            log.warning("%s: %d offsets were gone before they were read; going on at %d", gate.tp, found.skipped, found.offset)
        if found.restarted:
            self.counts.restarted_partitions += 1
            log.error("%s ends below our place: recreated or truncated; beginning anew at %d", gate.tp, found.offset)
            self._give_up(gate)
            gate = self._take(gate.tp)
        self.enter(gate, found.offset)
