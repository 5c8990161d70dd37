"""Options that mean the same in every command: one name, one environment variable, one help text.

Precedence, highest first: command line, environment variable, settings file, default (`tools.settings`).
"""

from pathlib import Path
from typing import Annotated

import typer

from tools.errors import CommandError

DEMO_CHECKPOINT = Path(__file__).parent.parent / "artifacts" / "demo"
"""The shipped checkpoint: a tiny BLIP trained on rendered pet scenes."""

DEMO_QUESTIONS = DEMO_CHECKPOINT / "questions.toml"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="PAWSIGHT_MODEL",
        metavar="DIR|HUB_ID",
        help="BLIP VQA checkpoint: a folder or a hub id such as Salesforce/blip-vqa-base.",
        show_default="the demo checkpoint",
    ),
]
"""Compiled for the CPU on first use. With --artifact: what the artifact must hold."""
ArtifactOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--artifact",
        envvar="PAWSIGHT_ARTIFACT",
        metavar="DIR",
        help="Compiled model (`tools/run compile`); may be repeated, once for each kind of device.",
    ),
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        envvar="PAWSIGHT_DEVICE",
        metavar="neuron:CORE|cuda:INDEX|cpu",
        help="Where to run; may be repeated: the first that starts is used.",
        show_default="what the artifacts are for, else cpu",
    ),
]
QuestionsOption = Annotated[
    Path,
    typer.Option(
        "--questions",
        envvar="PAWSIGHT_QUESTIONS",
        metavar="FILE",
        help="TOML file of questions and debounce rules.",
        show_default="the demo's eight questions",
    ),
]
BootstrapOption = Annotated[
    str | None,
    typer.Option(
        "--bootstrap-servers",
        envvar="PAWSIGHT_BOOTSTRAP_SERVERS",
        metavar="HOST:PORT,...",
        help="Kafka brokers to reach.",
        show_default="127.0.0.1:9092, where `tools/run broker` listens",
    ),
]
GroupOption = Annotated[
    str, typer.Option("--group", envvar="PAWSIGHT_GROUP", metavar="NAME", help="Consumer group of the workers.")
]
FramesTopicOption = Annotated[
    str, typer.Option("--frames-topic", envvar="PAWSIGHT_FRAMES_TOPIC", metavar="NAME", help="Topic the cameras publish to.")
]
AlertsTopicOption = Annotated[
    str, typer.Option("--alerts-topic", envvar="PAWSIGHT_ALERTS_TOPIC", metavar="NAME", help="Topic the events go to.")
]
CamerasOption = Annotated[
    Path | None,
    typer.Option(
        "--cameras", envvar="PAWSIGHT_CAMERAS", metavar="FILE", help="cameras.toml: partition, sample_fps, enabled, thresholds."
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the figures as JSON to FILE; `-` is standard output."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Show all that was found as one HTML page: timelines, pictures, counters."),
]

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
DEFAULT_GROUP = "pawsight"
DEFAULT_FRAMES_TOPIC = "frames"
DEFAULT_ALERTS_TOPIC = "alerts"


def parse_speed(said: str) -> float | None:
    """Read --speed: event time per wall time; None is as fast as it goes.

    Raises:
        CommandError: neither a number over 0 nor `max`.
    """
    if said == "max":
        return None
    try:
        speed = float(said)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        msg = f"--speed {said!r}: give a number over 0, such as 1 or 0.5 or 10, or max"
        raise CommandError(msg)
    return speed


def parse_seeds(said: str) -> range:
    """Read --seeds: the first and the last one, both included.

    Raises:
        CommandError: no two numbers in order.
    """
    first, _, last = said.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        msg = f"--seeds {said!r}: give two numbers, the smaller one first, such as 101-110"
        raise CommandError(msg)
    return range(int(first), int(last) + 1)


VideosArgument = Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Files, folders, globs, or CAMERA=VIDEO.")]
TruthOption = Annotated[
    Path, typer.Option("--truth", metavar="FILE", help="CSV or JSON of what happens: video, behavior, start_s, end_s.")
]
MarginOption = Annotated[
    float, typer.Option("--margin-s", min=0.0, help="Frames nearer to an edge of the truth do not count, seconds.")
]
"""People do not agree on edges."""
