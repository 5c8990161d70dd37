"""Replay against a real broker: records as cameras would publish them, read back with another client."""

import asyncio
import json
import socket
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from pipeline.preprocess import fit
from stream.cameras import CameraRegistry
from stream.decode import DecodeLimits, DecodeRequest, decode
from stream.errors import SourceLost, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from tests.integration.moving_pictures import T0_S, Video, play, write
from tests.integration.replay_world import header, on_topic, read, run
from tools.broker.find import FoundBroker
from tools.publish import Destination, opened
from tools.recordings import (
    MAX_PAYLOAD_BYTES,
    AsSegments,
    Publication,
    Recording,
    publications,
)


def test_a_video_lies_on_the_topic_as_its_camera_would_have_put_it_there(
    broker: FoundBroker, names: TopicNames, tmp_path: Path
) -> None:
    """Key, partition, content type, numbers and capture time are the camera's; the record's own time is that of publishing."""
    asyncio.run(create_topics(broker.connection, names, partitions=3))
    for camera in ("kitchen", "yard"):
        write(tmp_path / f"{camera}.mp4", Video(frames=60, gop=15))
    began = time.time()
    result = run(broker, names, tmp_path, "--segment-s", "0.5", "--start-at", "2026-01-01T00:00:00Z", "--json", "-")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    messages = on_topic(broker, names)
    assert figures["records"] == len(messages) == 8
    assert figures["bytes"] == sum(len(message.value()) for message in messages)
    assert figures["cameras"] == 2
    for partition, camera in enumerate(("kitchen", "yard")):
        own = [message for message in messages if message.key() == camera.encode()]
        packets = [read(message) for message in own]
        assert {message.partition() for message in own} == {partition}
        assert [packet.captured_at_s - T0_S for packet in packets] == [0.0, 0.5, 1.0, 1.5]
        assert [packet.seq for packet in packets] == [0, 1, 2, 3]
        assert {packet.content_type for packet in packets} == {"video/mp4"}
        assert {header(message, "ce_subject") for message in own} == {camera}
        assert all(began - 1 < message.timestamp()[1] / 1000 < time.time() + 1 for message in own)
    assert len({header(message, "stream") for message in messages}) == 2
    request = DecodeRequest(32, 0.001, DecodeLimits())
    decoded = [picture for one in own for picture in decode(read(one), request, lambda _: True).pictures]
    expected = [fit(shown.rgb, 32) for shown in play(tmp_path / "yard.mp4")]
    assert all(np.array_equal(picture.pixels, right) for picture, right in zip(decoded, expected, strict=True))


