"""The frames topic as the worker's source: a member of a consumer group whose partitions come and go.

Joins the gates (what is ours), the reader (records), the proofs (where the end is) and the commits; what each of them must know
about aiokafka stands in its file. Knows nothing of frames.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream.kafka.background import Background
from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig, open_consumer
from stream.kafka.gates import Gate, Gates
from stream.kafka.proofs import EndProofs
from stream.kafka.reader import Reader
from stream.ports import Poll, Proof
from stream.types import DeadLetter, Record

log = logging.getLogger(__name__)

ASK_EVERY_S = 1.0
"""Shortest time between two questions for end offsets."""
FLUSH_TIMEOUT_S = 5.0


class KafkaSource:
    """`stream.ports.Source` over a consumer group; `async with` joins and leaves it."""

    _consumer: AIOKafkaConsumer
    _background: Background
    _gates: Gates
    _reader: Reader
    _commits: Commits

    def __init__(self, connection: KafkaConnection, config: SourceConfig) -> None:
        """Take the settings; nothing is reached before `async with`."""
        self._connection = connection
        self._config = config
        self._proofs: EndProofs[Gate] = EndProofs()
        self._asked_s = float("-inf")
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Reach the cluster and join the group.

        Raises:
            SourceLost: no broker answers.
            StreamRefused: not allowed, or there is no such topic.
        """
        self._consumer = await self._stack.enter_async_context(open_consumer(self._connection, self._config))
        self._background = Background()
        self._gates = Gates(self._consumer, self._connection, self._config.start_from, self._background)
        self._reader = Reader(self._consumer, self._connection, self._gates, self._background)
        self._commits = Commits(self._consumer.commit)
        self._background.spawn(self._commits.run())
        self._consumer.subscribe([self._config.topic], listener=self._gates)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit what waits and leave the group, within a bound."""
        async with self._stack:
            await self._background.stop()
            await self._commits.flush(FLUSH_TIMEOUT_S)

    async def poll(self, timeout_s: float) -> Poll:
        """Give what happened, waiting at most `timeout_s` for it. Must not be cancelled.

        Raises:
            SourceLost: the consumer cannot read any more.
            StreamRefused: it is not allowed to, or the records are compressed in a way that it cannot read.
        """
        until_s = time.monotonic() + timeout_s
        while True:
            await asyncio.sleep(0)  # a backlog is read without waiting: the heartbeat has its turn here
            self._background.check()
            await self._reader.fill(self._config.max_poll_records, self._config.max_poll_bytes)
            self._ask()
            poll = await self._hand_out()
            left_s = until_s - time.monotonic()
            if poll != Poll() or left_s <= 0:
                return poll
            await self._reader.wait(left_s)

    def commit(self, topic: str, partition: int, incarnation: int, resume_offset: int) -> None:
        """Commit in the background that a restart may begin at `resume_offset`; nothing for an assignment that is over."""
        gate = self._gates.get(TopicPartition(topic, partition))
        if gate is not None and gate.incarnation == incarnation:
            self._commits.offer(gate.tp, resume_offset)

    @property
    def counts(self) -> dict[str, int]:
        """Figures beyond the records handed out, by name."""
        return {
            "skipped_by_retention": self._gates.counts.skipped_by_retention,
            "restarted_partitions": self._gates.counts.restarted_partitions,
            "unreadable_records": self._reader.unreadable,
        }

    async def _hand_out(self) -> Poll:
        revoked, assigned = self._gates.take_changes()
        for lost in revoked:
            self._commits.drop(TopicPartition(lost.topic, lost.partition))
        records, poison = self._take_inbox()
        return Poll(revoked, assigned, records, poison=poison, proofs=await self._proven())

    def _take_inbox(self) -> tuple[tuple[Record, ...], tuple[DeadLetter, ...]]:
        """Empty the inbox up to a record that lies behind a dead letter of this poll: that must be taken first."""
        inbox = self._reader.inbox
        records: list[Record] = []
        poison: list[DeadLetter] = []
        while inbox:
            item = inbox[0]
            record = item.record if isinstance(item, DeadLetter) else item
            if item is record and any(letter.record.partition == record.partition for letter in poison):
                break
            inbox.popleft()
            gate = self._gates.get(TopicPartition(record.topic, record.partition))
            if gate is None or gate.incarnation != record.incarnation:
                continue  # revoked since it was read
            if isinstance(item, DeadLetter):
                poison.append(item)
            else:
                records.append(item)
        return tuple(records), tuple(poison)

    def _ask(self) -> None:
        """Ask for the end offsets in the background, so that a broker that stands still does not hold the poll up."""
        if time.monotonic() - self._asked_s < ASK_EVERY_S:
            return
        self._proofs.keep(self._gates.open_ones())
        if gates := self._proofs.to_ask():
            self._asked_s = time.monotonic()
            self._background.spawn(self._ask_ends(gates, time.time()))

    async def _ask_ends(self, gates: Sequence[Gate], asked_at_s: float) -> None:
        by_tp = {gate.tp: gate for gate in gates}
        try:
            ends = await self._consumer.end_offsets(list(by_tp))
        except KafkaError as error:
            log.info("no end offsets: %r", error)
            return
        for tp, end in ends.items():
            self._proofs.answered(by_tp[tp], asked_at_s, end)
        self._background.ring()

    async def _proven(self) -> tuple[Proof, ...]:
        left = {(item.record if isinstance(item, DeadLetter) else item).partition for item in self._reader.inbox}
        proofs = []
        for gate in self._gates.open_ones():
            # the client's position, which unlike `expected` passes control records; known since the gate's seek
            if gate.tp.partition not in left and self._proofs.has_answer(gate):
                proven = self._proofs.prove(gate, await self._consumer.position(gate.tp))
                if proven is not None:
                    proofs.append(Proof(gate.tp.topic, gate.tp.partition, gate.incarnation, *proven))
        return tuple(proofs)
