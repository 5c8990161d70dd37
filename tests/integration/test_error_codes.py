"""The table of error codes, held against what aiokafka and our policy really do.

The codes come from librdkafka's mock cluster, one answer each, on the way of the worker's own client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.errors import SourceLost, StreamRefused
from stream.kafka.faults import as_stream_error
from tests.integration.error_bench import (
    DEADLINE_S,
    FRAMES,
    NAMES,
    PATIENCE_S,
    READ,
    SESSION_S,
    Bench,
    Case,
    attempt,
    benches,
    member,
    outcomes,
)
from tests.integration.error_table import BELONGING, LEADER_MOVES, READING, REJOINS, UNNOTICED, WRITING, Code, expected
from tests.integration.mock_cluster import MockCluster, mock_clusters

pytestmark = pytest.mark.asyncio

CLUSTERS = 6
NOWHERE = TopicPartition("__none__", 0)
ALERT = (b"den", b"{}", [])


@pytest.fixture(scope="module")
def mocks() -> Iterator[list[MockCluster]]:
    """Mock clusters with the topics."""
    with mock_clusters(CLUSTERS) as clusters:
        for each in clusters:
            for topic in (NAMES.frames, NAMES.alerts, NAMES.state, READ.alerts):
                each.create_topic(topic)
        yield clusters


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
    async with member(bench, f"prove-{code.name}") as (consumer, _):
        client = Bench(bench.mock, bench.connection, consumer).client()
        bench.mock.answer(READING["OffsetCommit"].key, [code])
        outcome = await attempt(client.prove(0), PATIENCE_S)
        bench.mock.calm(READING["OffsetCommit"].key)
        return outcome


async def _committed(bench: Bench, code: Code) -> str:
    async with member(bench, f"committed-{code.name}") as (consumer, _):
        client = Bench(bench.mock, bench.connection, consumer).client()
        consumer.seek(FRAMES, 0)  # else it looks up offsets by itself, and may take the answer that is meant for us
        await client.prove(0)
        bench.mock.answer(READING["OffsetFetch"].key, [code])
        outcome = await attempt(client.group_offset(), PATIENCE_S)
        bench.mock.calm(READING["OffsetFetch"].key)
        return outcome


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
    async with member(bench, f"join-{api}-{code.name}", injected=(api, code)) as (consumer, listener):
        return await _poll(bench, consumer, lambda: listener.assigned, UNNOTICED)


async def _stay(bench: Bench, api: int, code: Code) -> str:
    async with member(bench, f"stay-{api}-{code.name}") as (consumer, listener):
        revoked = listener.revoked
        bench.mock.answer(api, [code])
        quiet_until_s = time.monotonic() + 2 * SESSION_S
        try:
            return await _poll(
                bench,
                consumer,
                lambda: listener.revoked > revoked or time.monotonic() > quiet_until_s,
                lambda: REJOINS if listener.revoked > revoked else UNNOTICED,
            )
        finally:
            bench.mock.calm(api)


async def _poll(bench: Bench, consumer: AIOKafkaConsumer, done: Callable[[], object], outcome: str | Callable[[], str]) -> str:
    """Poll as the reader does when nothing is open, until something happened."""

    async def poll() -> None:
        while True:
            await consumer.getmany(NOWHERE, timeout_ms=20)

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
