"""`tools/run dlq list` and `tools/run dlq redrive`: looking at dead letters, and giving them another chance."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stream.timestamps import from_rfc3339, to_rfc3339
from tools import settings
from tools.errors import CommandError
from tools.options import (
    DEFAULT_ALERTS_TOPIC,
    DEFAULT_FRAMES_TOPIC,
    DEFAULT_GROUP,
    BootstrapOption,
    FramesTopicOption,
    JsonOption,
)
from tools.screen import err, out, progress_bar, write_json, write_json_lines

if TYPE_CHECKING:  # aiokafka stays out of --help
    from collections.abc import Sequence

    from stream.kafka.connection import KafkaConnection
    from tools.dlq.letters import Found, Letter, Wanted
    from tools.dlq.redrive import Redrive

PIPE_WIDTH = 240
"""Characters of a line where nobody says how wide the screen is."""

ReasonOption = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="WORD", help="Only this reason, such as truncated; may be given more than once."),
]
CameraOption = Annotated[
    list[str] | None, typer.Option("--camera", metavar="ID", help="Only this camera; may be given more than once.")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="Only what was dead-lettered then or later, RFC 3339.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")]


def list_letters(  # noqa: PLR0913  (a command's options)
    *,
    reason: ReasonOption = None,
    camera: CameraOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    bootstrap_servers: BootstrapOption = None,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    json_to: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="One dead letter per line to FILE instead; `-` is standard output."),
    ] = None,
) -> None:
    """Show records of the frames topic that could not be used, oldest first, each with its place and the reason.

    Example: [bold]tools/run dlq list --reason truncated --since 2026-01-31T00:00:00Z[/]
    """
    wanted = _wanted(reason, camera, since, limit)
    connection = settings.kafka_connection(bootstrap_servers)
    found = _find(connection, frames_topic)
    chosen = wanted.of(found.letters)
    if json_to is None:
        screen = out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
        screen.print(_table(chosen))
    else:
        write_json_lines(json_to, (letter.as_json() for letter in chosen))
    reasons = ", ".join(f"{name} {count}" for name, count in Counter(letter.reason for letter in chosen).most_common())
    err.print(f"{len(chosen)} of {len(found.letters)} dead letters{': ' if reasons else ''}{escape(reasons)}", soft_wrap=True)


def redrive(  # noqa: PLR0913  (a command's options)
    *,
    reason: ReasonOption = None,
    camera: CameraOption = None,
    since: SinceOption = None,
    limit: LimitOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Publish nothing, only say what would be.")] = False,
    bootstrap_servers: BootstrapOption = None,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    json: JsonOption = None,
) -> None:
    """Publish dead letters again to the frames topic: after a fix, say of a setting, they may be of use.

    Each goes to its own partition with its own key, value and headers, and one header more that says which dead letter it was.
    Time does not go back: a picture that is older than the last one of its camera counts as late and is not asked. Those that
    were redriven and failed again are published once, not twice. The dead letters stay where they are.

    Exit status 0: all that were chosen are published; 1: some cannot be, such as those that were too large to be kept whole.

    Example: [bold]tools/run dlq redrive --reason too_many_cameras --dry-run[/]
    """
    from tools.dlq.redrive import planned, publish

    wanted = _wanted(reason, camera, since, limit)
    connection = settings.kafka_connection(bootstrap_servers)
    found = _find(connection, frames_topic)
    plan = asyncio.run(planned(connection, frames_topic, wanted.of(found.letters), found.letters))
    err.print(f"{len(plan.letters)} of {len(found.letters)} dead letters are to be published to {frames_topic}", soft_wrap=True)
    try:
        if plan.letters and not dry_run:
            with progress_bar() as bar:
                task = bar.add_task("dead letters", total=len(plan.letters))
                asyncio.run(publish(connection, plan, lambda count: bar.advance(task, count)))
    finally:
        _report(plan, json, dry_run=dry_run)
    if plan.left:
        raise typer.Exit(1)


def _report(plan: "Redrive", json: str | None, *, dry_run: bool) -> None:
    """Say what the brokers have, after a failure, too."""
    if plan.again:
        err.print(f"{plan.again} were redriven before and failed again: the later dead letter stands for them", soft_wrap=True)
    for obstacle, count in plan.left.items():
        err.print(f"[yellow]warning:[/] {count} cannot be published: {obstacle.value}", soft_wrap=True)
    if json != "-":
        out.print(f"{plan.published} dead letters published{', as --dry-run wants it' if dry_run else ''}", soft_wrap=True)
    if json is not None:
        left = {obstacle.name.lower(): count for obstacle, count in plan.left.items()}
        figures = {"planned": len(plan.letters), "published": plan.published, "failed_again": plan.again, "left": left}
        write_json(json, figures)


def _wanted(reason: list[str] | None, camera: list[str] | None, since: str | None, limit: int | None) -> "Wanted":
    from tools.dlq.letters import Wanted

    try:
        since_s = None if since is None else from_rfc3339(since)
    except ValueError as error:
        msg = f"--since {since!r}: give a time such as 2026-01-31T12:00:00Z"
        raise CommandError(msg) from error
    return Wanted(frozenset(reason or ()), frozenset(camera or ()), since_s, limit)


def _find(connection: "KafkaConnection", frames_topic: str) -> "Found":
    from stream.kafka.topology import TopicNames
    from tools.dlq.letters import find_letters

    topic = TopicNames(frames_topic, DEFAULT_ALERTS_TOPIC, DEFAULT_GROUP).dead_letters
    err.print(f"reading {topic} at {connection.bootstrap_servers} to its end")
    with progress_bar() as bar:
        task = bar.add_task("partitions", total=None)
        found = asyncio.run(find_letters(connection, topic, lambda done, all_: bar.update(task, completed=done, total=all_)))
    if found.foreign:
        err.print(f"[yellow]warning:[/] {found.foreign} records of {escape(topic)} are no dead letters of ours: passed")
    return found


def _table(letters: "Sequence[Letter]") -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("dead-lettered", "record", "camera", "stage", "reason"):
        table.add_column(title, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("message")
    for letter in letters:
        again = f"[dim](redriven from {escape(letter.redriven)})[/] " if letter.redriven else ""
        table.add_row(
            to_rfc3339(letter.written_ms / 1000)[:19] + "Z",
            escape(str(letter.origin)),
            "[dim]none[/]" if letter.camera is None else escape(letter.camera),
            escape(letter.stage),
            escape(letter.reason),
            str(letter.value_bytes),
            again + escape(letter.message),
        )
    return table


dlq = typer.Typer(help="Records that could not be used: show them, publish them again.", no_args_is_help=True)
dlq.command("list")(list_letters)
dlq.command("redrive")(redrive)
