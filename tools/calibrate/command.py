"""`tools/run calibrate`: scores that mean what they say, and thresholds for a stated rate of false alerts."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from tools.errors import CommandError
from tools.options import (
    DEMO_QUESTIONS,
    ArtifactOption,
    CamerasOption,
    DeviceOption,
    JsonOption,
    MarginOption,
    ModelOption,
    QuestionsOption,
    TruthOption,
    VideosArgument,
)
from tools.outputs import check_writable
from tools.screen import err, out, steps_bar, write_json

if TYPE_CHECKING:  # torch, PyAV and scikit-learn stay out of --help
    from stream.cameras import CameraRegistry
    from stream.types import Observation
    from tools.calibrate.per_question import Calibrated, Checked
    from tools.calibrate.thresholds import Watched
    from tools.questions import QuestionFile
    from tools.recordings import Recording
    from tools.scenes.script import Episode


def calibrate(  # noqa: PLR0913  (a command's options)
    videos: VideosArgument,
    *,
    truth: TruthOption,
    write_to: Annotated[Path, typer.Option("--out", metavar="FILE", help="The calibrated questions file.")],
    per_day: Annotated[
        float | None,
        typer.Option(
            "--false-per-camera-day",
            metavar="RATE",
            help="Choose thresholds that hold this rate of false alerts with 95 % confidence.",
            show_default="thresholds mean what they meant",
        ),
    ] = None,
    method: Annotated[
        Literal["platt", "isotonic"] | None,
        typer.Option("--method", help="Of the transforms.", show_default="isotonic where there is enough data, else platt"),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="VIDEO", help="Other videos, to tell what it does to their error; may be repeated."),
    ] = None,
    check_truth: Annotated[Path | None, typer.Option("--check-truth", metavar="FILE", help="What happens in them.")] = None,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    margin_s: MarginOption = 0.5,
    json: JsonOption = None,
) -> None:
    """Fit a score transform to each question, so that its scores are probabilities, and write a questions file with them.

    Platt's two numbers, or from 1,000 frames of the rarer kind on an isotonic curve. Each is tried on recordings that it was not
    fitted to; one that does not lower the calibration error there is left out. Thresholds go through the transform with the
    scores, so that events stay the same, or are chosen for --false-per-camera-day: the most episodes found at a rate of each
    question's false alerts whose upper bound (bootstrap over hours of recordings, and Poisson) is at most that. It holds for
    cameras and hours like those recorded. Without any false alert it takes 3 / RATE camera-days. An alert is false if what it
    tells is not there between its start and stop_after_s after it was told: later the rule could have ended it.

    Workers take the file like any other: its revision is one higher, and alerts carry the calibrated scores.

    Example: [bold]tools/run calibrate recordings/ --truth truth.csv --questions pets.toml --false-per-camera-day 0.5
    --out pets-calibrated.toml[/]
    """
    from tools.assembly import open_device
    from tools.calibrate.per_question import Wanted, calibrate_each, gathered
    from tools.calibrate.per_question import check as check_on
    from tools.calibrate.question_file import Original, Provenance, write
    from tools.calibrate.thresholds import Given
    from tools.devices import DeviceChoice

    original = Original.read(questions)
    if write_to.resolve() == questions.resolve():
        msg = f"--out {write_to} is what is calibrated, and is needed to calibrate again: give another file"
        raise CommandError(msg)
    check_writable("--out", write_to)
    here = _Material.of(videos, truth, original.asked)
    there = _check_material(check, check_truth, original.asked)
    _refuse_rate(per_day, here.length_days, "hold")
    with open_device(DeviceChoice.of(model, artifacts, devices, questions), cameras) as device:
        watched = here.watch(device)
        beyond = None if there is None else there.watch(device)
        described, manifest, registry = device.engine.described, device.engine.artifact.manifest, device.cameras
    _refuse_nothing(watched)
    _refuse_rate(per_day, watched.camera_days, "show frames of")
    wanted = Wanted(Given(original.asked.debounce, registry), margin_s, method, per_day)
    with steps_bar() as report:
        found = calibrate_each(watched, wanted, report)
    checked = None if beyond is None else check_on(found, gathered(beyond, wanted))
    err.print(f"{escape(described)}: {len(here.recordings)} recordings, {watched.camera_days:.3g} camera-days", soft_wrap=True)
    if json is not None:
        told = {"artifact": manifest.id, "precision": manifest.precision.value, "out": str(write_to)}
        write_json(json, told | as_json(found, watched.camera_days, per_day, checked))
    if json != "-":
        _print(found, checked)
    _tell_own_thresholds(found, registry)
    recordings, days = len(here.recordings), watched.camera_days
    write(write_to, found, original, Provenance(manifest, truth.name, here.truth_sha256, recordings, days, per_day))
    err.print(f"written: {escape(str(write_to))}", soft_wrap=True)


def _refuse_nothing(watched: "Watched") -> None:
    if not watched.camera_days > 0:
        msg = "the recordings show less than two asked frames: give longer ones, of cameras that are enabled"
        raise CommandError(msg)


def _check_material(check: list[str] | None, truth: Path | None, asked: "QuestionFile") -> "_Material | None":
    if (check is None) != (truth is None):
        msg = "--check and --check-truth belong together: give the videos and what happens in them"
        raise CommandError(msg)
    return None if check is None or truth is None else _Material.of(check, truth, asked)


def _refuse_rate(per_day: float | None, days: float | None, verb: str) -> None:
    """Refuse a rate that no result on these recordings could show."""
    from tools.calibrate.thresholds import least_days

    if per_day is None:
        return
    if not 0 < per_day < float("inf"):
        msg = f"--false-per-camera-day {per_day:g}: give a number over 0, such as 0.5 for one false alert in two days of a camera"
        raise CommandError(msg)
    if days is not None and days < least_days(per_day):
        msg = (
            f"--false-per-camera-day {per_day:g}: the recordings {verb} {days:.3g} camera-days, and to be 95 % sure of that rate "
            f"takes {least_days(per_day):.3g} without one false alert: record more, or ask for {least_days(days):.3g} or more"
        )
        raise CommandError(msg)


@dataclass(frozen=True, slots=True)
class _Material:
    """Recordings and their truth."""

    recordings: "Sequence[Recording]"
    happened: "dict[str, tuple[Episode, ...]]"
    truth_sha256: str
    lost_after_s: float
    length_days: float | None
    """None where a file does not tell its length."""

    @classmethod
    def of(cls, videos: list[str], truth: Path, asked: "QuestionFile") -> "_Material":
        from tools.calibrate.thresholds import DAY_S
        from tools.evaluate.truth import Video, read_truth
        from tools.playback import BEGAN_S
        from tools.recordings import Placement, find, length_s

        recordings = find(videos, Placement(BEGAN_S))
        judged = [Video(each.camera, each.url, length_s(each)) for each in recordings]
        happened = read_truth(truth, judged, list(asked.debounce.by_behavior))
        lengths = [video.length_s for video in judged]
        known = [length for length in lengths if length is not None]
        sealed = hashlib.sha256(truth.read_bytes()).hexdigest()
        lost_after_s = asked.debounce.lost_after_s
        return cls(recordings, happened, sealed, lost_after_s, sum(known) / DAY_S if len(known) == len(lengths) else None)

    def watch(self, device: Any) -> "Watched":
        from tools.calibrate.thresholds import Watched
        from tools.playback import BEGAN_S, hear

        by_camera: dict[str, list[Observation]] = defaultdict(list)
        for one in hear(device, self.recordings).observations:
            by_camera[one.camera_id].append(one)
        return Watched(by_camera, self.happened, BEGAN_S, self.lost_after_s)


def as_json(
    found: "Sequence[Calibrated]", camera_days: float, per_day: float | None, checked: "Checked | None"
) -> dict[str, Any]:
    """The figures as one document."""
    told: dict[str, Any] = {
        "camera_days": camera_days,
        "false_per_camera_day": per_day,
        "behaviors": [_behavior(one) for one in found],
        "check": None,
    }
    if checked is not None:
        told["check"] = {
            "ece_before": checked.mean(checked.before),
            "ece_after": checked.mean(checked.after),
            "lowers": checked.lowers,
            "behaviors": [
                {"behavior": name, "frames": checked.frames[name], "ece_before": before, "ece_after": checked.after[name]}
                for name, before in checked.before.items()
            ],
        }
    return told


def _behavior(one: "Calibrated") -> dict[str, Any]:
    fitted, tried = one.fitted, one.tried
    return {
        "behavior": one.behavior,
        "frames": one.frames,
        "true_frames": one.true_frames,
        "method": None if fitted is None else fitted.method,
        "why": one.kept_because if fitted is None else fitted.why,
        "ece_before": None if fitted is None else fitted.ece_before,
        "ece_after": None if fitted is None else fitted.ece_after,
        "start_above": tried.start_above,
        "stop_below": tried.stop_below,
        "episodes": tried.episodes,
        "found": tried.found,
        "false": tried.false,
        "false_per_camera_day": tried.per_day,
        "false_per_camera_day_interval": list(tried.interval),
    }


def _print(found: "Sequence[Calibrated]", checked: "Checked | None") -> None:
    table = Table(title="Calibration", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("behaviour", no_wrap=True)
    for column in ("true/all\nframes", "form", "error", "then", "start\nabove", "found", "false", "a day,\n5-95 %"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in found:
        fitted, tried = one.fitted, one.tried
        errors = ("-", "-") if fitted is None else (f"{fitted.ece_before:.3f}", f"{fitted.ece_after:.3f}")
        rate = f"{tried.interval[0]:.2g}-{tried.interval[1]:.2g}"
        told = (f"{tried.start_above:.3f}", f"{tried.found}/{tried.episodes}", str(tried.false), rate)
        table.add_row(
            one.behavior, f"{one.true_frames}/{one.frames}", "as is" if fitted is None else fitted.method, *errors, *told
        )
    out.print(table)
    for one in found:
        said = f"kept: {one.kept_because}" if one.fitted is None else f"{one.fitted.method}: {one.fitted.why}"
        out.print(f"{one.behavior}: {escape(said)}")
    if checked is not None:
        out.print(_check_sentence(checked))


def _check_sentence(checked: "Checked") -> str:
    before, after = checked.mean(checked.before), checked.mean(checked.after)
    if before is None or after is None:
        return "On the check recordings no behaviour has both true and false frames: nothing can be said of its error"
    rises = [name for name, error in checked.before.items() if checked.after[name] > error]
    worse = f"; it rises for {', '.join(rises)}" if rises else ""
    if checked.lowers:
        return f"On the check recordings the calibration error falls from {before:.4f} to {after:.4f}{worse}"
    return f"On the check recordings the calibration error does not fall: {before:.4f} before, {after:.4f} after{worse}"


def _tell_own_thresholds(found: "Sequence[Calibrated]", cameras: "CameraRegistry") -> None:
    """Say which cameras' own thresholds still count in the scores before."""
    turned = {one.behavior: one.calibration for one in found if one.calibration is not None}
    for camera, spec in cameras.by_id.items():
        for behavior in sorted(spec.thresholds.keys() & turned.keys()):
            said = (
                f"camera {camera!r} has its own thresholds of {behavior}, which now compare with calibrated scores: review them"
            )
            err.print(f"[yellow]warning:[/] {escape(said)}", soft_wrap=True)
