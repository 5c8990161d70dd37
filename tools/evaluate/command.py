"""`tools/run evaluate`: whether the events are right, and how well and how honestly each frame is answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    ReportOption,
    TruthOption,
    VideosArgument,
)
from tools.outputs import check_writable
from tools.screen import err, out, write_json

if TYPE_CHECKING:  # torch, PyAV and scikit-learn stay out of --help
    from tools.evaluate.frames import Answered, FrameScores
    from tools.evaluate.matching import Matched
    from tools.evaluate.truth import Video
    from tools.playback import Heard
    from tools.scenes.script import Episode

_PERCENTILES = (50, 95)


def evaluate(  # noqa: PLR0913  (a command's options)
    videos: VideosArgument,
    *,
    truth: TruthOption,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    cameras: CamerasOption = None,
    margin_s: MarginOption = 0.5,
    plots: Annotated[Path | None, typer.Option("--plots", metavar="DIR", help="Draw curves and timelines there, as PNG.")] = None,
    json: JsonOption = None,
    report: ReportOption = None,
) -> None:
    """Compare the events and answers of recorded videos with what truly happens in them.

    An episode is found if an event overlaps it, an event is false if it overlaps none; episodes shorter than the rule's
    start_after_s are not expected. An episode within another one's cooldown_s counts as missed. Delays are of the event, with the
    rule's own seconds. Per frame: average precision, area under the ROC curve, Brier score, expected calibration error.

    Example: [bold]tools/run scenes --out out/videos --seeds 401-404[/], then
    [bold]tools/run evaluate out/videos --truth out/videos/truth.csv --plots out/plots[/]
    """
    from tools.assembly import open_device
    from tools.devices import DeviceChoice
    from tools.evaluate.frames import gather, score
    from tools.evaluate.matching import match
    from tools.evaluate.record import Judged, recorded
    from tools.evaluate.truth import Video, read_truth
    from tools.playback import BEGAN_S, hear
    from tools.questions import load_questions
    from tools.recordings import Placement, find, length_s
    from tools.report.provenance import run_of, side_of
    from tools.report.save import save_report

    if plots is not None:
        _prepare(plots)
    if report is not None:
        check_writable("--report", report)
    recordings = find(videos, Placement(BEGAN_S))
    rules = load_questions(questions).debounce.by_behavior
    judged = [Video(each.camera, each.url, length_s(each)) for each in recordings]
    happened = read_truth(truth, judged, list(rules))  # before minutes of answering
    with open_device(DeviceChoice.of(model, artifacts, devices, questions), cameras) as device:
        heard = hear(device, recordings)
        described, manifest, side = device.engine.described, device.engine.artifact.manifest, side_of(device)
    matched = match(happened, heard.sightings, {name: rule.start_after_s for name, rule in rules.items()})
    answered = gather(heard.observations, happened, BEGAN_S, {name: rule.min_share for name, rule in rules.items()}, margin_s)
    scores = [score(one) for one in answered]
    hours = heard.watched_s / 3600
    err.print(f"{escape(described)}: {len(judged)} videos, {len(heard.observations)} frames asked", soft_wrap=True)
    told = {"artifact": manifest.id, "precision": manifest.precision.value, "videos": [video.camera for video in judged]}
    told |= as_json(matched, scores, hours) | recorded(run_of([side]), judged, Judged(happened, heard, rules, matched))
    if json is not None:
        write_json(json, told)
    if json != "-":
        out.print(_events_table(matched, hours))
        out.print(_frames_table(scores))
    if plots is not None:
        for path in _draw(plots, judged, _Drawn(happened, heard, answered, rules)):
            err.print(f"drawn: {escape(str(path))}", soft_wrap=True)
    if report is not None:
        save_report(report, told, recordings)


def _prepare(plots: Path) -> None:
    from tools.charts import check_chart

    try:
        plots.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--plots {plots}: {error.strerror}. Give a folder that can be written"
        raise CommandError(msg) from error
    check_chart("--plots", plots / "timeline.png")


def as_json(matched: "Sequence[Matched]", scores: "Sequence[FrameScores]", hours: float) -> dict[str, Any]:
    """The figures as one document; shares in 0 to 1 or as per cent where the name says so, None where nothing can be said."""
    episodes, sightings = sum(one.episodes for one in matched), sum(one.sightings for one in matched)
    false = sum(one.false for one in matched)
    return {
        "behaviors": [_behavior(*pair) for pair in zip(matched, scores, strict=True)],
        "episodes": episodes,
        "events": sightings,
        "found_percent": _percent(sum(one.found for one in matched), episodes),
        "false_percent": _percent(false, sightings),
        "false_per_camera_hour": false / hours if hours else None,
        "camera_hours": hours,
    }


def _behavior(matched: "Matched", scores: "FrameScores") -> dict[str, Any]:
    starts, ends = _delays(matched.start_delays_s), _delays(matched.end_delays_s)
    return {
        "behavior": matched.behavior,
        "episodes": matched.episodes,
        "too_short": matched.too_short,
        "found": matched.found,
        "events": matched.sightings,
        "false": matched.false,
        "splits": matched.splits,
        "merges": matched.merges,
        "precision": matched.precision,
        "recall": matched.recall,
        "f1": matched.f1,
        "delay_p50_s": starts[0],
        "delay_p95_s": starts[1],
        "end_delay_p50_s": ends[0],
        "end_delay_p95_s": ends[1],
        "frames": scores.frames,
        "true_frames": scores.positives,
        "unknown_frames": scores.unknown,
        "average_precision": scores.average_precision,
        "roc_auc": scores.roc_auc,
        "brier": scores.brier,
        "ece": scores.ece,
    }


def _delays(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 95th percentile, between neighbours by line."""
    import numpy as np

    if not seconds:
        return None, None
    median, late = np.percentile(seconds, _PERCENTILES)
    return float(median), float(late)


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def _events_table(matched: "Sequence[Matched]", hours: float) -> Table:
    columns = ("found", "false", "split", "merge", "prec.", "recall", "F1", "start, s\np50 p95", "end, s\np50 p95")
    table = _table("Events", columns)
    for one in matched:
        found, false = f"{one.found}/{one.episodes}", f"{one.false}/{one.sightings}"
        shares = (one.precision, one.recall, one.f1)
        delays = (_delays(one.start_delays_s), _delays(one.end_delays_s))
        table.add_row(
            one.behavior, found, false, str(one.splits), str(one.merges), *map(_share, shares), *(_s(*pair) for pair in delays)
        )
    false_events = sum(one.false for one in matched)
    skipped = sum(one.too_short for one in matched)
    per_hour = f"{false_events / hours:.2f} false events per camera-hour over {hours:.2f} camera-hours" if hours else "no frame"
    table.caption = f"{per_hour}; {skipped} episodes are shorter than their rule's start_after_s and not expected"
    return table


