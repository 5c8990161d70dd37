"""A real broker behind the proxy: what it cuts, delays, swallows and holds, and the trap that exactly-once must withstand."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import Producer

from stream.kafka.topology import TopicNames
from tests.chaos.proxied import PATIENCE_S, committed, create, producer
from tools.broker.find import why_no_broker
from tools.chaos.brokers import Brokers, brokers_behind_proxy
from tools.chaos.frames import GROUP, Api
from tools.chaos.rules import AFTER_ALERTS, BETWEEN, Cut, Delay, Hold, Swallow

INVALID_PRODUCER_EPOCH = 47
"""Kafka protocol guide, "Error Codes"."""
DEADLINE_S = 3.0

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER: {why_no_broker()}"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def brokers() -> AsyncIterator[Brokers]:
    """One broker behind one proxy for all tests of this file."""
    async with brokers_behind_proxy() as started:
        yield started


@pytest.fixture(autouse=True)
def no_rule_is_left(brokers: Brokers) -> Iterator[None]:
    """Every test begins with a proxy that only passes on."""
    yield
    brokers.proxy.clear()


async def test_records_pass_and_requests_are_counted(brokers: Brokers, names: TopicNames) -> None:
    """What is produced through the proxy is consumed through it, also a large record, and foreign clients pass as well."""
    await create(brokers, names.frames)
    large = bytes(range(256)) * 12_000
    async with producer(brokers, "w1", max_request_size=2**23) as sender:
        await sender.send_and_wait(names.frames, large, partition=0)
    foreign = Producer({"bootstrap.servers": brokers.bootstrap_servers})
    foreign.produce(names.frames, b"foreign")
    assert await asyncio.to_thread(foreign.flush, PATIENCE_S) == 0
    before = brokers.proxy.passed["fetch"]
    async with AIOKafkaConsumer(
        names.frames, bootstrap_servers=brokers.bootstrap_servers, auto_offset_reset="earliest", group_id=names.group
    ) as consumer:
        async with asyncio.timeout(PATIENCE_S):
            assert [(await consumer.getone()).value for _ in range(2)] == [large, b"foreign"]
    assert brokers.proxy.passed["fetch"] > before
    assert brokers.proxy.passed["join_group"] >= 1


async def test_what_is_no_kafka_is_closed(brokers: Brokers) -> None:
    """A connection with other bytes is closed; the proxy goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", brokers.proxy.ports[0])
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize("is_delivered", [False, True])
async def test_cut_client_connects_anew(brokers: Brokers, names: TopicNames, *, is_delivered: bool) -> None:
    """Three cuts at Produce: the idempotent producer sends again, and every record is there once, also one that was delivered."""
    await create(brokers, names.frames)
    async with producer(brokers, "w1", enable_idempotence=True) as sender:
        await sender.send_and_wait(names.frames, b"0", partition=0)
        applied = brokers.proxy.apply(Cut(frozenset({Api.PRODUCE}), count=3, is_delivered=is_delivered, client="w1"))
        for value in (b"1", b"2"):
            await sender.send_and_wait(names.frames, value, partition=0)
    assert (applied.hits, applied.is_over) == ({"produce": 3}, True)
    assert await committed(brokers, names.frames) == [b"0", b"1", b"2"]


async def test_rule_is_for_its_client_only(brokers: Brokers, names: TopicNames) -> None:
    """A rule with a client id lets another client's requests pass."""
    await create(brokers, names.frames)
    applied = brokers.proxy.apply(Cut(frozenset({Api.PRODUCE}), client="w1"))
    async with producer(brokers, "w11") as sender:
        await sender.send_and_wait(names.frames, b"0", partition=0)
    assert not applied.hits
    async with producer(brokers, "w1", enable_idempotence=True) as sender:
        await sender.send_and_wait(names.frames, b"1", partition=0)
    assert applied.hits == {"produce": 1}


