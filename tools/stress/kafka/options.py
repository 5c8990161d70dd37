"""Options of `stress` that are of the way through Kafka, and what they mean together."""

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tools.errors import CommandError

if TYPE_CHECKING:  # numpy and av stay out of --help
    from tools.stress.kafka.pictures import Shape

ThroughOption = Annotated[
    Literal["kafka"] | None,
    typer.Option(
        "--through",
        help="kafka: after the grid, search for the most simulated cameras that worker processes keep up with.",
        show_default="the engine alone",
    ),
]
FpsOption = Annotated[
    float | None,
    typer.Option("--fps", metavar="N", help="Pictures per second of each camera.", show_default="as often as the questions ask"),
]
SizeOption = Annotated[
    str | None, typer.Option("--size", metavar="WxH", help="Pixels of the cameras' pictures.", show_default="640x480")
]
FormOption = Annotated[
    Literal["stills", "segments"] | None,
    typer.Option("--as", help="JPEG pictures, or H.264 segments of a second, which counts as latency.", show_default="stills"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Worker processes, in one group.", show_default="1")
]
PartitionsOption = Annotated[
    int | None, typer.Option("--partitions", metavar="N", help="Partitions of the topics.", show_default="12")
]
CamerasOption = Annotated[
    int | None,
    typer.Option("--cameras", metavar="N", help="Try no more cameras than this.", show_default="10,000 a partition"),
]

CAMERAS_PER_PARTITION = 10_000
"""A worker takes no more (`stream.intake.IntakeConfig`)."""
_PARTITIONS = 12
_SIZE = "640x480"
_LEAST_FPS, _MOST_FPS = 0.1, 60.0
"""Below, a camera's segment would be longer than 10 s; above, no camera of ours goes."""
_LEAST_SIDE, _MOST_SIDE = 32, 4096


@dataclass(frozen=True, slots=True)
class Said:
    """The options as they were given; None: left out."""

    through: Literal["kafka"] | None
    fps: float | None
    size: str | None
    form: Literal["stills", "segments"] | None
    workers: int | None
    partitions: int | None
    cameras: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be measured through Kafka."""

    fps: float | None
    """None: as often as the questions ask."""
    size: tuple[int, int]
    form: str
    workers: int
    partitions: int
    cameras: int
    """The most that is tried."""

    def shape(self, sample_fps: float) -> "Shape":
        """Say what each camera sends, if workers sample so often."""
        from tools.stress.kafka.pictures import Shape

        return Shape(self.form, self.size, Fraction(self.fps or sample_fps).limit_denominator(1000))


@dataclass(frozen=True, slots=True)
class Place:
    """What workers are told besides the artifact."""

    questions: Path
    settings_file: Path | None
    """As this command has it."""
    bootstrap_servers: str | None
    """None: a broker of our own."""


def parse(said: Said, ask: Literal["all", "one"]) -> Wanted | None:
    """Check the options; None: not through Kafka.

    Raises:
        CommandError: naming the value and what would be right.
    """
    if said.through is None:
        _refuse_alone(said)
        return None
    if ask == "one":
        msg = "--ask one is of the engine alone, workers ask every question: leave it out, or --through kafka"
        raise CommandError(msg)
    fps, form = said.fps, said.form or "stills"
    if fps is not None and not _LEAST_FPS <= fps <= _MOST_FPS:
        msg = f"--fps {fps:g}: give {_LEAST_FPS:g} to {_MOST_FPS:g} pictures per second"
        raise CommandError(msg)
    workers = _counted("--workers", said.workers, 1)
    partitions = _counted("--partitions", said.partitions, _PARTITIONS)
    if workers > partitions:
        msg = f"--workers {workers} share --partitions {partitions}: some would have none; give as many partitions at least"
        raise CommandError(msg)
    most = CAMERAS_PER_PARTITION * partitions
    cameras = _counted("--cameras", said.cameras, most)
    if cameras > most:
        more = -(-cameras // CAMERAS_PER_PARTITION)
        msg = f"--cameras {cameras}: {partitions} partitions take {most} cameras at most: give --partitions {more} or more"
        raise CommandError(msg)
    return Wanted(fps, _size(said.size or _SIZE, form), form, workers, partitions, cameras)


def check_broker(wanted: Wanted | None, bootstrap_servers: str | None) -> None:
    """See before minutes of measuring that there is a broker, or that one can be started.

    Raises:
        CommandError: none can be started.
        SourceLost, StreamRefused: the one that is named does not answer, or does not let us in.
    """
    from stream.kafka.topology import reachable
    from tools.broker.find import broker_jars
    from tools.settings import kafka_connection

    if wanted is None:
        return
    if bootstrap_servers is None:
        broker_jars()
    else:
        asyncio.run(reachable(kafka_connection(bootstrap_servers)))


def _refuse_alone(said: Said) -> None:
    """Refuse what would have no effect."""
    given = {
        "--fps": said.fps,
        "--size": said.size,
        "--as": said.form,
        "--workers": said.workers,
        "--partitions": said.partitions,
        "--cameras": said.cameras,
    }
    for option, value in given.items():
        if value is not None:
            msg = f"{option} {value} is of the cameras and workers on Kafka: add --through kafka, or leave it out"
            raise CommandError(msg)


def _counted(option: str, value: int | None, default: int) -> int:
    if value is not None and value < 1:
        msg = f"{option} {value}: give 1 or more"
        raise CommandError(msg)
    return default if value is None else value


def _size(said: str, form: str) -> tuple[int, int]:
    """Read `640x480`."""
    parts = said.lower().split("x")
    sides = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    if len(parts) != 2 or len(sides) != 2 or not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in sides):  # noqa: PLR2004
        msg = f"--size {said}: give width and height, {_LEAST_SIDE} to {_MOST_SIDE} pixels each, such as 640x480"
        raise CommandError(msg)
    if form == "segments" and any(side % 2 for side in sides):
        msg = f"--size {said}: H.264 segments have even sides, such as {sides[0] & ~1}x{sides[1] & ~1}; or send --as stills"
        raise CommandError(msg)
    return sides[0], sides[1]
