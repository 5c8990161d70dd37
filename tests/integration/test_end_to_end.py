"""The main job on real input: rendered video, real Kafka, the shipped BLIP; judged by foreign clients and by a second path."""

import asyncio
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from confluent_kafka import Consumer, Producer

from stream.kafka.topology import TopicNames, create_topics
from tools.assembly import Attachment, Device, attached, open_device
from tools.broker.find import FoundBroker
from tools.demo.stage import Stage
from tools.demo.view import LiveView
from tools.devices import DeviceChoice
from tools.options import DEMO_QUESTIONS
from tools.report.counters import balances
from tools.scenes.planning import Scene, plan
from tools.scenes.video import render_video

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scene, Path]:
    """One camera's minute, the smallest picture of the seed's cameras."""
    scene = min(plan(7, 3), key=lambda scene: scene.scale)
    path = tmp_path_factory.mktemp("film") / f"{scene.camera}.mp4"
    render_video(scene, path)
    return scene, path


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's questions with an impatient loss: the test waits for silence in real time."""
    path = tmp_path_factory.mktemp("questions") / "questions.toml"
    text = DEMO_QUESTIONS.read_text(encoding="utf-8")
    assert "lost_after_s = 30.0" in text
    path.write_text(text.replace("lost_after_s = 30.0", "lost_after_s = 6.0"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def device(questions: Path) -> Iterator[Device]:
    """The shipped checkpoint, warmed."""
    with open_device(DeviceChoice.of(None, None, None, questions), None) as opened:
        yield opened


def told(alerts: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Per camera in order, all that must not depend on the path: everything but where the evidence lies."""
    by_camera: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for alert in alerts:
        data = {key: value for key, value in alert["data"].items() if key != "evidence"}
        data["score"] = None if data.get("score") is None else pytest.approx(data["score"], abs=1e-6)
        data["share"] = None if data.get("share") is None else pytest.approx(data["share"], abs=1e-6)
        by_camera[data["camera"]].append({"id": alert["id"], "type": alert["type"], "source": alert["source"], **data})
    return dict(by_camera)


def watched(video: Path, questions: Path, target: Path, form: str) -> list[dict[str, Any]]:
    """What `tools/run watch` tells of a video."""
    command = [sys.executable, "-m", "tools", "watch", str(video), "--questions", str(questions), "--as", form]
    subprocess.run([*command, "--json", str(target)], cwd=ROOT, check=True, capture_output=True)
    return [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]


def test_kafka_watch_and_stills_tell_the_same(
    broker: FoundBroker, names: TopicNames, film: tuple[Scene, Path], questions: Path, device: Device, tmp_path: Path
) -> None:
    """One video through Kafka, over files, and as stills: same ids, types, times, reasons and scores, in the same order."""
    scene, video = film
    names = TopicNames(names.frames, names.alerts, "pawsight")
    stage = Stage(device, broker.connection, names, speed=None)
    performance = asyncio.run(stage.perform([video], LiveView((scene.camera,))))
    through_kafka = performance.alerts
    segments = watched(video, questions, tmp_path / "segments.jsonl", "segments")
    stills = watched(video, questions, tmp_path / "stills.jsonl", "stills")
    behaviors = {alert["data"]["behavior"] for alert in segments if alert["type"] == "pawsight.behavior.started"}
    assert behaviors >= {episode.behavior for episode in scene.episodes}
    assert told(through_kafka) == told(segments) == told(stills)
    assert [one.holds for one in balances(performance.counts.as_dict())] == [True, True]


def pictures(video: Path, every: int) -> Iterator[tuple[float, bytes]]:
    """Every so many pictures of a video as JPEG, with their time in it."""
    with av.open(str(video)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                file = BytesIO()
                frame.to_image().save(file, "JPEG", quality=92)
                assert frame.time is not None
                yield frame.time, file.getvalue()


async def serve(broker: FoundBroker, names: TopicNames, device: Device, done: threading.Event) -> None:
    """A worker on the topics, as the command wires it, until `done`."""
    async with attached(device, Attachment(broker.connection, names)) as here:
        loop = asyncio.get_running_loop()
        stopping = loop.run_in_executor(None, lambda: (done.wait(), loop.call_soon_threadsafe(here.worker.stop)))
        try:
            await here.worker.run()
        finally:
            done.set()
            await stopping


def test_plain_jpeg_bytes_with_a_key_make_alerts(
    broker: FoundBroker, names: TopicNames, film: tuple[Scene, Path], device: Device
) -> None:
    """A foreign camera (confluent-kafka, no header at all) is told of to a foreign subscriber, in CloudEvents the SDK accepts."""
    _, video = film
    asyncio.run(create_topics(broker.connection, names, partitions=2))
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "enable.idempotence": True})
    for time_s, jpeg in pictures(video, every=5):
        producer.produce(names.frames, key=b"porch", value=jpeg, timestamp=int((1_767_225_600 + time_s) * 1000))
    producer.produce(names.frames, key=b"porch", value=b"no picture")
    assert producer.flush(30) == 0
    del producer  # or it would look for the broker for ever

    done = threading.Event()
    worker = threading.Thread(target=lambda: asyncio.run(serve(broker, names, device, done)))
    worker.start()
    try:
        events = [from_binary_event(message) for message in consumed(broker, names.alerts, 5)]
        letters = consumed(broker, names.dead_letters, 1)
    finally:
        done.set()
        worker.join(30)
    assert events[0].get_type() == "pawsight.camera.seen"
    assert {event.get_type() for event in events[1:]} <= {"pawsight.behavior.started", "pawsight.behavior.ended"}
    assert {event.get_source() for event in events} == {f"/pawsight/{names.group}"}
    assert letters[0].value == b"no picture"
    assert letters[0].headers["__pawsight.errors.class.name"] == b"unknown_content_type"


def consumed(broker: FoundBroker, topic: str, count: int) -> list[KafkaMessage]:
    """The first records of a topic, read by librdkafka with read_committed."""
    consumer = Consumer({
        "bootstrap.servers": broker.bootstrap_servers,
        "group.id": f"reader-of-{topic}",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    })  # fmt: skip
    consumer.subscribe([topic])
    messages: list[KafkaMessage] = []
    try:
        while len(messages) < count:
            (message,) = consumer.consume(1, timeout=60) or (None,)
            assert message is not None, f"{len(messages)} of {count} records of {topic} after 60 s"
            assert message.error() is None, message.error()
            messages.append(KafkaMessage(headers=dict(message.headers() or []), key=message.key(), value=message.value()))
    finally:
        consumer.close()
    return messages