async def test_delay_holds_a_request_up_and_ends(brokers: Brokers, names: TopicNames) -> None:
    """A delayed Produce takes as long as the delay; when its time is over the rule is."""
    await create(brokers, names.frames)
    async with producer(brokers, "w1") as sender:
        await sender.send_and_wait(names.frames, b"0", partition=0)
        applied = brokers.proxy.apply(Delay(1.5, 2.0, frozenset({Api.PRODUCE})))
        began_s = time.monotonic()
        await sender.send_and_wait(names.frames, b"1", partition=0)
        assert time.monotonic() - began_s >= 1.5
        assert await applied.wait(5.0)
        began_s = time.monotonic()
        await sender.send_and_wait(names.frames, b"2", partition=0)
        assert time.monotonic() - began_s < 1.5


async def test_delay_of_one_writer_leaves_the_other_alone(brokers: Brokers, names: TopicNames) -> None:
    """Two transactional producers of one client: only the one that is meant commits late."""
    await create(brokers, names.frames)
    took_s = {}
    brokers.proxy.apply(Delay(1.5, 60.0, frozenset({Api.END_TXN}), transactional_id=f"{names.group}-slow"))
    for id_ in (f"{names.group}-slow", f"{names.group}-plain"):
        async with producer(brokers, "w1", transactional_id=id_) as sender:
            async with sender.transaction():
                await sender.send_and_wait(names.frames, b"0", partition=0)
                began_s = time.monotonic()
            took_s[id_] = time.monotonic() - began_s
    assert took_s[f"{names.group}-slow"] >= 1.5
    assert took_s[f"{names.group}-plain"] < 1.5


