"""Replay against a real broker: records as cameras would publish them, read back with another client."""

import asyncio
import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import aiokafka
import numpy as np
import pytest
import typer
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from typer.testing import CliRunner, Result

from pipeline.preprocess import fit
from stream import wire
from stream.cameras import CameraRegistry
from stream.decode import DecodeLimits, DecodeRequest, decode
from stream.errors import SourceLost, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from stream.types import FramePacket, Record
from stream.wire import FrameHead, frame_headers
from tests.integration.kafka_world import publish_bad_header
from tests.integration.moving_pictures import T0_S, Video, play, write
from tools.broker.find import FoundBroker
from tools.errors import CommandError
from tools.publish import Destination, opened
from tools.publish.sent import LookBack, last_sent
from tools.recordings import (
    MAX_PAYLOAD_BYTES,
    AsAccessUnits,
    AsSegments,
    AsStills,
    Form,
    Placement,
    Publication,
    Recording,
    find,
    publications,
)
from tools.recordings.resume import Sent
from tools.replay import Replay, replay

ROOT = Path(__file__).parent.parent.parent

app = typer.Typer()
app.command()(replay)


def run(broker: FoundBroker, names: TopicNames, *arguments: str | Path) -> Result:
    """Run the command; its error, if it has one, is raised."""
    options = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames, "--speed", "max"]
    result = CliRunner().invoke(app, [*options, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def on_topic(broker: FoundBroker, names: TopicNames) -> list[Message]:
    """All records of the frames topic, partition by partition."""
    client = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "test", "enable.auto.commit": False})
    found: list[Message] = []
    try:
        for partition in client.list_topics(names.frames).topics[names.frames].partitions:
            place = TopicPartition(names.frames, partition, 0)
            end = client.get_watermark_offsets(place)[1]
            client.assign([place])
            while end and (not found or found[-1].partition() != partition or found[-1].offset() + 1 < end):
                message = client.poll(10.0)
                assert message is not None
                assert message.error() is None, message.error()
                found.append(message)
    finally:
        client.close()
    return found


def read(message: Message) -> FramePacket:
    """What the worker reads of a record."""
    headers = tuple(message.headers())
    place = (message.topic(), message.partition(), message.offset(), message.timestamp()[1])
    return wire.read(Record(*place, message.key(), message.value(), headers, 1, time.time()))


def header(message: Message, name: str) -> str:
    """One header's text."""
    return dict(message.headers())[name].decode()


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


FORMS: dict[str, Form] = {"segments": AsSegments(0.5), "stills": AsStills(10.0), "access-units": AsAccessUnits(0.5)}
OPTIONS = ("--segment-s", "0.5", "--still-fps", "10", "--start-at", "2026-01-01T00:00:00Z")
"""How the command is told of these forms."""
B_FRAMES = {"bf": "2", "b_strategy": "0", "sc_threshold": "0"}


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of three cameras, 3 s each, B-frames in two of them."""
    folder = tmp_path_factory.mktemp("pets")
    write(folder / "den.mp4", Video(frames=90, gop=15, codec_options=B_FRAMES))
    write(folder / "porch.ts", Video(frames=45, gop=9, fps=Fraction(15), muxer="mpegts", codec_options=B_FRAMES))
    write(folder / "yard.mkv", Video(frames=75, gop=25, fps=Fraction(25), muxer="matroska", codec_options={"bf": "0"}))
    return folder


def told(messages: Sequence[Message]) -> list[tuple[int, bytes, bytes, dict[str, bytes]]]:
    """All that makes a record, partition by partition in order, but the uuid of its run."""
    return [
        (one.partition(), one.key(), one.value(), {k: v for k, v in one.headers() if k not in {"stream", "ce_id"}})
        for one in messages
    ]


def streams(messages: Sequence[Message]) -> set[tuple[bytes, str]]:
    """Each camera's streams."""
    return {(one.key(), header(one, "stream")) for one in messages}


