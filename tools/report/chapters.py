"""What each command's result becomes on the page. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from tools.report import counters, load
from tools.report.cards import Pictures, Wanted
from tools.report.changes import changes, difference
from tools.report.load_results import Load, Profile
from tools.report.markup import Html, joined, table, tag, tiles
from tools.report.parts import histograms, in_short, timelines, what_ran
from tools.report.plots import seconds
from tools.report.record import Timeline
from tools.report.results import Demo, Difference, Evaluation, Performance, Result

_ALL = 100.0


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the page with a heading of its own."""

    key: str
    """Its id; those within begin with it."""
    title: str
    body: Html


def chapters(results: Sequence[Result], pictures: Pictures | None) -> list[Chapter]:
    """Make a chapter of each result; of a demo of several seeds one for each."""
    made: list[Chapter] = []
    for result in results:
        for title, show in _parts(result, pictures):
            key = f"c{len(made) + 1}"
            made.append(Chapter(key, title, show(key)))
    return made


def moments(results: Sequence[Result]) -> Iterator[Wanted]:
    """Give every picture that the page shows."""
    for result in results:
        if isinstance(result, Difference):
            videos = {timeline.camera: timeline.video for timeline in result.timelines}
            yield from (Wanted(videos[change.shown.camera], change.shown.start_s) for change in changes(result))
        elif isinstance(result, Demo):
            yield from began(timeline for seed in result.seeds for timeline in seed.timelines)
        elif isinstance(result, Evaluation):
            yield from began(result.timelines)


def began(shown: Iterable[Timeline]) -> Iterator[Wanted]:
    """Give the pictures of all that was told, and of all that should have been."""
    for timeline in shown:
        for lane in timeline.lanes:
            yield from (Wanted(timeline.video, told.start_s) for course in lane.courses for told in course.told)
            missed = (truth for truth in lane.truth or () if truth.outcome == "missed")
            yield from (Wanted(timeline.video, truth.start_s, is_told=False) for truth in missed)


_Part = tuple[str, Callable[[str], Html]]


def _parts(result: Result, pictures: Pictures | None) -> Iterator[_Part]:
    match result:
        case Demo():
            for seed in result.seeds:
                yield f"Demo, seed {seed.seed}", partial(_performance, result, seed, pictures)
        case Evaluation():
            yield "Evaluation", partial(_evaluation, result, pictures)
        case Difference():
            before, after = PurePath(result.before).name, PurePath(result.after).name
            names = f"{result.before} → {result.after}" if before == after else f"{before} → {after}"
            yield f"Difference: {names}", partial(_difference, result, pictures)
        case Load():
            yield "Stress test", lambda _: _stress(result)
        case Profile():
            yield "Profile of a machine", lambda _: load.profile(result)


def _performance(demo: Demo, seed: Performance, pictures: Pictures | None, key: str) -> Html:
    episodes = seed.found + seed.missed
    told = tiles(
        [
            ("episodes found", f"{seed.found} of {episodes}", "bad" if seed.missed else "good"),
            ("invented", str(seed.invented), "bad" if seed.invented else "good"),
            ("late", str(seed.late), "bad" if seed.late else "good"),
            ("cameras", str(len(seed.timelines)), ""),
            ("took", f"{seed.wall_s:.0f} s", ""),
        ]
    )
    broker = ("broker", f"{demo.broker.name} {demo.broker.version}")
    parts = (timelines(seed.timelines, key, pictures, "invented"), _counters({"": seed.frames}), histograms(seed.latency))
    return joined([in_short(demo.run), told, *parts, what_ran(demo.run, broker)])


def _evaluation(found: Evaluation, pictures: Pictures | None, key: str) -> Html:
    episodes, false = found.found_percent, found.false_percent
    told = tiles(
        [
            ("episodes found", _percent(episodes), "" if episodes is None else "good" if episodes >= _ALL else "bad"),
            ("false events", _percent(false), "" if false is None else "bad" if false else "good"),
            ("false per camera-hour", _number(found.false_per_camera_hour, 2), ""),
            ("episodes", str(found.episodes), ""),
            ("camera-hours", f"{found.camera_hours:.3g}", ""),
        ]
    )
    parts = (
        _figures(found),
        timelines(found.timelines, key, pictures, "false"),
        _counters({"": found.frames}),
        histograms(found.latency),
    )
    return joined([in_short(found.run), told, *parts, what_ran(found.run)])


def _figures(found: Evaluation) -> Html:
    events = [
        (
            one.behavior,
            f"{one.found} of {one.episodes}",
            f"{one.false} of {one.events}",
            f"{one.splits}",
            f"{one.merges}",
            *(_number(share, 2) for share in (one.precision, one.recall, one.f1)),
            *(_time(s) for s in (one.delay_p50_s, one.delay_p95_s, one.end_delay_p50_s, one.end_delay_p95_s)),
        )
        for one in found.behaviors
    ]
    delays = ("start p50", "start p95", "end p50", "end p95")
    head = ("behaviour", "found", "false", "splits", "merges", "precision", "recall", "F1", *delays)
    frames = [
        (
            one.behavior,
            *(f"{count:,}" for count in (one.frames, one.true_frames, one.unknown_frames)),
            *(_number(figure, 3) for figure in (one.average_precision, one.roc_auc, one.brier, one.ece)),
        )
        for one in found.behaviors
    ]
    columns = ("behaviour", "frames", "true", "unknown", "average precision", "ROC AUC", "Brier", "calibration error")
    return tag(
        "section",
        tag("h3", "Figures"),
        table("Events beside the truth, and how long after it they came", head, events),
        table("Answers to single frames beside the truth", columns, frames),
    )


def _difference(found: Difference, pictures: Pictures | None, key: str) -> Html:
    told = _counters({"before": found.frames_before, "after": found.frames_after})
    return joined([in_short(found.run), difference(found, key, pictures), told, what_ran(found.run)])


def _stress(shown: Load) -> Html:
    told = load.load(shown)
    return told if shown.run is None else joined([in_short(shown.run), told, what_ran(shown.run)])


def _counters(sides: Mapping[str, Mapping[str, int]]) -> Html:
    parts = [joined([*([tag("h4", name)] if name else []), counters.shown(counted)]) for name, counted in sides.items()]
    return tag("section", tag("h3", "Counters"), *parts)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g} %"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _time(value_s: float | None) -> str:
    return "-" if value_s is None else seconds(value_s)
