"""`tools/run worker`: one process, one device, one member of the consumer group."""

import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.errors import PipelineError
from tools import settings
from tools.errors import CommandError
from tools.options import (
    DEFAULT_ALERTS_TOPIC,
    DEFAULT_FRAMES_TOPIC,
    DEFAULT_GROUP,
    DEMO_QUESTIONS,
    AlertsTopicOption,
    ArtifactOption,
    BootstrapOption,
    CamerasOption,
    DeviceOption,
    FramesTopicOption,
    GroupOption,
    ModelOption,
    QuestionsOption,
)
from tools.screen import err

if TYPE_CHECKING:  # torch and aiokafka stay out of --help
    from stream.protocol import StartFrom
    from tools.assembly import Attached, Attachment, Device

log = logging.getLogger(__name__)


def worker(  # noqa: PLR0913  (a command's options)
    *,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    bootstrap_servers: BootstrapOption = None,
    group: GroupOption = DEFAULT_GROUP,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    alerts_topic: AlertsTopicOption = DEFAULT_ALERTS_TOPIC,
    start_from: Annotated[
        str,
        typer.Option("--from", metavar="earliest|latest|TIME", help="Where a partition begins of which nothing is known yet."),
    ] = "earliest",
    accept_new_topic: Annotated[
        bool, typer.Option("--accept-new-topic", help="Begin anew where the frames topic was recreated or truncated.")
    ] = False,
    accept_state_loss: Annotated[
        bool, typer.Option("--accept-state-loss", help="Go on where the group's state is gone; open behaviours are forgotten.")
    ] = False,
    accept_older_revision: Annotated[
        bool,
        typer.Option("--accept-older-revision", help="Go on where the state is of a newer `revision` than the questions file."),
    ] = False,
) -> None:
    """Answer the questions about the frames topic and publish events to the alerts topic until stopped.

    Start more of them with the same --group to share the partitions. SIGTERM or Ctrl-C drains what was taken in, delivers it
    and leaves the group. SIGHUP reads the questions file again; one that cannot be taken leaves the old one in force.

    Exit status: 0 stopped in order; 2 wrong use or environment; 3 the device is lost. After 3 start it again: what was not
    delivered is read and asked anew.

    Example: [bold]tools/run worker --bootstrap-servers kafka:9092 --model Salesforce/blip-vqa-base --questions pets.toml[/]
    """
    from stream.kafka.topology import TopicNames, differences, frames_retention_s
    from stream.protocol import Policy

    early: list[int] = []  # a SIGHUP before there is a worker must not end the process, nor be forgotten
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    begin = parse_start_from(start_from)
    connection = settings.kafka_connection(bootstrap_servers)
    names = TopicNames(frames_topic, alerts_topic, group)
    wrong = asyncio.run(differences(connection, names))
    if wrong:
        msg = f"{'; '.join(map(str, wrong))}. `tools/run topics` creates missing ones; change the rest with the cluster's tools"
        raise CommandError(msg)
    retention_s = asyncio.run(frames_retention_s(connection, names))
    from tools.assembly import Attachment, open_device  # torch: only when there is something to work on
    from tools.devices import DeviceChoice

    with open_device(DeviceChoice.of(model, artifacts, devices, questions), cameras) as device:
        check_forgetting(names.frames, retention_s, device.asked.debounce.forget_after_s)
        err.print(f"{device.engine.described} is warm: joining group {group} at {connection.bootstrap_servers}")
        policy = Policy(accept_new_topic, accept_state_loss, accept_older_revision)
        asyncio.run(_run(device, Attachment(connection, names, begin, policy), _Hangups(questions, early)))
    err.print("stopped: what was taken in is delivered")


def check_forgetting(frames: str, retention_s: float, forget_after_s: float) -> None:
    """Return if no record can outlive what is known of its camera: it would be done again as a new camera's.

    Raises:
        CommandError: the topic keeps records as long as silent cameras are remembered, or longer.
    """
    if retention_s >= forget_after_s:
        msg = (
            f"{frames} keeps frames for {retention_s:.15g} s, and silent cameras are forgotten after {forget_after_s:.15g} s, "
            "which must be longer: lower the topic's retention.ms, or raise forget_after_s under [stream] in the questions file"
        )
        raise CommandError(msg)


@dataclass(frozen=True, slots=True)
class _Hangups:
    """What SIGHUP asks for."""

    questions: Path
    early: list[int]
    """SIGHUPs that came before the worker was at work."""

    async def heed(self, here: "Attached") -> None:
        """Reload the questions at each SIGHUP, one after the other, until cancelled."""
        hung_up = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up.set)
        if self.early:
            hung_up.set()
        while True:
            await hung_up.wait()
            hung_up.clear()
            try:
                revision = await here.reload(self.questions)
            except (CommandError, PipelineError) as error:
                err.print(f"[yellow]not reloaded, what was asked goes on:[/] {escape(str(error))}", soft_wrap=True)
            except Exception:  # whatever it is, the worker works and the next SIGHUP is heard
                log.exception("not reloaded, what was asked goes on")
            else:
                err.print(f"reloaded {escape(str(self.questions))}: asking revision {revision.number} ({revision.fingerprint})")


async def _run(device: "Device", attachment: "Attachment", hangups: _Hangups) -> None:
    from tools.assembly import attached

    async with attached(device, attachment) as here:
        running = here.worker
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, running.stop)
        heeding = asyncio.create_task(hangups.heed(here))
        err.print(f"working on {attachment.names.frames}; stop with Ctrl-C or SIGTERM")
        try:
            await running.run()
        finally:
            heeding.cancel()
        err.print(f"records {running.counts.received}, asked {running.counts.answered}, events {running.counts.events}")
        for partition in here.delivery.undecided:
            err.print(f"[yellow]waits for an open transaction of somebody:[/] {attachment.names.frames}[{partition}]")
        for parked in here.delivery.parked:
            err.print(f"[yellow]left alone:[/] {attachment.names.frames}[{parked.partition}]: {escape(parked.reason)}")


def parse_start_from(said: str) -> "StartFrom":
    """Read --from: `earliest`, `latest` or an RFC 3339 time, as seconds since the epoch.

    Raises:
        CommandError: none of them.
    """
    from stream.timestamps import from_rfc3339

    if said == "earliest":
        return "earliest"
    if said == "latest":
        return "latest"
    try:
        return from_rfc3339(said)
    except ValueError as error:
        msg = f"--from {said!r}: give earliest, latest, or a time such as 2026-01-31T12:00:00Z"
        raise CommandError(msg) from error
