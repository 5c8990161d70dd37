"""The source against a real broker: what comes is complete, in order, and of a current assignment."""

import asyncio
import itertools
import time
from dataclasses import replace

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as Place

from stream import wire
from stream.errors import SourceLost, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from stream.state_records import mark_of
from tests.integration.kafka_world import PATIENCE_S, Seen, joined, publish, publish_at, publish_bad_header
from tests.integration.worker_world import WHITE
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio


async def test_bare_picture_of_a_foreign_publisher_is_a_packet(broker: FoundBroker, names: TopicNames) -> None:
    """A camera that only puts picture bytes under its id, through another client, is read as a usable frame."""
    await create_topics(broker.connection, names, partitions=2)
    camera = Producer({"bootstrap.servers": broker.bootstrap_servers})
    camera.produce(names.frames, value=WHITE, key=b"kitchen", partition=1)
    await asyncio.to_thread(camera.flush, 10)
    async with joined(broker.connection, names) as member:
        (record,) = (await member.watch(lambda seen: seen.records)).records
    assert (record.partition, record.offset, record.key, record.value) == (1, 0, b"kitchen", WHITE)
    assert record.timestamp_ms > 0
    assert wire.read(record).content_type == "image/png"


async def test_restart_begins_at_the_delivered_place(broker: FoundBroker, names: TopicNames) -> None:
    """What a tick says is done is not read again, what was only read is; a tick of another incarnation says nothing."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"%d" % number for number in range(10)])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 10)
        records = seen.records
        assert await member.progress(records[2], 3)
        assert await member.progress(records[5], 6)
        assert not await member.progress(replace(records[8], incarnation=records[8].incarnation - 1), 9)
    assert [record.offset for record in records] == list(range(10))
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 4)
    assert seen.values() == [b"6", b"7", b"8", b"9"]
    (assigned,) = seen.assigned
    assert (assigned.resume_offset, assigned.last_record) == (6, mark_of(5, records[5].timestamp_ms, b"den", b"5"))


async def test_group_offset_follows_for_those_who_watch_the_lag(broker: FoundBroker, names: TopicNames) -> None:
    """The group's committed offset is the delivered place, in the background; a place that nobody delivered is not committed."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"%d" % number for number in range(4)])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 4)
        assert await member.progress(seen.records[2], 3)
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": names.group})
    (committed,) = await asyncio.to_thread(reader.committed, [Place(names.frames, 0)], 10)
    reader.close()
    assert committed.offset == 3


