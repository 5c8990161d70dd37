"""`tools/run worker`: one process, one device, one member of the consumer group."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tools import settings
from tools.errors import CommandError
from tools.options import (
    DEFAULT_ALERTS_TOPIC,
    DEFAULT_FRAMES_TOPIC,
    DEFAULT_GROUP,
    DEMO_CHECKPOINT,
    DEMO_QUESTIONS,
    AlertsTopicOption,
    BootstrapOption,
    CamerasOption,
    FramesTopicOption,
    GroupOption,
    ModelOption,
    QuestionsOption,
)
from tools.screen import err

if TYPE_CHECKING:  # torch and aiokafka stay out of --help
    from stream.kafka.connection import KafkaConnection
    from stream.kafka.consumer import SourceConfig
    from stream.kafka.topology import TopicNames
    from tools.assembly import Device


def worker(  # noqa: PLR0913  (a command's options)
    *,
    model: ModelOption = str(DEMO_CHECKPOINT),
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    bootstrap_servers: BootstrapOption = None,
    group: GroupOption = DEFAULT_GROUP,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    alerts_topic: AlertsTopicOption = DEFAULT_ALERTS_TOPIC,
    start_from: Annotated[
        Literal["earliest", "latest"], typer.Option("--from", help="Where a partition without a committed offset begins.")
    ] = "earliest",
) -> None:
    """Answer the questions about the frames topic and publish events to the alerts topic until stopped.

    Start more of them with the same --group to share the partitions. SIGTERM or Ctrl-C drains what was taken in, delivers it
    and leaves the group.

    Example: [bold]tools/run worker --bootstrap-servers kafka:9092 --model Salesforce/blip-vqa-base --questions pets.toml[/]
    """
    from stream.kafka.consumer import SourceConfig
    from stream.kafka.topology import TopicNames, differences

    connection = settings.kafka_connection(bootstrap_servers)
    names = TopicNames(frames_topic, alerts_topic, group)
    wrong = asyncio.run(differences(connection, names))
    if wrong:
        msg = f"{'; '.join(map(str, wrong))}. `tools/run topics` creates missing ones; change the rest with the cluster's tools"
        raise CommandError(msg)
    from tools.assembly import open_device  # torch: only when there is something to work on

    err.print(f"loading {model}")
    with open_device(model, questions, cameras) as device:
        err.print(f"weights {device.engine.weights} are warm: joining group {group} at {connection.bootstrap_servers}")
        asyncio.run(_run(device, connection, SourceConfig(frames_topic, group, start_from), names))
    err.print("stopped: what was taken in is delivered")


async def _run(device: "Device", connection: "KafkaConnection", config: "SourceConfig", names: "TopicNames") -> None:
    from stream.kafka.sink import AtLeastOnceSink
    from stream.kafka.source import KafkaSource

    async with (
        KafkaSource(connection, config) as source,
        AtLeastOnceSink(connection, names, device.alert_context(names.group), source) as sink,
    ):
        running = device.worker(source, sink)
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, running.stop)
        err.print(f"working on {names.frames}; stop with Ctrl-C or SIGTERM")
        await running.run()
        err.print(f"records {running.counts.received}, asked {running.counts.answered}, events {running.counts.events}")