async def cut_off(pets: Path, form: Form, destination: Destination, after: int, *, resume: bool) -> int:
    """Replay until so many records are acknowledged, then cancel; return how many there were."""
    run = Replay(find([str(pets)], Placement(T0_S)), form, 4.0, resume=resume)
    playing = asyncio.create_task(run.publish(destination))
    while run.tally is None or run.tally.records < after:
        await asyncio.sleep(0.001)
        assert not playing.done(), "it came to its end before it was cut off"
    playing.cancel()
    await asyncio.wait([playing])
    return run.tally.records


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_is_cut_off_again_and_again_leaves_what_an_unbroken_one_leaves(
    broker: FoundBroker, names: TopicNames, pets: Path, form: str
) -> None:
    """Three runs, two of them cancelled in the middle: the same records in the same order, and one stream per camera."""
    whole = TopicNames(f"{names.frames}-whole", names.alerts, names.group)
    destination = Destination(broker.connection, names.frames, CameraRegistry().including(["den", "porch", "yard"]))

    async def some_runs() -> int:
        await create_topics(broker.connection, names, partitions=2)
        await create_topics(broker.connection, whole, partitions=2)
        return sum(
            [
                await cut_off(pets, FORMS[form], destination, after=2, resume=False),
                await cut_off(pets, FORMS[form], destination, after=3, resume=True),
            ]
        )

    published = asyncio.run(some_runs())
    run(broker, whole, pets, "--as", form, *OPTIONS)
    result = run(broker, names, pets, "--as", form, *OPTIONS, "--resume", "--json", "-")
    figures = json.loads(result.stdout)
    messages = on_topic(broker, names)
    assert told(messages) == told(on_topic(broker, whole))
    assert len(streams(messages)) == 3
    assert figures["skipped"] == published
    assert figures["records"] == len(messages) - published > 0


@pytest.mark.parametrize("form", FORMS)
def test_a_run_that_was_killed_is_gone_on_with(broker: FoundBroker, names: TopicNames, pets: Path, form: str) -> None:
    """SIGKILL in the middle; the next run leaves what an unbroken one leaves, and one more run leaves nothing."""
    whole = TopicNames(f"{names.frames}-whole", names.alerts, names.group)
    for each in (names, whole):
        asyncio.run(create_topics(broker.connection, each, partitions=2))
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames]
    command = [sys.executable, "-m", "tools", "replay", str(pets), *where, "--as", form, *OPTIONS, "--speed", "0.5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        while len(on_topic(broker, names)) < 3:
            assert process.poll() is None
        process.kill()
    left = len(on_topic(broker, names))
    run(broker, whole, pets, "--as", form, *OPTIONS)
    unbroken = on_topic(broker, whole)
    assert 3 <= left < len(unbroken)
    for _ in range(2):
        assert run(broker, names, pets, "--as", form, *OPTIONS, "--resume").exit_code == 0
        messages = on_topic(broker, names)
        assert told(messages) == told(unbroken)
        assert len(streams(messages)) == 3


def test_a_segment_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    """Also in Matroska, which gives files and tracks drawn ids: a resumed run compares bytes."""
    options = {"cpu-used": "8", "deadline": "realtime"}
    file = write(tmp_path / "den.webm", Video(frames=40, gop=12, codec="libvpx", muxer="webm", codec_options=options))
    first, again = (list(publications(Recording("den", str(file), T0_S), AsSegments(0.5), pytest.fail)) for _ in range(2))
    assert {one.content_type for one in first} == {"video/x-matroska"}
    assert first == again


def test_a_resumed_run_says_what_it_skips_and_what_it_begins(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """One camera was published, one never: that one begins at its beginning, under its own stream."""
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    cameras = tmp_path / "cameras.toml"
    cameras.write_text(
        '[[camera]]\nid = "attic"\n[[camera]]\nid = "den"\npartition = 0\n[[camera]]\nid = "yard"\npartition = 1\n'
    )
    den = write(tmp_path / "den.mp4", Video(frames=60, gop=15))
    run(broker, names, den, *OPTIONS, "--cameras", cameras)
    write(tmp_path / "yard.mp4", Video(frames=45, gop=15))
    result = run(broker, names, tmp_path, *OPTIONS, "--cameras", cameras, "--resume")
    said = result.stderr.replace("\n", " ")
    assert f"den: 4 records lie on {names.frames}, the last one of 2026-01-01T00:00:01.500000Z: skipped" in said
    assert f"yard: nothing lies on {names.frames}" in said
    assert "attic" not in said
    assert "3 records of 1 cameras" in result.stdout
    messages = on_topic(broker, names)
    assert [(one.key(), header(one, "seq")) for one in messages if one.partition() == 1] == [(b"yard", seq) for seq in "012"]
    assert len(messages) == 7


def other_video(file: Path) -> None:
    """Same length, same times, other pictures."""
    write(file, Video(frames=60, gop=15, width=128))


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        pytest.param(None, ["--as", "stills", *OPTIONS], "video/mp4 on the topic, but would be image/png", id="another form"),
        pytest.param(None, [*OPTIONS, "--segment-s", "1"], "4 records on the topic, but would have 2", id="longer segments"),
        pytest.param(
            None, [*OPTIONS, "--start-at", "2026-01-02T00:00:00Z"], "captured at 2026-01-01T00:00:01.5", id="another day"
        ),
        pytest.param(other_video, OPTIONS, "record 3 of camera 'den' has other content", id="another video"),
        pytest.param(None, [*OPTIONS, "--start-at", "now"], "--start-at now", id="now"),
        pytest.param(
            None, ["rtsp://me:secret@127.0.0.1/live", *OPTIONS], "rtsp://127.0.0.1/live is a live stream", id="live stream"
        ),
    ],
)
def test_what_cannot_go_on_is_refused_before_anything_is_sent(
    broker: FoundBroker,
    names: TopicNames,
    tmp_path: Path,
    change: Callable[[Path], None] | None,
    arguments: Sequence[str],
    says: str,
) -> None:
    """These arguments would give something else than lies on the topic: nothing is added to it, of no camera."""
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    file = write(tmp_path / "den.mp4", Video(frames=60, gop=15))
    run(broker, names, file, *OPTIONS)
    if change is not None:
        change(file)
    write(tmp_path / "yard.mp4", Video(frames=60, gop=15))
    with pytest.raises(CommandError, match=says):
        run(broker, names, tmp_path, *arguments, "--resume")
    assert len(on_topic(broker, names)) == 4


