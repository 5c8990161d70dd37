"""A replay that was cut off goes on where the topic ends, as if nothing had happened, or says why it cannot."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import aiokafka
import pytest
from confluent_kafka import Message, Producer

from stream.cameras import CameraRegistry
from stream.errors import StreamRefused
from stream.kafka.topology import TopicNames, create_topics
from stream.wire import FrameHead, frame_headers
from tests.integration.kafka_world import publish_bad_header
from tests.integration.moving_pictures import T0_S, Video, write
from tests.integration.replay_world import ROOT, header, on_topic, run
from tools.broker.find import FoundBroker
from tools.errors import CommandError
from tools.publish import Destination
from tools.publish.sent import LookBack, last_sent
from tools.recordings import (
    AsAccessUnits,
    AsSegments,
    AsStills,
    Form,
    Placement,
    Recording,
    find,
    publications,
)
from tools.recordings.resume import Sent
from tools.replay import Replay

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
