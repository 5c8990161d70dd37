"""`tools/run alerts`: a subscriber of the alerts topic, as a notification service would be one."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from tools import settings
from tools.errors import CommandError
from tools.options import DEFAULT_ALERTS_TOPIC, AlertsTopicOption, BootstrapOption
from tools.screen import err, event_line, out

if TYPE_CHECKING:  # aiokafka stays out of --help
    from stream.kafka.connection import KafkaConnection

StartFrom = Literal["earliest", "latest"]


def alerts(
    *,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="earliest|latest", help="Where to begin.", show_default="latest; earliest with --until-end"
        ),
    ] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop at the end of what is there now.")] = False,
    json_to: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="One CloudEvent per line to FILE; `-` is standard output.")
    ] = None,
    bootstrap_servers: BootstrapOption = None,
    alerts_topic: AlertsTopicOption = DEFAULT_ALERTS_TOPIC,
) -> None:
    """Print events as they come, committed ones only; Ctrl-C ends it.

    Example: [bold]tools/run alerts --from earliest --until-end --json -[/]
    """
    if start_from not in (None, "earliest", "latest"):
        msg = f"--from {start_from!r} is not known; give earliest or latest"
        raise CommandError(msg)
    begin: StartFrom = "earliest" if start_from == "earliest" or (start_from is None and until_end) else "latest"
    connection = settings.kafka_connection(bootstrap_servers)
    err.print(f"events of {alerts_topic} at {connection.bootstrap_servers} from {begin} on; Ctrl-C ends it")
    try:
        with _lines(json_to) as lines:
            asyncio.run(_print_events(subscribe(connection, alerts_topic, begin, until_end=until_end), lines))
    except KeyboardInterrupt:
        err.print("ended")


async def subscribe(
    connection: "KafkaConnection", topic: str, start_from: StartFrom = "latest", *, until_end: bool = False
) -> AsyncGenerator[dict[str, Any], None]:
    """Give the events of a topic in structured form, in order per partition; a record that is no event is named and passed.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed, or there is no such topic.
    """
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from stream.alerts import from_binary
    from stream.kafka.faults import reaching
    from stream.kafka.topology import partition_count

    partitions = [TopicPartition(topic, number) for number in range(await partition_count(connection, topic))]
    async with reaching(connection):
        consumer = AIOKafkaConsumer(
            **connection.client_options(),
            enable_auto_commit=False,
            auto_offset_reset=start_from,
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            consumer.assign(partitions)
            await (consumer.seek_to_beginning() if start_from == "earliest" else consumer.seek_to_end())
            ends = await consumer.end_offsets(partitions) if until_end else {}
            while not until_end or [each for each in partitions if await consumer.position(each) < ends[each]]:
                for messages in (await consumer.getmany(timeout_ms=200)).values():
                    for message in messages:
                        try:
                            event = _ours(from_binary(message.value or b"", message.headers))
                        except ValueError as error:
                            err.print(f"offset {message.offset} of {topic}[{message.partition}] is passed: {error}", markup=False)
                            continue
                        yield event
        finally:
            await consumer.stop()


def _ours(event: dict[str, Any]) -> dict[str, Any]:
    """Refuse somebody else's event."""
    if not str(event["type"]).startswith("pawsight.") or not isinstance(event["data"], dict):
        msg = f"type {event['type']!r} is none of Pawsight's"
        raise ValueError(msg)
    return event


async def _print_events(events: AsyncGenerator[dict[str, Any], None], lines: TextIO | None) -> None:
    async with aclosing(events) as open_events:
        async for event in open_events:
            if lines is None:
                out.print(event_line(event), soft_wrap=True)
            else:
                lines.write(json.dumps(event, ensure_ascii=False) + "\n")
                lines.flush()


def _lines(target: str | None) -> AbstractContextManager[TextIO | None]:
    if target is None:
        return nullcontext()
    if target == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(target).open("w", encoding="utf-8")
    except OSError as error:
        msg = f"--json {target}: {error.strerror}"
        raise CommandError(msg) from error
