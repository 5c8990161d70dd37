"""Ticks as transactions on a real broker: all of one or nothing, as foreign clients read it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Message

from stream.alerts import from_binary, structured
from stream.camera_state import CameraState
from stream.clock import ClockState
from stream.errors import StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from stream.ports import Assigned, Tick
from stream.state_records import CameraRecord, Cursor, PartitionRecord, QuestionRevision, RecordMark, StateOwner
from stream.types import DeadLetter, Record
from tests.integration.kafka_world import Joined, Seen, joined, publish
from tests.integration.restart_world import Group
from tests.integration.watched_port import Watched
from tests.unit.alert_samples import CONTEXT, sample_events
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

MARK = RecordMark(11, 5, 7)
ASKED = QuestionRevision(1, CONTEXT.questions)
DEN = CameraRecord(CameraState("den", 1, ClockState(1.0, 2.0, None), 3.0, lost=False, sightings=1), Cursor(12))


def letter(names: TopicNames, *, key: bytes | None, value: bytes | None, offset: int = 7) -> DeadLetter:
    """A record of partition 1 that could not be used."""
    record = Record(names.frames, 1, offset, 0, key, value, (("seq", b"12"), ("content-type", None)), 1, 0.0)
    return DeadLetter(record, "decode", "no_keyframe", "offset 7 has no keyframe")


def tick(assigned: Assigned, **content: object) -> Tick:
    """A tick of an assignment."""
    return Tick(assigned.topic, assigned.partition, assigned.incarnation, resume_offset=None, **content)  # type: ignore[arg-type]


async def taken_up(member: Joined, seen: Seen | None = None, count: int = 1) -> Assigned:
    """Partition 1, taken up as many times."""
    seen = await member.watch(lambda seen: sum(each.partition == 1 for each in seen.assigned) == count, seen)
    return next(each for each in reversed(seen.assigned) if each.partition == 1)


async def test_foreign_subscriber_reads_the_events_in_order(broker: FoundBroker, names: TopicNames) -> None:
    """Every kind of event arrives on its frame's partition number, as a CloudEvent that the SDK reads."""
    await create_topics(broker.connection, names, partitions=2)
    events = sample_events()
    async with joined(broker.connection, names) as member:
        assert await member.delivery.deliver(tick(await taken_up(member), events=tuple(events)))
    messages = await Group(broker, names).read(names.alerts, 1)
    assert [from_binary(each.value(), each.headers()) for each in messages] == [structured(each, CONTEXT) for each in events]
    assert [each.key().decode() for each in messages] == [each.camera_id for each in events]
    for message in messages:
        judged = from_binary_event(KafkaMessage(dict(message.headers()), message.key(), message.value()), JSONFormat())
        assert judged.get_source() == CONTEXT.source


