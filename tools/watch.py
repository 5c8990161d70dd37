"""`tools/run watch`: the worker over video files without a broker: the fastest first look, the same events as through Kafka."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from tools.errors import CommandError
from tools.options import (
    DEFAULT_GROUP,
    DEMO_QUESTIONS,
    ArtifactOption,
    CamerasOption,
    DeviceOption,
    GroupOption,
    ModelOption,
    QuestionsOption,
)
from tools.screen import err, event_line, out

if TYPE_CHECKING:  # torch and PyAV stay out of --help
    from stream.types import Event
    from tools.assembly import Device


def watch(  # noqa: PLR0913  (a command's options)
    videos: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Files, folders, globs, URLs, or CAMERA=VIDEO.")],
    *,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    group: GroupOption = DEFAULT_GROUP,
    form: Annotated[
        Literal["segments", "stills", "access-units"],
        typer.Option(
            "--as", help="How a camera would have sent the video; access-units: single frames as encoded (H.264, H.265)."
        ),
    ] = "segments",
    start_at: Annotated[
        str, typer.Option("--start-at", metavar="recorded|now|TIME", help="Capture time of the first pictures.")
    ] = "recorded",
    json_target: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="One CloudEvent per line, structured JSON, to FILE; `-` is standard output."),
    ] = None,
) -> None:
    """Show the events of recorded videos, as the worker would publish them.

    Example: [bold]tools/run watch yard.mp4 kitchen=/tmp/day3.mkv --json events.jsonl[/]

    As its camera encoded it: [bold]tools/run watch yard.mp4 --as access-units[/]
    """
    from tools.assembly import open_device
    from tools.devices import DeviceChoice
    from tools.playback import Complaints, Listener, play
    from tools.recordings import AsAccessUnits, AsSegments, AsStills, Form, Placement, find, parse_start

    recordings = find(videos, Placement(parse_start(start_at)))
    complaints = Complaints()

    with open_device(DeviceChoice.of(model, artifacts, devices, questions), cameras) as device, contextlib.ExitStack() as stack:
        stills = AsStills(sample_fps=device.asked.clock.sample_fps)
        forms: dict[str, Form] = {"segments": AsSegments(), "stills": stills, "access-units": AsAccessUnits()}
        target = None if json_target is None else stack.enter_context(_opened(json_target))
        counts = play(device, recordings, forms[form], Listener(_printer(device, group, target), complaints)).counts
    err.print(f"{counts.used} records, {counts.decoded} pictures decoded, {counts.answered} asked, {counts.events} events")
    if complaints.count:
        raise typer.Exit(1)


def _printer(device: "Device", group: str, target: TextIO | None) -> "Callable[[Event], None]":
    from stream.alerts import structured

    context = device.alert_context(group)

    def show(event: "Event") -> None:
        alert: dict[str, Any] = structured(event, context)
        if target is None:
            out.print(event_line(alert))
        else:
            target.write(json.dumps(alert, ensure_ascii=False) + "\n")
            target.flush()

    return show


@contextlib.contextmanager
def _opened(target: str) -> Iterator[TextIO]:
    if target == "-":
        yield sys.stdout
        return
    try:
        file = Path(target).open("w", encoding="utf-8")  # noqa: SIM115  (only opening may fail for the user's reason)
    except OSError as error:
        msg = f"--json {target}: {error.strerror}"
        raise CommandError(msg) from error
    with file:
        yield file
