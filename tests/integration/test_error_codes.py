"""The table of error codes, held against what aiokafka and our policy really do.

The codes come from librdkafka's mock cluster, one answer each, on the way of the worker's own client.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition

from stream.errors import SourceLost, StreamRefused
from stream.kafka.commits import Commits
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.faults import as_stream_error, refusal
from stream.kafka.partition_client import Cluster, DeliveryConfig, Group, PartitionClient
from stream.kafka.retired import Retired
from stream.kafka.topology import TopicNames
from tests.integration.error_table import BELONGING, LEADER_MOVES, READING, REJOINS, UNNOTICED, WRITING, Code, expected
from tests.integration.mock_cluster import MockCluster, mock_clusters

pytestmark = pytest.mark.asyncio

DEADLINE_S = 1.0
"""Of a transaction. What a client does with an answer takes milliseconds."""
PATIENCE_S = 10.0
SESSION_S = 1.0
CLUSTERS = 6
NAMES = TopicNames("frames", "alerts", "group")
FRAMES = TopicPartition(NAMES.frames, 0)
READ = TopicNames(NAMES.frames, "alerts-to-read", NAMES.group)
"""With a record of no transaction: what the mock cluster keeps of those has a wrong checksum now and then."""
NOWHERE = TopicPartition("__none__", 0)
ALERT = (b"den", b"{}", [])


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


@pytest.fixture(scope="module")
def mocks() -> Iterator[list[MockCluster]]:
    """Mock clusters with the topics."""
    with mock_clusters(CLUSTERS) as clusters:
        for each in clusters:
            for topic in (NAMES.frames, NAMES.alerts, NAMES.state, READ.alerts):
                each.create_topic(topic)
        yield clusters


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


# ---------------------------------------------------------------- writing


async def _start(bench: Bench, api: int, code: Code, *, is_long: bool) -> str:
    client = bench.client()
    bench.mock.answer(api, [code])
    try:
        return await attempt(client.init() if is_long else client.clear(), DEADLINE_S if is_long else PATIENCE_S)
    finally:
        client.discard()
        await bench.retired.gone(30.0)
        bench.mock.calm(api)


@pytest.mark.parametrize("is_long", [False, True], ids=["short back-off", "back-off above the deadline"])
@pytest.mark.parametrize("name", ["FindCoordinator", "InitProducerId"])
async def test_writer_starts_or_says_why_not(mocks: list[MockCluster], name: str, is_long: bool) -> None:  # noqa: FBT001
    """The first phase clears with short retries, the second begins with none."""
    api = WRITING[name]
    found = await outcomes(mocks, lambda bench, code: _start(bench, api.key, code, is_long=is_long))
    assert found == expected(api, is_long=is_long)


async def _transact(bench: Bench, api: int, code: Code | None) -> str:
    """One transaction by the worker's own writer."""
    client = bench.client()
    await client.init()

    async def transaction() -> None:
        await client.begin()
        await client.send_alerts((ALERT,))
        await client.send_state(((b"den", b"{}"),))
        await client.commit()

    bench.mock.answer(api, [] if code is None else [code])
    try:
        return await attempt(transaction(), DEADLINE_S)
    finally:
        client.discard()
        await bench.retired.gone(30.0)
        bench.mock.calm(api)


async def _transact_with_short_retries(bench: Bench, api: int, code: Code) -> str:
    """The same steps with aiokafka's defaults."""
    producer = AIOKafkaProducer(**bench.connection.client_options(), transactional_id="plain", request_timeout_ms=2000)
    await producer.start()

    async def transaction() -> None:
        await producer.begin_transaction()
        for topic in (NAMES.alerts, NAMES.state):
            await (await producer.send(topic, b"{}", b"den", partition=0))
        await producer.commit_transaction()

    bench.mock.answer(api, [code])
    try:
        return await attempt(transaction(), PATIENCE_S)
    finally:
        await producer.stop()
        bench.mock.calm(api)


@pytest.mark.parametrize(
    ("transact", "is_long"),
    [
        pytest.param(_transact_with_short_retries, False, id="short back-off"),
        pytest.param(_transact, True, id="back-off above the deadline"),
    ],
)
@pytest.mark.parametrize("name", ["AddPartitionsToTxn", "Produce", "EndTxn"])
async def test_transaction_fails_or_goes_on(
    mocks: list[MockCluster],
    name: str,
    transact: Callable[[Bench, int, Code], Awaitable[str]],
    is_long: bool,  # noqa: FBT001
) -> None:
    """Every code either leaves no trace, or is an exception that is known for a refusal or for a failed transaction."""
    api = WRITING[name]
    assert await outcomes(mocks, lambda bench, code: transact(bench, api.key, code)) == expected(api, is_long=is_long)


async def test_topic_that_may_not_be_written_ends_the_worker(mocks: list[MockCluster]) -> None:
    """A broker refuses the partition and what is sent to it: the second answer is the one that is heard."""
    adding, producing = WRITING["AddPartitionsToTxn"].key, WRITING["Produce"].key
    async with benches(mocks[:1]) as (bench,):
        bench.mock.answer(producing, [Code.TOPIC_AUTHORIZATION_FAILED])
        outcome = await _transact(bench, adding, Code.TOPIC_AUTHORIZATION_FAILED)
        bench.mock.calm(producing)
    assert outcome == "TopicAuthorizationFailedError: ends"


async def _transact_on_a_spoilt_topic(bench: Bench, code: Code) -> str:
    bench.mock.spoil(NAMES.alerts, code)
    try:
        return await _transact(bench, WRITING["Produce"].key, None)
    finally:
        bench.mock.spoil(NAMES.alerts, 0)


