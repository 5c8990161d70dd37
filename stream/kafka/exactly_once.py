"""Exactly-once delivery: one keeper per assigned partition, and the worker's sink over all of them.

The state topic is the source of truth: one transaction carries a tick's events, its dead letters and the state they follow from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from aiokafka import TopicPartition

from stream.alerts import AlertContext
from stream.answering import Reload
from stream.errors import StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.keeper import Keeper, Keeping
from stream.kafka.partition_client import Cluster, DeliveryConfig, Group, PartitionClient
from stream.kafka.port import Port
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames, differences
from stream.ports import Tick
from stream.protocol import Policy
from stream.state_records import QuestionRevision, StateOwner

STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Parked:
    """A partition that is left alone."""

    partition: int
    reason: str


class Reloading(Protocol):
    """The worker, as far as it is asked to ask something else."""

    async def reload(self, reload: Reload) -> None:
        """Return when the first answer to the other questions may come."""
        ...


class ExactlyOnce:
    """`stream.kafka.gates.Delivery` and `stream.ports.Sink`; `async with` ends every writer."""

    def __init__(
        self,
        connection: KafkaConnection,
        names: TopicNames,
        context: AlertContext,
        config: DeliveryConfig,
        policy: Policy,
        decorate: Callable[[Port], Port] = lambda port: port,
    ) -> None:
        """Take the settings; nothing is reached yet.

        Args:
            connection: the cluster.
            names: the topics.
            context: what all events have in common.
            config: deadlines and the place of new partitions.
            policy: what an operator has decided.
            decorate: wraps each partition's port, to watch it or to stand between its steps.
        """
        self._cluster = Cluster(connection, names, context.source, config, Retired())
        asking = QuestionRevision(config.revision, context.questions)
        owner = StateOwner(names.group, names.frames)
        self._keeping = Keeping(connection, context, policy, config.writer, config.deadline_s, asking, owner)
        self._decorate = decorate
        self._keepers: dict[TopicPartition, Keeper] = {}

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every writer, within a bound."""
        for keeper in self._keepers.values():
            keeper.discard()
        await self._cluster.retired.gone(STOP_TIMEOUT_S)

    async def check(self) -> None:
        """Look whether the topics are as they must be.

        Raises:
            SourceLost: no broker answers.
            StreamRefused: they are not, or may not be described.
        """
        wrong = await differences(self._cluster.connection, self._cluster.names)
        if wrong:
            msg = (
                f"{'; '.join(map(str, wrong))}. `tools/run topics` creates missing ones; change the rest with the cluster's tools"
            )
            raise StreamRefused(msg)

    def keep(self, tp: TopicPartition, group: Group, void: Callable[[], None]) -> Keeper:
        """Begin with a partition that was assigned."""

        def new_port() -> Port:
            return self._decorate(PartitionClient(tp, group, self._cluster))

        self._keepers[tp] = Keeper((tp.topic, tp.partition), new_port, self._keeping, void)
        return self._keepers[tp]

    async def deliver(self, tick: Tick) -> bool:
        """Carry a tick out as one transaction; False: its assignment is over.

        Raises:
            StreamRefused: not allowed.
        """
        keeper = self._keepers.get(TopicPartition(tick.topic, tick.partition))
        return keeper is not None and await keeper.deliver(tick)

    async def turn(self, worker: Reloading, reload: Reload) -> None:
        """Have the worker ask other questions; once it does, partitions that were left alone for want of them are taken up.

        Raises:
            ValueError: some camera's own thresholds do not fit them, and nothing has changed.
        """
        await worker.reload(reload)
        self._keeping.asking = reload.questions
        for keeper in list(self._keepers.values()):
            keeper.reloaded()

    @property
    def parked(self) -> tuple[Parked, ...]:
        """Partitions that are left alone, and why."""
        left_alone = ((tp, each.parked) for tp, each in sorted(self._keepers.items()) if not each.closed.is_set())
        return tuple(Parked(tp.partition, reason) for tp, reason in left_alone if reason is not None)

    @property
    def undecided(self) -> tuple[int, ...]:
        """Partitions that are not taken up yet, because somebody's open transaction hides what is committed."""
        return tuple(sorted({each.partition for each in self._cluster.undecided}))

    @property
    def writing(self) -> int:
        """Transactions that are open."""
        return sum(keeper.is_writing for keeper in self._keepers.values())

    @property
    def retiring(self) -> int:
        """Clients that are being stopped."""
        return len(self._cluster.retired)
