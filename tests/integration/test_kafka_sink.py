"""The sink against a real broker: what it wrote is what foreign clients read, and what was not acknowledged is not committed."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Sequence

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from stream.alerts import from_binary, structured
from stream.errors import DeliveryFailed, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.sink import AtLeastOnceSink
from stream.kafka.source import KafkaSource
from stream.kafka.topology import TopicNames, create_topics
from stream.ports import Tick
from stream.types import DeadLetter, Record
from tests.integration.kafka_world import PATIENCE_S, publish, watch
from tests.unit.alert_samples import CONTEXT, sample_events
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio


class Remembered:
    """A committer that keeps what it was told."""

    def __init__(self) -> None:
        self.commits: list[tuple[str, int, int, int]] = []

    def commit(self, topic: str, partition: int, incarnation: int, resume_offset: int) -> None:
        """Keep it."""
        self.commits.append((topic, partition, incarnation, resume_offset))


def letter(names: TopicNames, *, key: bytes | None, value: bytes | None, offset: int = 7) -> DeadLetter:
    """A record of partition 1 that could not be used."""
    record = Record(names.frames, 1, offset, 0, key, value, (("seq", b"12"), ("content-type", None)), 1, 0.0)
    return DeadLetter(record, "decode", "no_keyframe", "offset 7 has no keyframe")


def tick(names: TopicNames, **content: object) -> Tick:
    """A tick of partition 1."""
    return Tick(names.frames, 1, incarnation=3, resume_offset=12, **content)


def read(broker: FoundBroker, topic: str, count: int) -> list[Message]:
    """Read the first records of partition 1 with another client, as a notification service would."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "foreign", "isolation.level": "read_committed"})
    reader.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
    messages: list[Message] = []
    until_s = time.monotonic() + PATIENCE_S
    while len(messages) < count:
        assert time.monotonic() < until_s, messages
        message = reader.poll(0.2)
        if message is not None:
            assert message.error() is None
            messages.append(message)
    reader.close()
    return messages


async def test_foreign_subscriber_reads_the_events_in_order(broker: FoundBroker, names: TopicNames) -> None:
    """Every kind of event arrives on its frame's partition number, as a CloudEvent that the SDK reads, before the commit."""
    await create_topics(broker.connection, names, partitions=2)
    committed = Remembered()
    events = sample_events()
    async with AtLeastOnceSink(broker.connection, names, CONTEXT, committed) as sink:
        await sink.deliver(tick(names, events=tuple(events)))
        assert committed.commits == [(names.frames, 1, 3, 12)]
    messages = await asyncio.to_thread(read, broker, names.alerts, len(events))
    assert [from_binary(each.value(), each.headers()) for each in messages] == [structured(each, CONTEXT) for each in events]
    assert [each.key().decode() for each in messages] == [each.camera_id for each in events]
    for message in messages:
        judged = from_binary_event(KafkaMessage(dict(message.headers()), message.key(), message.value()), JSONFormat())
        assert judged.get_source() == CONTEXT.source


async def test_delivered_tick_moves_the_restart(broker: FoundBroker, names: TopicNames) -> None:
    """With the source as committer a restart begins at the resume offset of the last delivered tick."""
    await create_topics(broker.connection, names, partitions=2)
    await publish(broker.connection, names.frames, [b"0", b"1", b"2"], partition=1)
    config = SourceConfig(names.frames, names.group)
    async with (
        KafkaSource(broker.connection, config) as source,
        AtLeastOnceSink(broker.connection, names, CONTEXT, source) as sink,
    ):
        incarnation = (await watch(source, lambda seen: len(seen.records) == 3)).records[0].incarnation
        await sink.deliver(Tick(names.frames, 1, incarnation, resume_offset=2, events=tuple(sample_events())))
        await sink.deliver(Tick(names.frames, 1, incarnation, resume_offset=None))
    async with KafkaSource(broker.connection, config) as source:
        assert (await watch(source, lambda seen: seen.records)).values(1) == [b"2"]