async def test_topic_that_metadata_denies_is_waited_for(mocks: list[MockCluster]) -> None:
    """A topic without a leader, or that is gone, costs the deadline; one that may not be seen ends the worker."""
    denied = (*LEADER_MOVES, Code.INVALID_TOPIC, Code.UNKNOWN_TOPIC_ID, Code.TOPIC_AUTHORIZATION_FAILED)
    found = await outcomes(mocks, _transact_on_a_spoilt_topic, denied)
    assert found == {code.name: "TimeoutError: restores" for code in denied} | {
        Code.TOPIC_AUTHORIZATION_FAILED.name: "TopicAuthorizationFailedError: ends"
    }


# ---------------------------------------------------------------- proving membership, restoring


async def _read(bench: Bench, code: Code) -> str:
    bench.mock.answer(READING["Fetch"].key, [code])
    try:
        return await attempt(bench.client(READ).published(0), PATIENCE_S)
    finally:
        await bench.retired.gone(30.0)
        bench.mock.calm(READING["Fetch"].key)


async def _look(bench: Bench, code: Code) -> str:
    bench.mock.answer(READING["ListOffsets"].key, [code])
    try:
        return await attempt(bench.client().state_end(), PATIENCE_S)
    finally:
        bench.mock.calm(READING["ListOffsets"].key)


async def _prove(bench: Bench, code: Code) -> str:
    async with _member(bench, f"prove-{code.name}") as (member, _):
        client = Bench(bench.mock, bench.connection, member).client()
        bench.mock.answer(READING["OffsetCommit"].key, [code])
        outcome = await attempt(client.prove(0), PATIENCE_S)
        bench.mock.calm(READING["OffsetCommit"].key)
        return outcome


async def _committed(bench: Bench, code: Code) -> str:
    async with _member(bench, f"committed-{code.name}") as (member, _):
        client = Bench(bench.mock, bench.connection, member).client()
        bench.mock.answer(READING["OffsetFetch"].key, [code])
        outcome = await attempt(client.group_offset(), PATIENCE_S)
        bench.mock.calm(READING["OffsetFetch"].key)
        return outcome


@asynccontextmanager
async def _member(
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


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param("OffsetCommit", _prove, id="OffsetCommit"),
        pytest.param("OffsetFetch", _committed, id="OffsetFetch"),
        pytest.param("ListOffsets", _look, id="ListOffsets"),
    ],
)
async def test_restore_goes_on_or_begins_again(mocks: list[MockCluster], name: str, case: Case) -> None:
    """The group's consumer retries with short back-offs: what it retries is not noticed."""
    assert await outcomes(mocks, case) == expected(READING[name], is_long=False)


async def test_reading_goes_on_or_begins_again(mocks: list[MockCluster]) -> None:
    """A fetch is repeated for ever, unless it is not allowed."""
    async with benches(mocks) as made:
        for bench in made:
            async with AIOKafkaProducer(**bench.connection.client_options()) as producer:
                await producer.send_and_wait(READ.alerts, b"{}", b"den", partition=0)
    assert await outcomes(mocks, _read) == expected(READING["Fetch"], is_long=False)


# ---------------------------------------------------------------- belonging to the group


async def _join(bench: Bench, api: int, code: Code) -> str:
    async with _member(bench, f"join-{api}-{code.name}", injected=(api, code)) as (member, listener):
        return await _poll(bench, member, lambda: listener.assigned, UNNOTICED)


async def _stay(bench: Bench, api: int, code: Code) -> str:
    async with _member(bench, f"stay-{api}-{code.name}") as (member, listener):
        revoked = listener.revoked
        bench.mock.answer(api, [code])
        quiet_until_s = time.monotonic() + SESSION_S / 2
        try:
            return await _poll(
                bench,
                member,
                lambda: listener.revoked > revoked or time.monotonic() > quiet_until_s,
                lambda: REJOINS if listener.revoked > revoked else UNNOTICED,
            )
        finally:
            bench.mock.calm(api)


async def _poll(bench: Bench, member: AIOKafkaConsumer, done: Callable[[], object], outcome: str | Callable[[], str]) -> str:
    """Poll as the reader does when nothing is open, until something happened."""

    async def poll() -> None:
        while True:
            await member.getmany(NOWHERE, timeout_ms=20)

    polling = asyncio.ensure_future(poll())
    until_s = time.monotonic() + PATIENCE_S
    while not done() and not polling.done():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)
    if polling.done():
        error = polling.exception()
        assert isinstance(error, Exception)
        meaning = as_stream_error(error, bench.connection)
        assert isinstance(meaning, StreamRefused | SourceLost)
        return f"{type(error).__name__}: {'ends' if isinstance(meaning, StreamRefused) else 'restarts'}"
    polling.cancel()
    await asyncio.wait([polling])
    return outcome if isinstance(outcome, str) else outcome()


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param("FindCoordinator", _join, id="FindCoordinator"),
        pytest.param("JoinGroup", _join, id="JoinGroup"),
        pytest.param("SyncGroup", _join, id="SyncGroup"),
        pytest.param("Heartbeat", _stay, id="Heartbeat"),
    ],
)
async def test_member_stays_or_ends(
    mocks: list[MockCluster], name: str, case: Callable[[Bench, int, Code], Awaitable[str]]
) -> None:
    """What is raised by a poll ends the worker: refused for good, or restarted by whoever watches it."""
    api = BELONGING[name]
    found = await outcomes(mocks, lambda bench, code: case(bench, api.key, code))
    assert found == expected(api, is_long=False, drops="restarts")