def _frames_table(scores: "Sequence[FrameScores]") -> Table:
    columns = ("frames", "true", "unknown", "average\nprec.", "ROC\nAUC", "Brier", "calibr.\nerror")
    table = _table("Frames", columns)
    for one in scores:
        figures = (one.average_precision, one.roc_auc, one.brier, one.ece)
        table.add_row(one.behavior, str(one.frames), str(one.positives), str(one.unknown), *(_share(each, 3) for each in figures))
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("behaviour", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _share(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _s(p50: float | None, p95: float | None) -> str:
    return "-" if p50 is None or p95 is None else f"{p50:.1f} {p95:.1f}"


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What the charts show."""

    happened: "Mapping[str, Sequence[Episode]]"
    heard: "Heard"
    answered: "Sequence[Answered]"
    rules: Mapping[str, Any]


def _draw(folder: Path, videos: "Sequence[Video]", drawn: _Drawn) -> list[Path]:
    from tools.evaluate.plot import Lane, save_separation, save_timeline
    from tools.playback import BEGAN_S

    paths = save_separation(drawn.answered, {name: rule.start_above for name, rule in drawn.rules.items()}, folder)
    for video in videos:
        own = [one for one in drawn.heard.observations if one.camera_id == video.camera]
        at_s = [one.captured_at_s - BEGAN_S for one in own]
        lanes = [
            Lane(
                name,
                [one for one in drawn.happened[video.camera] if one.behavior == name],
                [one for one in drawn.heard.sightings if (one.camera, one.behavior) == (video.camera, name)],
                at_s,
                [one.answers[name].p_yes for one in own],
                rule.start_above,
                rule.stop_below,
            )
            for name, rule in drawn.rules.items()
        ]
        paths.append(folder / f"timeline-{video.camera}.png")
        save_timeline(video.camera, video.length_s or max(at_s, default=1.0), lanes, paths[-1])
    return paths