async def test_swallowed_group_requests_stop_commits_but_not_reading(brokers: Brokers, names: TopicNames) -> None:
    """APIs 8 to 14 of one client swallowed: no offset of it is committed, its fetches go on, and later it commits again."""
    await create(brokers, names.frames)
    async with (
        producer(brokers, "w2") as sender,
        AIOKafkaConsumer(
            names.frames,
            bootstrap_servers=brokers.bootstrap_servers,
            client_id="w1",
            group_id=names.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer,
    ):
        await sender.send_and_wait(names.frames, b"0", partition=0)
        partition = TopicPartition(names.frames, 0)
        async with asyncio.timeout(PATIENCE_S):
            assert (await consumer.getone()).value == b"0"
            await consumer.commit({partition: 1})
        applied = brokers.proxy.apply(Swallow(GROUP, lasts_s=6.0, client="w1"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.commit({partition: 2}), 1.5)
        await sender.send_and_wait(names.frames, b"1", partition=0)
        async with asyncio.timeout(4.0):
            assert (await consumer.getone()).value == b"1"
        assert applied.hits["offset_commit"] >= 1
        assert not applied.is_over
        assert await applied.wait(10.0)
        async with asyncio.timeout(PATIENCE_S):
            await consumer.commit({partition: 2})


async def test_late_end_of_transaction_commits_half_of_the_next(brokers: Brokers, names: TopicNames) -> None:
    """With a short back-off the client repeats the held EndTxn itself; the old one then publishes an alert without its state."""
    await create(brokers, names.alerts, names.state)
    async with producer(brokers, "w1", transactional_id=names.group, retry_backoff_ms=100) as sender:
        await _transact(sender, names, 0)
        applied = brokers.proxy.apply(Hold(frozenset({Api.END_TXN}), AFTER_ALERTS, client="w1"))
        await _transact(sender, names, 1)
        await _begin(sender, names, 2)
        assert [each.error_code for each in applied.delivered] == [0]
        assert await _seen(brokers, names.alerts, b"2")
        assert await committed(brokers, names.state) == [b"0", b"1"]
        await sender.abort_transaction()
    assert await committed(brokers, names.alerts) == [b"0", b"1", b"2"]


async def test_long_back_off_makes_the_late_end_harmless(brokers: Brokers, names: TopicNames) -> None:
    """With a back-off above the deadline nothing is repeated inside: the producer is replaced, and the late EndTxn is refused."""
    await create(brokers, names.alerts, names.state)
    options = {"transactional_id": names.group, "retry_backoff_ms": int(DEADLINE_S * 1000) + 2000}
    applied = brokers.proxy.apply(Hold(frozenset({Api.END_TXN}), AFTER_ALERTS, client="w1"))
    first = AIOKafkaProducer(bootstrap_servers=brokers.bootstrap_servers, client_id="w1", **options)
    await first.start()
    with pytest.raises(TimeoutError):
        await _transact(first, names, 0)
    leaving = asyncio.create_task(first.stop())
    async with producer(brokers, "w2", transactional_id=names.group):
        pass  # a short back-off clears what the dead owner left
    async with producer(brokers, "w2", **options) as second:
        await _begin(second, names, 1)
        assert [each.error_code for each in applied.delivered] == [INVALID_PRODUCER_EPOCH]
        assert not await _seen(brokers, names.alerts, b"1", within_s=1.0)
        await second.commit_transaction()
    assert await committed(brokers, names.alerts) == [b"1"]
    assert await committed(brokers, names.state) == [b"1"]
    await asyncio.wait([leaving], timeout=PATIENCE_S)
    assert isinstance(leaving.exception(), KafkaError | None)


async def test_late_init_fences_its_own_producer(brokers: Brokers, names: TopicNames) -> None:
    """A held InitProducerId that arrives between two transactions takes the epoch away from the producer that repeated it."""
    await create(brokers, names.alerts, names.state)
    applied = brokers.proxy.apply(Hold(frozenset({Api.INIT_PRODUCER_ID}), BETWEEN, client="w1"))
    async with producer(brokers, "w1", transactional_id=names.group, retry_backoff_ms=100) as sender:
        with pytest.raises(KafkaError):
            await _transact(sender, names, 0)
        assert [each.error_code for each in applied.delivered] == [0]
    assert await committed(brokers, names.alerts) == []


async def test_what_is_still_held_can_be_delivered_at_any_time(brokers: Brokers, names: TopicNames) -> None:
    """A held request whose moment does not come is delivered on demand, or never after `clear`."""
    await create(brokers, names.alerts)
    applied = brokers.proxy.apply(Hold(frozenset({Api.END_TXN}), AFTER_ALERTS, count=2, client="w1"))
    async with producer(brokers, "w1", transactional_id=names.group, retry_backoff_ms=100) as sender:
        await sender.begin_transaction()
        await sender.send_and_wait(names.alerts, b"0", partition=0)
        await sender.abort_transaction()
    assert applied.hits == {"end_txn": 2}
    await brokers.proxy.deliver(applied)
    assert len(applied.delivered) == 2
    assert applied.is_over
    again = brokers.proxy.apply(Hold(frozenset({Api.END_TXN}), AFTER_ALERTS, client="w1"))
    brokers.proxy.clear()
    await brokers.proxy.deliver(again)
    assert not again.delivered


async def _transact(sender: AIOKafkaProducer, names: TopicNames, number: int) -> None:
    """One transaction in the order of the delivery protocol, under its deadline."""
    async with asyncio.timeout(DEADLINE_S):
        await _begin(sender, names, number)
        await sender.commit_transaction()


async def _begin(sender: AIOKafkaProducer, names: TopicNames, number: int) -> None:
    """The alert, awaited, then the state; not committed."""
    await sender.begin_transaction()
    await sender.send_and_wait(names.alerts, b"%d" % number, partition=0)
    await sender.send_and_wait(names.state, b"%d" % number, partition=0)


async def _seen(brokers: Brokers, topic: str, value: bytes, within_s: float = PATIENCE_S) -> bool:
    """Whether a read_committed reader sees a record within a time."""
    until_s = time.monotonic() + within_s
    while value not in await committed(brokers, topic):
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(0.1)
    return True
