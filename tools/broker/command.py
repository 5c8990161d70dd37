"""`tools/run broker`: a broker to work with, until Ctrl-C."""

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from tools.options import (
    DEFAULT_ALERTS_TOPIC,
    DEFAULT_FRAMES_TOPIC,
    DEFAULT_GROUP,
    AlertsTopicOption,
    BootstrapOption,
    FramesTopicOption,
    GroupOption,
)
from tools.screen import err, out
from tools.topics import PartitionsOption


def broker(  # noqa: PLR0913  (a command's options)
    *,
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port on 127.0.0.1.")] = 9092,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Keep topics and records there.", show_default="a folder thrown away"),
    ] = None,
    bootstrap_servers: BootstrapOption = None,
    partitions: PartitionsOption = None,
    group: GroupOption = DEFAULT_GROUP,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    alerts_topic: AlertsTopicOption = DEFAULT_ALERTS_TOPIC,
) -> None:
    """Start Apache Kafka on this machine and create the topics; runs until Ctrl-C.

    With --bootstrap-servers it starts nothing: it checks that brokers answer there, creates the topics and returns.

    Example: [bold]tools/run broker --data-dir ./kafka-data[/]
    """
    from stream.kafka.topology import TopicNames, create_topics, differences
    from tools.broker.find import find_broker

    names = TopicNames(frames_topic, alerts_topic, group)
    with find_broker(bootstrap_servers, port=port, data_dir=data_dir) as found:
        created = asyncio.run(create_topics(found.connection, names, partitions=partitions))
        err.print(f"topics created: {', '.join(created) or 'none, they exist'}")
        for difference in asyncio.run(differences(found.connection, names)):
            err.print(f"[yellow]note:[/] {difference}")
        if found.own is None:
            out.print(f"ready: bootstrap servers {found.bootstrap_servers}", soft_wrap=True)
            return
        kept = f"data in {data_dir}" if data_dir else "data is thrown away at the end"
        out.print(
            f"ready: {found.name} {found.version}, bootstrap servers {found.bootstrap_servers} ({kept}). Ctrl-C stops it",
            soft_wrap=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            found.own.wait()
        err.print("stopping the broker")