async def test_dead_letter_is_the_record_and_the_reason(broker: FoundBroker, names: TopicNames) -> None:
    """Key, value and headers are kept, null ones too, place and reason are added, the partition number is the same."""
    await create_topics(broker.connection, names, partitions=2)
    contents = [(b"den", b"not a picture"), (None, b"no key"), (b"no value", None), (None, None)]
    async with AtLeastOnceSink(broker.connection, names, CONTEXT, Remembered()) as sink:
        await sink.deliver(tick(names, dead_letters=tuple(letter(names, key=key, value=value) for key, value in contents)))
    messages = await asyncio.to_thread(read, broker, names.dead_letters, len(contents))
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
    async with AtLeastOnceSink(broker.connection, names, CONTEXT, Remembered()) as sink:
        await sink.deliver(tick(names, dead_letters=tuple(letter(names, key=b"den", value=value) for value in (fits, over))))
    whole, replaced = await asyncio.to_thread(read, broker, names.dead_letters, 2)
    assert whole.value() == fits
    _is_reference(replaced, over)


async def test_letter_that_the_topic_refuses_becomes_a_reference(broker: FoundBroker, names: TopicNames) -> None:
    """A dead-letter topic with a smaller limit than it should have gets the digest; the letters beside it are not disturbed."""
    await _create(broker.connection, names, {names.dead_letters: {"max.message.bytes": "2000"}})
    committed = Remembered()
    letters = [letter(names, key=b"den", value=value) for value in (b"small", b"L" * 5000, b"small too")]
    async with AtLeastOnceSink(broker.connection, names, CONTEXT, committed) as sink:
        await sink.deliver(tick(names, dead_letters=tuple(letters)))
        await sink.deliver(tick(names, events=tuple(sample_events())))
    assert len(committed.commits) == 2
    messages = await asyncio.to_thread(read, broker, names.dead_letters, 3)
    assert {each.value() for each in messages if each.value()} == {b"small", b"small too"}
    _is_reference(next(each for each in messages if not each.value()), b"L" * 5000)


async def test_refused_event_fails_the_tick_without_commit(broker: FoundBroker, names: TopicNames) -> None:
    """When one event is not acknowledged nothing is committed, and the sink delivers again once the topic takes events."""
    await _create(broker.connection, names, {names.alerts: {"max.message.bytes": "200"}})
    committed = Remembered()
    events = tuple(sample_events())
    async with AtLeastOnceSink(broker.connection, names, CONTEXT, committed) as sink:
        with pytest.raises(DeliveryFailed, match=rf"{len(events)} events .*{names.frames}\[1\].*MessageSizeTooLarge"):
            await sink.deliver(tick(names, events=events))
        assert committed.commits == []
        async with _admin(broker.connection) as admin:
            await admin.alter_configs([ConfigResource("topic", names.alerts, {"max.message.bytes": "1000000"})])
        async with asyncio.timeout(PATIENCE_S):
            while not committed.commits:  # the broker takes a moment to heed the new limit
                with contextlib.suppress(DeliveryFailed):
                    await sink.deliver(tick(names, events=events))
    assert len(await asyncio.to_thread(read, broker, names.alerts, len(events))) == len(events)


async def test_topics_that_do_not_fit_are_refused(broker: FoundBroker, names: TopicNames) -> None:
    """Another number of partitions, or a missing topic, is named before anything is delivered."""
    await _create(broker.connection, names, {}, alerts_partitions=3)
    with pytest.raises(StreamRefused, match=rf"{names.alerts}.* has 3 partitions, .*{names.frames}.* has 2"):
        await AtLeastOnceSink(broker.connection, names, CONTEXT, Remembered()).__aenter__()
    missing = TopicNames(names.frames, "nowhere", names.group)
    with pytest.raises(StreamRefused, match=r"'nowhere' does not exist.*tools/run topics"):
        await AtLeastOnceSink(broker.connection, missing, CONTEXT, Remembered()).__aenter__()


def _is_reference(message: Message, value: bytes) -> None:
    headers = dict(message.headers())
    assert message.value() is None
    assert "seq" not in headers
    assert headers["__pawsight.errors.offset"] == b"7"
    assert headers["__pawsight.errors.value.bytes"] == str(len(value)).encode()
    assert headers["__pawsight.errors.value.sha256"] == hashlib.sha256(value).hexdigest().encode()


class _admin:  # noqa: N801  (reads as a verb)
    def __init__(self, connection: KafkaConnection) -> None:
        self._client = AIOKafkaAdminClient(**connection.client_options())

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def _create(
    connection: KafkaConnection, names: TopicNames, settings: dict[str, dict[str, str]], alerts_partitions: int = 2
) -> None:
    """Create the topics otherwise than they should be."""
    counts: Sequence[tuple[str, int]] = [(names.frames, 2), (names.alerts, alerts_partitions), (names.dead_letters, 2)]
    async with _admin(connection) as admin:
        await admin.create_topics([NewTopic(name, count, 1, topic_configs=settings.get(name)) for name, count in counts])
