"""Retention deletes what was just to be read: for a restored decoder, or as bytes."""

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from stream.camera_state import CameraState
from stream.clock import ClockState
from stream.kafka import reader
from stream.kafka.connection import KafkaConnection
from stream.kafka.salvage import Salvage, salvage
from stream.kafka.topology import TopicNames, create_topics
from stream.state_records import CameraRecord, Cursor, DecoderPlace
from tests.integration.kafka_world import joined, publish, publish_bad_header
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

RECORDS = 20
KEYFRAME, SHOWN, DONE = 2, 10, 12
"""Offsets: a successor feeds from the keyframe on, the last picture that was shown, and what was done below."""
YARD = CameraRecord(
    CameraState("den", 1, ClockState(1.0, 2.0, None), 2.0, lost=False, sightings=1),
    Cursor(DONE),
    DecoderPlace(KEYFRAME, SHOWN),
)


async def delete_before(connection: KafkaConnection, names: TopicNames, offset: int) -> None:
    """Do what retention does."""
    admin = AIOKafkaAdminClient(**connection.client_options())
    await admin.start()
    await admin.delete_records({TopicPartition(names.frames, 0): RecordsToDelete(before_offset=offset)})
    await admin.close()


async def test_the_partition_is_taken_up_again(broker: FoundBroker, names: TopicNames) -> None:
    """Else the decoder would take every later picture for one that was done before: the camera would fall silent for good."""
    await create_topics(broker.connection, names, partitions=1)
    await publish(broker.connection, names.frames, [bytes([number]) * 400_000 for number in range(RECORDS)])
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == RECORDS)
        assert await member.progress(seen.records[DONE - 1], DONE, cameras={"den": YARD})
    async with joined(broker.connection, names, max_poll_bytes=1) as member:
        seen = await member.watch(lambda seen: seen.records)
        (first,) = seen.assigned
        assert first.cameras["den"].decoder == DecoderPlace(KEYFRAME, SHOWN)
        assert seen.records[0].offset == KEYFRAME
        await delete_before(broker.connection, names, SHOWN - 1)
        await member.watch(lambda seen: seen.records[-1].offset == RECORDS - 1, seen)
        assert member.source.counts["partitions_voided"] == 1
    _, again = seen.assigned
    assert again.cameras["den"].decoder is None
    assert [record.offset for record in seen.records if record.incarnation == again.incarnation] == list(range(DONE, RECORDS))


async def test_an_unreadable_record_that_is_gone_is_passed_by(
    broker: FoundBroker, names: TopicNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two strikes, and before it is looked at as bytes the log begins behind it: reading goes on there."""
    await create_topics(broker.connection, names, partitions=1)
    await publish_bad_header(broker.connection, names.frames, [b"0", b"1", b"bad", b"3"], bad=1)

    async def too_late(connection: KafkaConnection, partition: TopicPartition, offset: int) -> Salvage:
        await delete_before(connection, names, 4)
        return await salvage(connection, partition, offset)

    monkeypatch.setattr(reader, "salvage", too_late)
    async with joined(broker.connection, names) as member:
        seen = await member.watch(lambda seen: len(seen.records) == 2)
        await publish(broker.connection, names.frames, [b"4"])
        await member.watch(lambda seen: len(seen.records) == 3, seen)
        assert member.source.counts["skipped_by_retention"] == 2
    assert seen.values() == [b"0", b"1", b"4"]
