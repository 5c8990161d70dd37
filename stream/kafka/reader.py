"""Takes records one at a time through the open gates, and finds the ones that the client cannot read.

One record per read, because an exception in a wider read throws away what was taken of innocent partitions. A read is never
cancelled. When no gate is open a partition that does not exist is read, which keeps the membership.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, OffsetOutOfRangeError, UnsupportedCodecError

from stream.errors import SourceLost, StreamRefused
from stream.kafka import steady
from stream.kafka.background import Background
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import as_stream_error, refusal
from stream.kafka.gates import RETRY_S, Gate, Gates
from stream.kafka.salvage import Salvage, SavedRecord, salvage
from stream.types import DeadLetter, Record

log = logging.getLogger(__name__)

READ_S = 0.2
"""Longest single wait for records: a gate that opened meanwhile waits no longer."""
STRIKES = 2
"""A read that fails this often at one offset is looked at as bytes."""
MAX_FAILURES = 5
"""Failed reads in a row that no record explains: the consumer is lost."""

_NOWHERE = TopicPartition("__none__", 0)


class Reader:
    """Fills `inbox` with what was read."""

    def __init__(self, consumer: AIOKafkaConsumer, connection: KafkaConnection, gates: Gates, background: Background) -> None:
        """Join the consumer with the gates that say what may be read."""
        self.inbox: deque[Record | DeadLetter] = deque()
        self.unreadable = 0
        """Records that the client could not read."""
        self._consumer = consumer
        self._connection = connection
        self._gates = gates
        self._background = background
        self._failures = 0
        self._turns = 0
        self._reading: asyncio.Task[None] | None = None

    async def fill(self, max_records: int, max_bytes: int, held: frozenset[tuple[str, int]]) -> None:
        """Take what was fetched already, one record of each partition in turn, up to a full inbox; nothing of the held ones.

        Full is an inbox of `max_records`, or of `max_bytes`, which its last record may exceed. What lay in it before counts.
        """
        turn = self._readable(held)
        self._turns += 1
        first = self._turns % max(1, len(turn))
        turn = turn[first:] + turn[:first]
        size_bytes = sum(map(_size_bytes, self.inbox))
        while turn:
            more = []
            for gate in turn:
                if len(self.inbox) >= max_records or size_bytes >= max_bytes:
                    return
                if not gate.is_open:
                    continue
                before = len(self.inbox)
                await self._read([gate.tp], 0.0)
                if len(self.inbox) > before:
                    size_bytes += sum(map(_size_bytes, islice(self.inbox, before, None)))
                    more.append(gate)
            turn = more

    async def wait(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> None:
        """Wait until a record was taken or the bell rings. A read that a rebalance holds up goes on behind our back."""
        if self._reading is None or self._reading.done():
            tps = [gate.tp for gate in self._readable(held)] or [_NOWHERE]
            self._reading = self._background.spawn(self._read(tps, min(timeout_s, READ_S)))
        await self._background.listen([self._reading], timeout_s)

    def _readable(self, held: frozenset[tuple[str, int]]) -> list[Gate]:
        return [gate for gate in self._gates.open_ones() if (gate.tp.topic, gate.tp.partition) not in held]

    async def _read(self, tps: Sequence[TopicPartition], timeout_s: float) -> None:
        """Take at most one record of these partitions. Nothing else may run between the client's answer and `_accept`."""
        try:
            taken = await self._consumer.getmany(*tps, timeout_ms=int(timeout_s * 1000), max_records=1)
        except Exception as error:  # noqa: BLE001  (records of foreign publishers make the client raise anything)
            self._on_failure(error, tps)
            return
        self._failures = 0
        for messages in taken.values():
            for message in messages:
                self._accept(message)

    def _accept(self, message: ConsumerRecord) -> None:
        gate = self._gates.get(TopicPartition(message.topic, message.partition))
        if gate is None or not gate.is_open:
            return  # opening the gate seeks to what is expected
        assert gate.expected is not None
        assert message.offset >= gate.expected, (message.offset, gate)
        gate.expected = message.offset + 1
        gate.strikes = 0
        gate.moved_s = time.monotonic()
        saved = SavedRecord(message.offset, message.timestamp, message.key, message.value, tuple(message.headers))
        self.inbox.append(_record(gate, saved))

    def _on_failure(self, error: Exception, tps: Sequence[TopicPartition]) -> None:
        gate = self._gates.get(tps[0]) if len(tps) == 1 else None
        if refusal(error) is not None:
            self._background.fail(as_stream_error(error, self._connection))
        elif isinstance(error, UnsupportedCodecError):
            msg = f"{tps[0].topic} holds records in a compression that this worker lacks: set compression.type=uncompressed on it"
            self._background.fail(StreamRefused(msg))
        elif isinstance(error, OffsetOutOfRangeError):
            for gone in (self._gates.get(tp) for tp in error.args[0]):
                if gone is not None and gone.is_open:
                    self._gates.look_up_again(gone)
        elif isinstance(error, ConsumerStoppedError) or self._failures >= MAX_FAILURES:
            self._background.fail(SourceLost(f"the records of {tps[0].topic} cannot be read any more: {error!r}"))
        elif gate is not None and gate.is_open:
            self._strike(gate, error)
        else:
            self._failures += 1  # whose record it is comes out when the partitions are read one by one

    def _strike(self, gate: Gate, error: Exception) -> None:
        """Read again from where we know to be; what fails again is looked at as bytes."""
        assert gate.expected is not None
        gate.strikes += 1
        log.warning("reading %s at offset %d failed (%d): %r", gate.tp, gate.expected, gate.strikes, error)
        if gate.strikes > STRIKES + MAX_FAILURES:
            self._background.fail(
                SourceLost(f"{gate.tp} cannot be read at offset {gate.expected}, for no reason in it: {error!r}")
            )
        elif gate.strikes < STRIKES:
            self._consumer.seek(gate.tp, gate.expected)
        else:
            gate.is_open = False
            self._background.spawn(self._salvage(gate, error))

    async def _salvage(self, gate: Gate, error: Exception) -> None:
        assert gate.expected is not None
        while self._gates.holds(gate):
            try:
                found = await salvage(self._connection, gate.tp, gate.expected)
            except OffsetOutOfRangeError:  # retention was faster
                self._gates.look_up_again(gate)
                return
            except (KafkaError, OSError, TimeoutError) as failure:
                log.warning("%s could not be read as bytes, trying again: %r", gate.tp, failure)
                await asyncio.sleep(RETRY_S)
                continue
            if self._gates.holds(gate):
                self._take_salvage(gate, found, error)
            return

    def _take_salvage(self, gate: Gate, found: Salvage, error: Exception) -> None:
        assert gate.expected is not None
        if found.is_healthy:
            self._gates.enter(gate, gate.expected)
            return
        gate.strikes = 0
        for saved in found.records:
            record = _record(gate, saved)
            if saved.fault is None:
                self.inbox.append(record)
                continue
            self.unreadable += 1
            message = f"offset {saved.offset} of {gate.tp.topic}[{gate.tp.partition}] is unreadable: {type(error).__name__}"
            self.inbox.append(DeadLetter(record, stage="wire", reason=saved.fault, message=message))
        self._gates.enter(gate, found.next_offset)


def _record(gate: Gate, saved: SavedRecord) -> Record:
    return Record(
        topic=gate.tp.topic,
        partition=gate.tp.partition,
        offset=saved.offset,
        timestamp_ms=saved.timestamp_ms,
        key=saved.key,
        value=saved.value,
        headers=saved.headers,
        incarnation=gate.incarnation,
        arrived_at_s=steady.now_s(),
    )


def _size_bytes(item: Record | DeadLetter) -> int:
    return (item.record if isinstance(item, DeadLetter) else item).size_bytes
