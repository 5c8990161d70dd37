"""`tools/run diff`: two artifacts, questions files or precisions over the same recordings; exit status 1 if anything changed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from tools.errors import CommandError
from tools.options import (
    DEMO_CHECKPOINT,
    DEMO_QUESTIONS,
    ArtifactOption,
    CamerasOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuestionsOption,
    ReportOption,
    VideosArgument,
)
from tools.outputs import check_writable
from tools.screen import err, out, write_json

if TYPE_CHECKING:  # torch and PyAV stay out of --help
    from tools.devices import DeviceChoice
    from tools.diff.comparison import Difference
    from tools.diff.record import Played
    from tools.recordings import Recording
    from tools.sightings import Sighting

PRECISIONS = ("fp32", "bf16", "int8")


def diff(  # noqa: PLR0913  (a command's options)
    before: Annotated[str, typer.Argument(metavar="A", help="Artifact folder, questions file (.toml), or precision on the CPU.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The same for what it is compared with.")],
    videos: VideosArgument,
    *,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    json: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Tell what a change does to the events and answers of recordings, before an artifact or a questions file is rolled out.

    A and B each replace one thing; all else is as the options say, on both sides. Events of one camera and behaviour belong
    together if they overlap. An answer differs from 0.0001 on, and is flipped if P(yes) lies on the other side of one half.

    Exit status: 0 nothing changed; 1 something did.

    Examples: [bold]tools/run diff pets.toml pets-new.toml recordings/[/], [bold]tools/run diff fp32 int8 recordings/[/],
    [bold]tools/run diff out/blip-1 out/blip-2 yard.mp4[/]
    """
    from tools.devices import DeviceChoice
    from tools.diff.comparison import Run, compare
    from tools.diff.record import recorded
    from tools.playback import BEGAN_S
    from tools.recordings import Placement, find
    from tools.report.provenance import readable
    from tools.report.save import save_report

    if report is not None:
        check_writable("--report", report)
    recordings = find(videos, Placement(BEGAN_S))
    choice = DeviceChoice.of(model, artifacts, devices, questions)
    sides = [_side(said, choice) for said in (before, after)]
    played = []
    for name, side in zip(("before", "after"), sides, strict=True):
        described, one = _run(side, name, cameras, recordings)
        err.print(f"{side.name}: {described}: {len(one.heard.observations)} frames asked, {len(one.heard.sightings)} episodes")
        played.append(one)
    found = compare(*(Run(one.heard.sightings, one.heard.observations) for one in played))
    told = {"before": readable(before), "after": readable(after), "changed": not found.is_empty}
    told |= as_json(found) | recorded(recordings, played)
    if json is not None:
        write_json(json, told)
    if json != "-":
        _print(found)
    if report is not None:
        save_report(report, told, recordings)
    if not found.is_empty:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two."""

    name: str
    choice: "DeviceChoice"
    precision: str | None = None
    """To compile the model in, where that is what differs."""


def _side(said: str, choice: "DeviceChoice") -> _Side:
    path = Path(said)
    if said in PRECISIONS:
        if choice.artifacts:
            msg = f"{said}: an artifact has its precision: leave out --artifact, or give two artifacts"
            raise CommandError(msg)
        return _Side(said, choice, said)
    if path.is_dir():
        return _Side(said, replace(choice, artifacts=(path,)))
    if path.suffix == ".toml":
        return _Side(said, replace(choice, questions=path))
    msg = f"{said!r} is no folder of an artifact, no questions file (.toml) and no precision ({', '.join(PRECISIONS)})"
    raise CommandError(msg)


def _run(side: _Side, name: str, cameras: Path | None, recordings: "Sequence[Recording]") -> "tuple[str, Played]":
    from tools.assembly import open_device
    from tools.compile import cached
    from tools.diff.record import Played
    from tools.playback import hear
    from tools.report.provenance import side_of

    choice = side.choice
    if side.precision is not None:
        artifact = cached(choice.model or str(DEMO_CHECKPOINT), choice.questions, side.precision)
        choice = replace(choice, model=None, artifacts=(artifact.folder,))
    with open_device(choice, cameras) as device:
        told = side_of(device, f"{name}: {side.name}")
        return device.engine.described, Played(
            name, hear(device, recordings), told, list(device.asked.debounce.by_behavior.values())
        )


def as_json(found: "Difference") -> dict[str, Any]:
    """The figures as one document; times are seconds from a video's start."""
    return {
        "same": found.same,
        "gained": [asdict(one) for one in found.gained],
        "lost": [asdict(one) for one in found.lost],
        "shifted": [
            {"before": asdict(one.before), "after": asdict(one.after), "started_s": one.started_s, "ended_s": one.ended_s}
            for one in found.shifted
        ],
        "answers": [asdict(one) for one in found.answers],
        "frames_only_before": found.only_before,
        "frames_only_after": found.only_after,
        "behaviors_only_before": list(found.behaviors_before),
        "behaviors_only_after": list(found.behaviors_after),
    }


def _print(found: "Difference") -> None:
    if found.is_empty:
        out.print(f"nothing changed: {found.same} episodes at the same times, no answer differs")
        return
    out.print(_events_table(found))
    out.print(_answers_table(found))
    for what, behaviors in (("before", found.behaviors_before), ("after", found.behaviors_after)):
        if behaviors:
            out.print(f"asked {what} only: {', '.join(behaviors)}")
    if found.only_before or found.only_after:
        out.print(f"frames asked before only: {found.only_before}, after only: {found.only_after}")


def _events_table(found: "Difference") -> Table:
    table = _table(f"Events: {found.same} episodes as before", ("camera", "behaviour", "", "start, s", "end, s"))
    for word, style, sightings in (("gained", "green", found.gained), ("lost", "red", found.lost)):
        for one in sightings:
            table.add_row(escape(one.camera), one.behavior, f"[{style}]{word}[/]", *_times(one))
    for shift in found.shifted:
        ended = "-" if shift.ended_s is None else f"{shift.ended_s:+.1f}"
        start, end = _times(shift.after)
        row = (f"{start} ({shift.started_s:+.1f})", f"{end} ({ended})")
        table.add_row(escape(shift.after.camera), shift.after.behavior, "[yellow]shifted[/]", *row)
    return table


def _times(one: "Sighting") -> tuple[str, str]:
    return f"{one.at_s:.1f}", "open" if one.ended_at_s is None else f"{one.ended_at_s:.1f}"


def _answers_table(found: "Difference") -> Table:
    columns = ("behaviour", "frames", "differing", "flipped", "largest |dP|", "mean |dP|")
    table = _table("Answers", columns)
    for one in found.answers:
        sizes = (f"{one.max_abs_dp:.4f}", f"{one.mean_abs_dp:.5f}")
        table.add_row(one.behavior, str(one.frames), str(one.differing), str(one.flipped), *sizes)
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column not in {"camera", "behaviour", ""} else "left", no_wrap=True)
    return table