async def test_latest_begins_behind_what_is_there(broker: FoundBroker, names: TopicNames) -> None:
    """With `latest` a partition of which nothing is known begins at its end, at the moment of its assignment."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"before"])
    async with joined(broker.connection, names, start_from="latest") as member:
        seen = await member.watch(lambda seen: seen.assigned)
        await publish(broker.connection, names.frames, [b"after"])
        await member.watch(lambda seen: seen.records, seen)
    assert seen.values() == [b"after"]


async def test_time_begins_at_the_first_record_of_it(broker: FoundBroker, names: TopicNames) -> None:
    """With a time a partition of which nothing is known begins at its first record from then on, or at its end."""
    await create_topics(broker.connection, names, partitions=2)
    for partition, times_s in ((0, (100.0, 200.0, 300.0)), (1, (100.0,))):
        await publish_at(broker.connection, names.frames, times_s, partition=partition)
    async with joined(broker.connection, names, start_from=150.5) as member:
        seen = await member.watch(lambda seen: len(seen.assigned) == 2 and len(seen.records) == 2)
        assert {each.partition: each.resume_offset for each in seen.assigned} == {0: 1, 1: 1}
    assert seen.values() == [b"200.0", b"300.0"]


async def test_held_partitions_are_not_read(broker: FoundBroker, names: TopicNames) -> None:
    """What the worker holds back waits in Kafka; the others go on, and it goes on when it is no longer held."""
    await create_topics(broker.connection, names, partitions=2)
    for partition in (0, 1):
        await publish(broker.connection, names.frames, [b"%d" % number for number in range(100)], partition=partition)
    held = frozenset({(names.frames, 0)})
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.values(1)) == 100 and len(seen.polls) > 5, held=held)
        assert seen.values(0) == []
        await member.watch(lambda seen: len(seen.values(0)) == 100, seen)
    assert seen.values(0) == seen.values(1) == [b"%d" % number for number in range(100)]


async def test_partitions_move_and_stay(broker: FoundBroker, names: TopicNames) -> None:
    """A second member takes half, the first keeps half of its own under newer incarnations, and gets all back when it leaves."""
    await create_topics(broker.connection, names, partitions=4)
    async with joined(broker.connection, names) as first:
        seen = await first.watch(lambda seen: len(seen.held()) == 4)
        before = seen.held()
        async with joined(broker.connection, names) as second:
            others, _ = await asyncio.gather(
                second.watch(lambda seen: len(seen.held()) == 2), first.watch(lambda seen: len(seen.held()) == 2, seen)
            )
            kept = seen.held()
            assert set(kept) | set(others.held()) == set(range(4))
            assert all(kept[partition] > before[partition] for partition in kept)
            for partition in range(4):
                await publish(broker.connection, names.frames, [b"x"], partition=partition)
            await asyncio.gather(
                first.watch(lambda seen: len(seen.records) == 2, seen),
                second.watch(lambda seen: len(seen.records) == 2, others),
            )
            for member, records in ((first, seen.records), (second, others.records)):
                assert all([await member.progress(record, 1) for record in records])
        await first.watch(lambda seen: len(seen.held()) == 4, seen)
        (moved, *_) = set(range(4)) - set(kept)
        await publish(broker.connection, names.frames, [b"y"], partition=moved)
        await first.watch(lambda seen: len(seen.records) == 3, seen)
    assert seen.values(moved) == [b"y"]
    assert all(record.incarnation in {each.incarnation for each in seen.assigned} for record in seen.records)


async def test_bad_header_key_costs_its_own_record_only(broker: FoundBroker, names: TopicNames) -> None:
    """A header key that is no UTF-8 dead-letters its record with its content; its batch and other partitions lose nothing."""
    await create_topics(broker.connection, names, partitions=2)
    await publish_bad_header(broker.connection, names.frames, [b"0", b"1", b"bad", b"3"], bad=1)
    await publish(broker.connection, names.frames, [b"4"])
    await publish(broker.connection, names.frames, [b"%d" % number for number in range(200)], partition=1)
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 204 and seen.poison)
        assert member.source.counts["unreadable_records"] == 1
    (letter,) = seen.poison
    assert (letter.record.offset, letter.record.key, letter.record.value) == (2, b"den", b"bad")
    assert (letter.stage, letter.reason, letter.record.headers) == ("wire", "bad_header", ((r"\xff\xfe", b"1"),))
    assert seen.values(0) == [b"0", b"1", b"3", b"4"]
    assert seen.values(1) == [b"%d" % number for number in range(200)]
    assert _places_in_order(seen) == [0, 1, 2, 3, 4]


async def test_corrupt_batch_is_passed_by_stubs(broker: FoundBroker, names: TopicNames) -> None:
    """Records whose batch does not match its checksum are dead-lettered by their place, and the next batch is read."""
    assert broker.own is not None
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"first-picture", b"second-picture"])
    await publish(broker.connection, names.frames, [b"third-picture"])
    (segment,) = (broker.own.folder / "data" / f"{names.frames}-0").glob("*.log")
    content = segment.read_bytes()
    with segment.open("r+b") as log:
        log.seek(content.index(b"first"))
        log.write(b"FIRST")
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: seen.records)
    assert [(letter.record.offset, letter.record.value, letter.reason) for letter in seen.poison] == [
        (0, None, "unreadable_batch"),
        (1, None, "unreadable_batch"),
    ]
    assert seen.values() == [b"third-picture"]


async def test_retention_gap_is_counted(broker: FoundBroker, names: TopicNames) -> None:
    """A place that retention overtook goes on at the first record there is, and what is gone is counted."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"%d" % number for number in range(8)])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 8)
        assert await member.progress(seen.records[1], 2)
    await _delete_before(broker, names, 5)
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 3)
        assert member.source.counts["skipped_by_retention"] == 3
    assert seen.values() == [b"5", b"6", b"7"]


async def test_retention_may_overtake_a_reader(broker: FoundBroker, names: TopicNames) -> None:
    """Records that go while their partition is read are counted, and reading goes on without a new assignment."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [bytes([number]) * 400_000 for number in range(20)])
    async with joined(broker.connection, names, max_poll_bytes=1) as member:
        seen = await member.watch(lambda seen: seen.records)
        await _delete_before(broker, names, 18)
        await member.watch(lambda seen: seen.records[-1].offset == 19, seen)
        offsets = [record.offset for record in seen.records]
        assert offsets[-2:] == [18, 19]
        assert member.source.counts["skipped_by_retention"] == 18 - len(offsets[:-2])
    assert len(seen.assigned) == 1


async def test_log_that_shrinks_under_a_reader_is_taken_up_again(broker: FoundBroker, names: TopicNames) -> None:
    """When the log ends below a place that is being read, its books are void and it goes on from what was delivered."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"0", b"1", b"2"])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 3)
        assert await member.progress(seen.records[0], 1)
        gate = member.source._gates.get(TopicPartition(names.frames, 0))
        assert gate is not None
        member.source._gates.enter(gate, 100)  # as if 97 more records had been there; one broker alone never truncates
        await member.watch(lambda seen: len(seen.records) == 5, seen)
        assert member.source.counts["partitions_voided"] == 1
    assert seen.values() == [b"0", b"1", b"2", b"1", b"2"]
    assert len(seen.revoked) == 1
    assert [record.incarnation for record in seen.records] == [1, 1, 1, 2, 2]


