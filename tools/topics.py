"""`tools/run topics`: the topics of a deployment, created where they are missing and compared where they exist."""

import asyncio
from typing import Annotated

import typer

from tools import settings
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

PartitionsOption = Annotated[
    int | None,
    typer.Option(
        "--partitions", metavar="N", min=1, help="Partitions of every topic.", show_default="as frames has them, 48 if it is new"
    ),
]


def topics(  # noqa: PLR0913  (a command's options)
    *,
    partitions: PartitionsOption = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(
            "--replication-factor", metavar="N", min=1, help="Copies of each partition.", show_default="3, or all brokers"
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Create nothing, only compare.")] = False,
    bootstrap_servers: BootstrapOption = None,
    group: GroupOption = DEFAULT_GROUP,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    alerts_topic: AlertsTopicOption = DEFAULT_ALERTS_TOPIC,
) -> None:
    """Create the topics that are missing on a cluster, and say what differs where they exist.

    Exit status 0: all is as it must be; 1: something differs. Never changes or deletes a topic that exists.

    Example: [bold]tools/run topics --bootstrap-servers kafka:9092 --check[/]
    """
    from stream.kafka.topology import TopicNames, create_topics, differences

    connection = settings.kafka_connection(bootstrap_servers)
    names = TopicNames(frames_topic, alerts_topic, group)
    if not check:
        created = asyncio.run(create_topics(connection, names, partitions=partitions, replication_factor=replication_factor))
        err.print(f"topics created: {', '.join(created) or 'none, they exist'}")
    wrong = asyncio.run(differences(connection, names, partitions))
    for difference in wrong:
        out.print(str(difference), soft_wrap=True)
    if wrong:
        raise typer.Exit(1)
    out.print(f"{names.frames}, {names.alerts}, {names.dead_letters} and {names.state} are as they must be", soft_wrap=True)