async def test_steps_and_sends_come_in_the_one_safe_order(broker: FoundBroker, names: TopicNames) -> None:
    """Of taking a partition up that has a past, and of a tick: events, then dead letters, then state, then the commit."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [b"x"])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: seen.records)
        assert await member.progress(seen.records[0], 1)
    watched = Watched()
    async with joined(broker.connection, names, decorate=watched.port) as member:
        (assigned,) = (await member.watch(lambda seen: seen.assigned)).assigned
        bad = replace(letter(names, key=None, value=None).record, partition=0)
        letters = (DeadLetter(bad, "wire", "empty_key", "no key"),)
        assert await member.delivery.deliver(
            tick(assigned, events=tuple(sample_events()[:2]), dead_letters=letters, cameras={"den": DEN}, forgotten=("attic",))
        )
        calls = list(watched.calls)
    assert calls == [
        "prove", "clear", "init", "state_end", "state_records", "log", "found", "published",
        "begin", "state 1", "commit", "prove", "seek",
        "begin", "alerts 2", "dead letter", "state 3", "commit", "commit group",
    ]  # fmt: skip


async def test_state_says_what_was_delivered(broker: FoundBroker, names: TopicNames) -> None:
    """Partition and cameras are written with the events; a forgotten camera is deleted; the last tick is clean."""
    await create_topics(broker.connection, names, partitions=2)
    group, owner = Group(broker, names), StateOwner(names.group, names.frames)
    async with joined(broker.connection, names) as member:
        assigned = await taken_up(member)
        assert (assigned.resume_offset, assigned.cameras, assigned.suspect) == (0, {}, False)
        assert await group.record(1) == PartitionRecord(0, 0, "test", attempt=1, questions=ASKED, owner=owner)
        content = replace(tick(assigned), resume_offset=12, last_record=MARK, dead_lettered=(13,), cameras={"den": DEN})
        events = tuple(sample_events())
        assert await member.delivery.deliver(replace(content, events=events))
        record = PartitionRecord(12, len(events), "test", MARK, (13,), questions=ASKED, owner=owner)
        assert await group.state(1) == (record, {"den": DEN})
        last = replace(content, cameras={}, forgotten=("den",), dead_lettered=(), final=True)
        assert await member.delivery.deliver(last)
        found, cameras = await group.state(1)
        assert found is not None
        assert (found.clean, found.dead_lettered, cameras) == (True, (), {})
        assert found.alerts_offset == len(events)
        assert not await member.delivery.deliver(replace(content, resume_offset=20))  # nothing follows the last one


async def test_dead_letter_is_the_record_and_the_reason(broker: FoundBroker, names: TopicNames) -> None:
    """Key, value and headers are kept, null ones too, place and reason are added, the partition number is the same."""
    await create_topics(broker.connection, names, partitions=2)
    contents = [(b"den", b"not a picture"), (None, b"no key"), (b"no value", None), (None, None)]
    letters = tuple(letter(names, key=key, value=value) for key, value in contents)
    async with joined(broker.connection, names) as member:
        assert await member.delivery.deliver(tick(await taken_up(member), dead_letters=letters))
    messages = await Group(broker, names).read(names.dead_letters, 1)
    assert [(each.key(), each.value()) for each in messages] == contents
    for message in messages:
        headers = dict(message.headers())
        assert (headers["seq"], headers["content-type"]) == (b"12", None)
        assert headers["__pawsight.errors.topic"] == names.frames.encode()
        assert (headers["__pawsight.errors.partition"], headers["__pawsight.errors.offset"]) == (b"1", b"7")
        assert headers["__pawsight.errors.class.name"] == b"no_keyframe"


async def test_largest_frame_fits_as_dead_letter(broker: FoundBroker, names: TopicNames) -> None:
    """The largest record that the frames topic takes is dead-lettered whole; a larger one is replaced by its digest."""
    await create_topics(broker.connection, names, partitions=2)
    fits, over = b"f" * (8 * 2**20 - 200), b"o" * (8 * 2**20 + 64 * 2**10)
    letters = tuple(letter(names, key=b"den", value=value) for value in (fits, over))
    async with joined(broker.connection, names) as member:
        assert await member.delivery.deliver(tick(await taken_up(member), dead_letters=letters))
    whole, replaced = await Group(broker, names).read(names.dead_letters, 1)
    assert whole.value() == fits
    _is_reference(replaced, over)


async def test_letter_that_the_topic_refuses_becomes_a_reference_next_time(broker: FoundBroker, names: TopicNames) -> None:
    """The transaction fails, all of it; when the partition was taken up again the same letter goes as its digest."""
    await create_topics(broker.connection, names, partitions=2)
    letters = tuple(
        letter(names, key=b"den", value=value, offset=offset)
        for offset, value in ((6, b"small"), (7, b"L" * 5000), (8, b"small too"))
    )
    async with joined(broker.connection, names) as member:
        assigned = await taken_up(member)
        await _limit(broker.connection, names.dead_letters, 2000)
        seen = Seen()
        taken = 0
        while await member.delivery.deliver(tick(assigned, dead_letters=letters)):  # the broker takes a moment to heed it
            taken += 1
        assigned = await taken_up(member, seen)
        before = len(await Group(broker, names).read(names.dead_letters, 1))
        assert before == 3 * taken
        assert await member.delivery.deliver(tick(assigned, events=tuple(sample_events()), dead_letters=letters))
    small, reference, small_too = (await Group(broker, names).read(names.dead_letters, 1))[before:]
    assert (small.value(), small_too.value()) == (b"small", b"small too")
    _is_reference(reference, b"L" * 5000)


async def test_refused_event_undoes_the_whole_tick(broker: FoundBroker, names: TopicNames) -> None:
    """When one event is not taken nothing is told and nothing moves; taken up again, all of it is delivered once."""
    await _create(broker.connection, names.alerts, 2, {"max.message.bytes": "200"})
    await create_topics(broker.connection, names, partitions=2)
    group, events = Group(broker, names), tuple(sample_events())
    async with joined(broker.connection, names) as member:
        seen = Seen()
        content = tick(await taken_up(member, seen), events=events, dead_letters=(letter(names, key=b"a", value=b"b"),))
        assert not await member.delivery.deliver(replace(content, resume_offset=12))
        assigned = await taken_up(member, seen, 2)
        assert (await group.read(names.alerts, 1), await group.read(names.dead_letters, 1)) == ([], [])
        assert (await group.record(1)).resume_offset == 0
        await _limit(broker.connection, names.alerts, 1_000_000)
        count = 2
        while not await member.delivery.deliver(tick(assigned, events=events)):  # the broker takes a moment to heed it
            count += 1
            assigned = await taken_up(member, seen, count)
    assert len(await group.read(names.alerts, 1)) == len(events)


async def test_tick_of_a_partition_that_is_not_ours_is_refused(broker: FoundBroker, names: TopicNames) -> None:
    """What nobody took up cannot be delivered."""
    await create_topics(broker.connection, names, partitions=2)
    async with joined(broker.connection, names) as member:
        assigned = await taken_up(member)
        assert not await member.delivery.deliver(replace(tick(assigned), partition=7))
        assert not await member.delivery.deliver(replace(tick(assigned), incarnation=assigned.incarnation + 1))


async def test_topics_that_do_not_fit_are_refused(broker: FoundBroker, names: TopicNames) -> None:
    """Another number of partitions, a missing topic, or a state that is not compacted is named before anything is delivered."""
    await _create(broker.connection, names.alerts, 3)
    await _create(broker.connection, names.state, 2)
    await create_topics(broker.connection, replace(names, alerts=f"{names.alerts}-x", group="another"), partitions=2)
    async with joined(broker.connection, names) as member:
        with pytest.raises(StreamRefused) as refusal:
            await member.watch(lambda seen: seen.assigned)
    said = str(refusal.value)
    assert f"{names.alerts}: number of partitions is 3, must be 2" in said
    assert f"{names.state}: cleanup.policy is delete, must be compact" in said
    missing = replace(names, alerts="nowhere")
    async with joined(broker.connection, missing) as member:
        with pytest.raises(StreamRefused, match=r"topic nowhere: topic is missing.*tools/run topics"):
            await member.watch(lambda seen: seen.assigned)


def _is_reference(message: Message, value: bytes) -> None:
    headers = dict(message.headers())
    assert message.value() is None
    assert "seq" not in headers
    assert headers["__pawsight.errors.offset"] == b"7"
    assert headers["__pawsight.errors.value.bytes"] == str(len(value)).encode()
    assert headers["__pawsight.errors.value.sha256"] == hashlib.sha256(value).hexdigest().encode()


@asynccontextmanager
async def _admin(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(**connection.client_options())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def _limit(connection: KafkaConnection, topic: str, size: int) -> None:
    """Change how large a topic's batches may be."""
    async with _admin(connection) as admin:
        await admin.alter_configs([ConfigResource("topic", topic, {"max.message.bytes": str(size)})])


async def _create(connection: KafkaConnection, topic: str, partitions: int, settings: dict[str, str] | None = None) -> None:
    """Create a topic otherwise than it should be."""
    async with _admin(connection) as admin:
        await admin.create_topics(
            [NewTopic(topic, partitions, 1, topic_configs={"unclean.leader.election.enable": "false", **(settings or {})})]
        )
        async with asyncio.timeout(10):
            while topic not in await admin.list_topics():  # noqa: ASYNC110  (nothing tells us but asking)
                await asyncio.sleep(0.02)