async def test_end_is_proven_after_the_records_before_it(broker: FoundBroker, names: TopicNames) -> None:
    """A proof comes for every idle partition, after all that lay before the end, and live_since stands still between proofs."""
    await create_topics(broker.connection, names, partitions=2)
    await publish(broker.connection, names.frames, [b"%d" % number for number in range(300)])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len([proof for proof in seen.proofs if proof.partition == 0]) == 2)
    before = []
    for poll in seen.polls:
        before += [record for record in poll.records if record.partition == 0]
        if any(proof.partition == 0 for proof in poll.proofs):
            break
    assert len(before) == 300
    for partition in (0, 1):
        proofs = [proof for proof in seen.proofs if proof.partition == partition]
        assert len({proof.live_since_s for proof in proofs}) == 1
        assert all(late.asked_at_s > early.asked_at_s for early, late in itertools.pairwise(proofs))
        assert proofs[0].live_since_s == proofs[0].asked_at_s


@pytest.mark.parametrize("step_s", [1_800.0, -1_800.0])
async def test_step_of_the_wall_clock_moves_nothing(
    broker: FoundBroker, names: TopicNames, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """Arrivals and proofs go on by the clock as it was: no camera looks silent for it, and none that is looks alive."""
    right = time.time
    await create_topics(broker.connection, names, partitions=1)
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: seen.proofs)
        monkeypatch.setattr(time, "time", lambda: right() + step_s)
        await publish(broker.connection, names.frames, [b"0"])
        seen = await member.watch(lambda seen: seen.records and len(seen.proofs) >= 3, seen)
    first, last = seen.proofs[0], seen.proofs[-1]
    assert first.live_since_s == last.live_since_s
    for at_s in (first.asked_at_s, seen.records[0].arrived_at_s, last.asked_at_s):
        assert abs(at_s - right()) < PATIENCE_S


@pytest.mark.parametrize(
    ("partitions", "in_keys"),
    [pytest.param(1, False, id="one"), pytest.param(6, False, id="six"), pytest.param(1, True, id="keys")],
)
async def test_poll_is_bounded_in_bytes(broker: FoundBroker, names: TopicNames, partitions: int, *, in_keys: bool) -> None:
    """A poll of large records ends at the first one over the bound, on however many partitions they lie; all come in the end."""
    await create_topics(broker.connection, names, partitions=partitions)
    large, each = bytes(60_000), 12 // partitions
    key, values = (large, [b"%d" % number for number in range(each)]) if in_keys else (b"den", [large] * each)
    for partition in range(partitions):
        await publish(broker.connection, names.frames, values, partition=partition, key=key)
    async with joined(broker.connection, names, max_poll_bytes=100_000) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 12)
    assert all(len(poll.records) <= 2 for poll in seen.polls)
    assert [seen.values(partition) for partition in range(partitions)] == [values] * partitions


async def test_missing_topic_is_refused(broker: FoundBroker, names: TopicNames) -> None:
    """A topic that does not exist is named together with the command that creates it."""
    with pytest.raises(StreamRefused, match=rf"{names.frames}.*tools/run topics"):
        await joined(broker.connection, names).__aenter__()


async def test_broker_that_is_not_there_is_named(names: TopicNames) -> None:
    """Without a broker the address and the ways to get one are named."""
    with pytest.raises(SourceLost, match=r"127\.0\.0\.1:1\b.*tools/run broker"):
        await joined(KafkaConnection("127.0.0.1:1"), names).__aenter__()


async def _delete_before(broker: FoundBroker, names: TopicNames, offset: int) -> None:
    """Do what retention does."""
    admin = AIOKafkaAdminClient(**broker.connection.client_options())
    await admin.start()
    await admin.delete_records({TopicPartition(names.frames, 0): RecordsToDelete(before_offset=offset)})
    await admin.close()


def _places_in_order(seen: Seen) -> list[int]:
    """Offsets of partition 0 in the order in which a worker takes them: of each poll the records, then the poison."""
    offsets = []
    for poll in seen.polls:
        offsets += [record.offset for record in poll.records if record.partition == 0]
        offsets += [letter.record.offset for letter in poll.poison]
    return offsets
