"""Where the table of error codes is held against the clients: the worker's own, on mock clusters, one case at a time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.faults import refusal
from stream.kafka.partition_client import Cluster, DeliveryConfig, Group, PartitionClient
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames
from tests.integration.error_table import UNNOTICED, Code
from tests.integration.mock_cluster import MockCluster

DEADLINE_S = 1.5
"""Of a transaction. What a client does with an answer takes milliseconds."""
PATIENCE_S = 10.0
SESSION_S = 1.0
NAMES = TopicNames("frames", "alerts", "group")
FRAMES = TopicPartition(NAMES.frames, 0)
READ = TopicNames(NAMES.frames, "alerts-to-read", NAMES.group)
"""With a record of no transaction: what the mock cluster keeps of those has a wrong checksum now and then."""


@dataclass(slots=True)
class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notices assignments."""

    assigned: int = 0
    revoked: int = 0

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Count."""
        self.assigned += bool(assigned)

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Count."""
        self.revoked += bool(revoked)


@dataclass(slots=True)
class Bench:
    """One mock cluster, on which one case runs at a time."""

    mock: MockCluster
    connection: KafkaConnection
    consumer: AIOKafkaConsumer
    """A member of no group yet."""
    retired: Retired = field(default_factory=Retired)

    def client(self, names: TopicNames = NAMES) -> PartitionClient:
        """One assignment of a partition, as the worker has it but for the deadline."""
        config = DeliveryConfig(writer="test", deadline_s=DEADLINE_S)
        group = Group(self.consumer, Commits(self.consumer.commit))
        return PartitionClient(FRAMES, group, Cluster(self.connection, names, "/pawsight/group", config, self.retired))


Case = Callable[[Bench, Code], Awaitable[str]]


@asynccontextmanager
async def benches(mocks: list[MockCluster]) -> AsyncIterator[list[Bench]]:
    """Connect to each cluster."""
    async with AsyncExitStack() as stack:
        made = []
        for mock in mocks:
            connection = KafkaConnection(mock.bootstrap_servers)
            consumer = AIOKafkaConsumer(**connection.client_options(), **SourceConfig(NAMES.frames, "none").client_options())
            await consumer.start()
            stack.push_async_callback(consumer.stop)
            made.append(Bench(mock, connection, consumer))
            stack.push_async_callback(made[-1].retired.gone, 30.0)
        yield made


async def outcomes(mocks: list[MockCluster], case: Case, codes: Sequence[Code] = tuple(Code)) -> dict[str, str]:
    """Run a case for each code."""
    free: asyncio.Queue[Bench] = asyncio.Queue()

    async def run(code: Code) -> str:
        bench = await free.get()
        try:
            return await case(bench, code)
        finally:
            free.put_nowait(bench)

    async with benches(mocks) as made:
        for bench in made:
            free.put_nowait(bench)
        found = await asyncio.gather(*map(run, codes))
    return {code.name: outcome for code, outcome in zip(codes, found, strict=True)}


@asynccontextmanager
async def member(
    bench: Bench, group: str, *, injected: tuple[int, Code] | None = None
) -> AsyncIterator[tuple[AIOKafkaConsumer, Listener]]:
    """Join a group of the case's own, with the worker's settings but for times."""
    config = SourceConfig(NAMES.frames, group, session_timeout_s=SESSION_S).client_options()
    # a member that joins again is not waited for longer than that when it is stopped
    config["request_timeout_ms"] = 2000 * SESSION_S
    consumer = AIOKafkaConsumer(**bench.connection.client_options(), **config)
    listener = Listener()
    try:
        await consumer.start()
        if injected is not None:
            bench.mock.answer(injected[0], [injected[1]])
        consumer.subscribe([NAMES.frames], listener=listener)
        until_s = time.monotonic() + PATIENCE_S
        while injected is None and not listener.assigned:
            assert time.monotonic() < until_s
            await asyncio.sleep(0.01)
        yield consumer, listener
    finally:
        await consumer.stop()
        if injected is not None:
            bench.mock.calm(injected[0])


def said(error: BaseException) -> str:
    """Name an exception, and what the policy makes of it."""
    return f"{type(error).__name__}: {'restores' if refusal(error) is None else 'ends'}"


async def attempt(work: Awaitable[object], limit_s: float) -> str:
    """Wait for something under a deadline."""
    try:
        async with asyncio.timeout(limit_s):
            await work
    except Exception as error:  # noqa: BLE001  (which one it is, is the question)
        return said(error)
    return UNNOTICED