def test_a_camera_that_would_move_to_another_partition_is_refused(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Without the first of two videos the second one would go on where the first one lies, and begin anew."""
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    attic, den = (write(tmp_path / f"{name}.mp4") for name in ("attic", "den"))
    run(broker, names, attic, den, *OPTIONS)
    with pytest.raises(StreamRefused, match=rf"'den' lies on {names.frames}\[1\].* partition 0: give all the videos"):
        run(broker, names, den, *OPTIONS, "--resume")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        pytest.param({}, "it has no stream or no seq", id="a camera's own"),
        pytest.param({"stream": b"1", "seq": b"x"}, "header 'seq' is 'x'", id="no number"),
    ],
)
def test_a_record_of_another_publisher_is_no_place_to_go_on_at(
    broker: FoundBroker, names: TopicNames, tmp_path: Path, headers: dict[str, bytes], says: str
) -> None:
    """Who publishes under the camera's name is named with where it did."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    file = write(tmp_path / "den.mp4")
    run(broker, names, file, *OPTIONS)
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    producer.produce(names.frames, key=b"den", value=b"\xff\xd8\xff", headers=headers)
    assert producer.flush(30) == 0
    with pytest.raises(
        StreamRefused, match=rf"camera 'den', {names.frames}\[0\] at offset 2, was not published by replay: {says}"
    ):
        run(broker, names, file, *OPTIONS, "--resume")


def test_a_record_that_the_client_cannot_read_is_named(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """A header name that is no text lies near the end: nothing before it can be read."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    asyncio.run(publish_bad_header(broker.connection, names.frames, [b"1", b"2"], bad=0))
    with pytest.raises(StreamRefused, match=rf"{names.frames}\[0\] has a header whose name is no text"):
        run(broker, names, write(tmp_path / "den.mp4"), *OPTIONS, "--resume")


def test_the_topic_is_read_back_only_as_far_as_needed(broker: FoundBroker, names: TopicNames) -> None:
    """Other cameras' records lie before and behind, the marker of a transaction at the end; the bound counts what was read."""
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": names.group, "linger.ms": 5})
    producer.init_transactions(30)
    producer.begin_transaction()

    for camera, count in (("attic", 3), ("other", 2000), ("den", 7), ("other", 100)):
        for number in range(count):
            headers = frame_headers(FrameHead(camera, T0_S + number, "image/jpeg", "/test", "a-stream", number))
            value = b"\xff\xd8\xff" + bytes(1000)
            producer.produce(names.frames, key=camera.encode(), value=value, partition=0, headers=headers)
    producer.commit_transaction(30)
    del producer

    places = [aiokafka.TopicPartition(names.frames, number) for number in range(2)]

    def sent(max_bytes: int, **partition_of: int) -> dict[str, Sent]:
        return asyncio.run(last_sent(broker.connection, places, partition_of, LookBack(8, max_bytes)))

    assert {camera: (one.seq, one.captured_at_s - T0_S) for camera, one in sent(100_000, den=0).items()} == {"den": (6, 6.0)}
    assert {camera: one.seq for camera, one in sent(10**9, den=0, attic=0, nobody=0, none=1).items()} == {"den": 6, "attic": 2}
    with pytest.raises(StreamRefused, match=rf"'den' is not in the last .* of {names.frames}\[0\]"):
        sent(10_000, den=0)
    with pytest.raises(StreamRefused, match="'attic' is not in the last"):
        sent(100_000, den=0, attic=0)
