"""Running the replay command against a broker, and reading what it left there."""

import time
from pathlib import Path

import typer
from confluent_kafka import Consumer, Message, TopicPartition
from typer.testing import CliRunner, Result

from stream import wire
from stream.kafka.topology import TopicNames
from stream.types import FramePacket, Record
from tools.broker.find import FoundBroker
from tools.replay import replay

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