def test_stills_lie_on_the_topic_at_the_sampling_rate(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """A stills stream is PNG records at their own capture times."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    file = write(tmp_path / "den.mp4", Video(frames=60, gop=30))
    assert run(broker, names, file, "--as", "stills", "--start-at", "2026-01-01T00:00:00Z").exit_code == 0
    packets = [read(message) for message in on_topic(broker, names)]
    assert [packet.captured_at_s - T0_S for packet in packets] == [0.0, 0.5, 1.0, 1.5]
    assert {packet.content_type for packet in packets} == {"image/png"}


def test_every_run_is_a_new_stream(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """A publisher that starts again says so with a new uuid and numbers from 0."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    file = write(tmp_path / "den.mp4")
    for _ in range(2):
        run(broker, names, file)
    first, second = on_topic(broker, names)
    assert header(first, "seq") == header(second, "seq") == "0"
    assert uuid.UUID(header(first, "stream")) != uuid.UUID(header(second, "stream"))


def test_cameras_come_in_the_order_of_event_time_and_at_its_pace(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Copies with an offset interleave, and 1.5 s of event time at four times the speed take 0.375 s."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    file = write(tmp_path / "den.mp4", Video(frames=45, gop=15))
    began = time.monotonic()
    run(broker, names, file, "--segment-s", "0.5", "--copies", "2", "--offset-s", "0.5", "--speed", "4", "--start-at", "now")
    took_s = time.monotonic() - began
    keys = [message.key().decode() for message in on_topic(broker, names)]
    assert (keys[0], keys[-1], sorted(keys)) == ("den-1", "den-2", ["den-1"] * 3 + ["den-2"] * 3)
    ends = [packet.captured_at_s for packet in map(read, on_topic(broker, names))]
    assert ends == sorted(ends)
    assert took_s > 1.5 / 4


def test_the_registry_places_the_cameras(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """A partition in cameras.toml is used; one that the topic does not have is refused before anything is sent."""
    asyncio.run(create_topics(broker.connection, names, partitions=3))
    file = write(tmp_path / "den.mp4")
    cameras = tmp_path / "cameras.toml"
    cameras.write_text('[[camera]]\nid = "den"\npartition = 2\n')
    run(broker, names, file, "--cameras", cameras)
    assert {message.partition() for message in on_topic(broker, names)} == {2}
    cameras.write_text('[[camera]]\nid = "den"\npartition = 3\n')
    with pytest.raises(StreamRefused, match="'den' asks for partition 3"):
        run(broker, names, file, "--cameras", cameras)


def test_a_damaged_video_does_not_keep_the_others_from_the_topic(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """The sound video is published whole, the damaged one as far as it goes; the exit status tells."""
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    whole = write(tmp_path / "whole.mkv", Video(frames=60, gop=15, muxer="matroska"))
    (tmp_path / "half.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "none.mp4").write_text("no video")
    result = run(broker, names, tmp_path, "--segment-s", "0.5")
    assert result.exit_code == 1
    assert "half.mkv" in result.stderr.replace("\n", "")
    assert "none.mp4" in result.stderr.replace("\n", "")
    keys = [message.key() for message in on_topic(broker, names)]
    assert keys.count(b"whole") == 4
    assert 1 <= keys.count(b"half") <= 3


def test_an_interrupt_leaves_all_that_was_sent(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """A stopped loop has every record on the topic that it counts, numbered without a gap over the rounds."""
    file = write(tmp_path / "den.mp4", Video(frames=30, gop=15))

    endless = publications(Recording("den", str(file), T0_S), AsSegments(0.5), pytest.fail, loop=True)

    async def some_rounds() -> int:
        await create_topics(broker.connection, names, partitions=1)
        destination = Destination(broker.connection, names.frames, CameraRegistry().including(["den"]))
        async with opened(destination) as publisher:

            def stop_after_five(_: Publication) -> None:
                if publisher.tally.records == 5:
                    playing.cancel()

            playing = asyncio.create_task(publisher.publish(endless, None, stop_after_five))
            await asyncio.wait([playing])
        assert playing.cancelled()
        return publisher.tally.records

    counted = asyncio.run(some_rounds())
    packets = [read(message) for message in on_topic(broker, names)]
    assert len(packets) == counted >= 5
    assert [packet.seq for packet in packets] == list(range(counted))
    assert [round(packet.captured_at_s - T0_S, 3) for packet in packets] == [0.5 * number for number in range(counted)]


def test_the_largest_records_fit_even_all_at_once(broker: FoundBroker, names: TopicNames) -> None:
    """A payload at the limit is taken, and more than one request may hold is not sent in one."""
    cameras = [f"c{number:02}" for number in range(14)]
    largest = [Publication(camera, T0_S, T0_S, "image/jpeg", bytes(MAX_PAYLOAD_BYTES), 0) for camera in cameras]

    async def publish() -> int:
        await create_topics(broker.connection, names, partitions=len(cameras))
        destination = Destination(broker.connection, names.frames, CameraRegistry().including(cameras))
        async with opened(destination) as publisher:
            await publisher.publish(largest, None)
            return publisher.tally.bytes

    assert asyncio.run(publish()) == len(cameras) * MAX_PAYLOAD_BYTES


def test_a_missing_topic_is_named_with_the_remedy(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Without the topic nothing is sent, and the sentence says what creates it."""
    with pytest.raises(StreamRefused, match=rf"{names.frames}.*tools/run topics"):
        run(broker, names, write(tmp_path / "den.mp4"))


def test_a_broker_that_is_not_there_is_named_with_the_remedy(names: TopicNames, tmp_path: Path) -> None:
    """Nobody listens: the sentence names the address and how to start a broker."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        nowhere = FoundBroker("none", "none", KafkaConnection(address))
        with pytest.raises(SourceLost, match=rf"{address}.*tools/run broker"):
            run(nowhere, names, write(tmp_path / "den.mp4"))


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "inf", "nan"])
def test_a_speed_that_is_none_is_refused(names: TopicNames, tmp_path: Path, speed: str) -> None:
    """Only `max` and numbers over 0 are speeds."""
    nowhere = FoundBroker("none", "none", KafkaConnection("127.0.0.1:1"))
    with pytest.raises(Exception, match="--speed"):
        run(nowhere, names, tmp_path, "--speed", speed)
