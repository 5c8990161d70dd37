"""The frames topic as the worker's source: a member of a consumer group whose partitions come and go.

Joins the gates (what is ours), the reader (records), the proofs (where the end is) and the commits; what each of them must know
about aiokafka stands in its file. Knows nothing of frames, and of delivery only that somebody takes partitions up.
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

from stream.errors import SourceLost
from stream.kafka import steady
from stream.kafka.background import Background
from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig, open_consumer
from stream.kafka.gates import Delivery, Gate, Gates
from stream.kafka.partition_client import Group
from stream.kafka.proofs import EndProofs
from stream.kafka.reader import Reader
from stream.ports import Poll, Proof
from stream.types import DeadLetter, Record

log = logging.getLogger(__name__)

ASK_EVERY_S = 1.0
"""Shortest time between two questions for end offsets."""
ANSWERED_WITHIN_S = 5.0
"""A question for them is given up after so long: its answer would say too little of now."""
FLUSH_TIMEOUT_S = 5.0
STANDSTILL_S = 60.0
"""A partition that holds more and gives nothing for so long, although it is read: the consumer is locked up."""
PAUSE_S = 5.0
"""Polls further apart than this were held up by the worker itself: no standstill counts over them."""


class KafkaSource:
    """`stream.ports.Source` over a consumer group; `async with` joins and leaves it."""

    _consumer: AIOKafkaConsumer
    _background: Background
    _gates: Gates
    _reader: Reader
    _commits: Commits

    def __init__(self, connection: KafkaConnection, config: SourceConfig, delivery: Delivery) -> None:
        """Take the settings and whoever takes the partitions up; nothing is reached before `async with`."""
        self._connection = connection
        self._config = config
        self._delivery = delivery
        self._polled_s = float("-inf")
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
        self._commits = Commits(self._consumer.commit)
        budget_s = self._config.rebalance_timeout_s / 2
        self._gates = Gates(Group(self._consumer, self._commits), self._delivery, self._background, budget_s)
        self._reader = Reader(self._consumer, self._connection, self._gates, self._background)
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

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Give what happened, waiting at most `timeout_s` for it. Must not be cancelled.

        Raises:
            SourceLost: the consumer cannot read any more, or stands still.
            StreamRefused: it is not allowed to, or the records are compressed in a way that it cannot read.
        """
        until_s = time.monotonic() + timeout_s
        self._resume(held)
        while True:
            await asyncio.sleep(0)  # a backlog is read without waiting: the heartbeat has its turn here
            self._background.check()
            await self._reader.fill(self._config.max_poll_records, self._config.max_poll_bytes, held)
            self._ask()
            poll = await self._hand_out()
            self._polled_s = time.monotonic()
            left_s = until_s - time.monotonic()
            if poll != Poll() or left_s <= 0:
                return poll
            await self._reader.wait(left_s, held)

    @property
    def counts(self) -> dict[str, int]:
        """Figures beyond the records handed out, by name."""
        return {
            "skipped_by_retention": self._gates.counts.skipped_by_retention,
            "partitions_taken_up": self._gates.counts.taken_up,
            "partitions_voided": self._gates.counts.voided,
            "rebalances": self._gates.counts.rebalances,
            "unreadable_records": self._reader.unreadable,
        }

    async def _hand_out(self) -> Poll:
        revoked, assigned, draining = self._gates.take_changes()
        records, poison = self._take_inbox()
        return Poll(revoked, assigned, records, poison, draining, await self._proven())

    def _resume(self, held: frozenset[tuple[str, int]]) -> None:
        """Count no standstill over what the worker itself held up."""
        now_s = time.monotonic()
        paused = now_s - self._polled_s > PAUSE_S
        for gate in self._gates.open_ones():
            if paused or (gate.tp.topic, gate.tp.partition) in held:
                gate.moved_s = now_s

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
        if gates := self._proofs.ask():
            self._asked_s = time.monotonic()
            self._background.spawn(self._ask_ends(gates, steady.now_s()))

    async def _ask_ends(self, gates: Sequence[Gate], asked_at_s: float) -> None:
        by_tp = {gate.tp: gate for gate in gates}
        try:
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                ends = await self._consumer.end_offsets(list(by_tp))
        except (KafkaError, TimeoutError) as error:
            log.info("no end offsets: %r", error)
            self._proofs.unanswered(gates)
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
                position = await self._consumer.position(gate.tp)
                proven = self._proofs.prove(gate, position)
                if proven is not None:
                    gate.moved_s = time.monotonic()
                    proofs.append(Proof(gate.tp.topic, gate.tp.partition, gate.incarnation, *proven))
                elif time.monotonic() - gate.moved_s > STANDSTILL_S:
                    msg = (
                        f"{gate.tp} gave nothing for {STANDSTILL_S:g} s at offset {position}, and holds more: restart the worker"
                    )
                    raise SourceLost(msg)
        return tuple(proofs)
