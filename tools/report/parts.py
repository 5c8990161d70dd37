"""What several commands' results have in common on the page: what ran, timelines, histograms. Pure."""

from collections.abc import Sequence
from pathlib import PurePath

from tools.report import cards, lanes
from tools.report.cards import Pictures
from tools.report.markup import Html, facts, joined, table, tag
from tools.report.plots import spread
from tools.report.record import Histogram, Run, Timeline

_KEYS = {
    "truth": tag("span", tag("i", class_="swatch truth"), "true"),
    "curve": tag("span", tag("i", class_="swatch curve"), "P(yes), 0 to 1; dashed: the start's threshold"),
    "event": tag("span", tag("i", class_="swatch event"), "told by events, pale until then"),
}


def in_short(run: Run) -> Html:
    """Say in a line what ran, when and where; the rest stands at the end."""
    models = " against ".join(
        dict.fromkeys(f"{PurePath(side.model).name}, {side.precision} on {side.device}" for side in run.sides)
    )
    day, _, time = run.ended_at.partition("T")
    return tag("p", f"{day} {time[:5]} UTC: {models}", class_="in-short")


def what_ran(run: Run, *more: tuple[str, str]) -> Html:
    """Show command, machine, versions and hashes, and what was asked."""
    rows = [
        ("command", tag("code", run.command)),
        ("ended", run.ended_at),
        ("commit", run.commit),
        ("machine", f"{run.processor}, {run.cores} cores"),
        *more,
    ]
    parts = [tag("h3", "What ran"), facts(rows)]
    for side in run.sides:
        versions = {"Python": run.python} | dict(side.versions)
        told = [
            ("model", side.model),
            ("device", f"{side.device}, {side.precision}"),
            ("artifact, SHA-256", tag("code", side.artifact)),
            ("weights, SHA-256", tag("code", side.weights)),
            ("questions, fingerprint", tag("code", f"{side.questions}, revision {side.revision}")),
            ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ]
        asked = [
            (
                one.behavior,
                one.ask,
                *(f"{value:g}" for value in (one.start_above, one.stop_below, one.start_after_s, one.stop_after_s)),
            )
            for one in side.asked
        ]
        columns = ("behaviour", "question", "start above", "stop below", "start after, s", "stop after, s")
        caption = f"What was asked {side.name}".strip()
        parts += [tag("h4", side.name)] if side.name else []
        parts += [facts(told), tag("details", tag("summary", caption), table(caption, columns, asked))]
    return tag("section", *parts)


def timelines(shown: Sequence[Timeline], key: str, pictures: Pictures | None, false: str) -> Html:
    """Show every camera of one run: its lanes and its events as cards."""
    has_truth = any(lane.truth is not None for timeline in shown for lane in timeline.lanes)
    legend = tag("p", *(mark for name, mark in _KEYS.items() if name != "truth" or has_truth), class_="legend")
    parts = []
    for number, timeline in enumerate(shown, 1):
        found, places = cards.of_timeline(timeline, f"{key}-t{number}", false)
        parts += [tag("h4", timeline.video), lanes.drawn(timeline, places), cards.shown(found, pictures)]
    return tag("section", tag("h3", "Timelines"), legend, *parts)


def histograms(shown: Sequence[Histogram]) -> Html:
    """Show how long things took."""
    if not shown:
        return joined([])
    return tag("section", tag("h3", "Latency"), tag("div", *(spread(one) for one in shown), class_="pair"))
