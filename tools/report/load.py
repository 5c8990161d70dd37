"""What `stress` measured, as charts and a table. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import ceil, floor, log10
from typing import Any

from tools.report.load_results import Cell, Load, Profile, Through
from tools.report.markup import Html, facts, joined, table, tag, tiles
from tools.report.plots import Axes, Tick, bar, dots, line, plot, scale

_MANY = 10
"""Of cells: their names stand upright."""
_LEAST_MS = 0.001
_MOST_VALUES = 6
_ROOM = 1.12
"""Above the highest bar."""


def load(shown: Load) -> Html:
    """Show a grid: what follows from it, latency over throughput, and every figure."""
    parts = [tiles(_told(shown)), *(tag("p", warning, class_="bad") for warning in shown.warnings)]
    if shown.grid:
        parts += [_latency(shown.grid), _throughput(shown), _table(shown.grid)]
    if shown.kafka is not None:
        parts.append(_through(shown.kafka))
    return joined([*parts, facts([("artifact", shown.artifact), *_machine(shown.machine)])])


def profile(shown: Profile) -> Html:
    """Show a profile: what a machine does with an artifact."""
    told = [("frames/s, saturated", f"{shown.throughput_fps:.1f}", "")]
    if shown.open_loop_fps is not None and shown.p99_ms is not None:
        told += [("frames/s, open loop", f"{shown.open_loop_fps:.1f}", ""), ("p99 there", f"{shown.p99_ms:.1f} ms", "")]
    on = [
        ("measured", shown.date),
        ("model", shown.model),
        ("artifact", shown.artifact),
        ("device", f"{shown.device}, {shown.precision}"),
        ("questions", f"{shown.questions}, {shown.questions_fingerprint}"),
        *_machine(shown.machine),
    ]
    return joined([tiles(told), facts(on)])


def _through(kafka: Through) -> Html:
    """Show how many cameras were held on the whole way, and each number that was tried."""
    told = [
        (f"cameras at {kafka.fps:g} frames/s", str(kafka.cameras), ""),
        ("capture to commit, p50", _ms(kafka.p50_ms), ""),
        ("capture to commit, p99", _ms(kafka.p99_ms), ""),
        ("lost, repeated or wrong", *_errors(kafka)),
    ]
    parts = [tag("h3", "Through Kafka"), tiles(told)]
    if kafka.trials:
        columns = ("cameras", "asked frames/s", "held", "lag grows by", "p50, ms", "p99, ms")
        rows = [
            (
                str(one.cameras),
                f"{one.asked_fps:.1f}",
                "yes" if one.held else "no",
                "-" if one.lag_growth is None else f"{100 * one.lag_growth:.1f} %",
                *("-" if milliseconds is None else f"{milliseconds:,.0f}" for milliseconds in (one.p50_ms, one.p99_ms)),
            )
            for one in kafka.trials
        ]
        parts.append(table("Every number of cameras that was tried", columns, rows))
    spent = kafka.cpu_s_per_1000_frames or {}
    seconds = [(f"processor s per 1,000 frames: {name}", f"{value:.3g}") for name, value in spent.items()]
    return tag("section", *parts, facts(seconds + ([("workers", str(kafka.workers))] if kafka.workers else [])))


def _errors(kafka: Through) -> tuple[str, str]:
    """Say how many and how to take it; what was published is counted at the end only, so that an interruption leaves it open."""
    if kafka.errors or kafka.conservation is not None:
        return str(kafka.errors), "bad" if kafka.errors else "good"
    return "not known", ""


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:,.0f} ms"


def _told(shown: Load) -> Iterator[tuple[str, str, str]]:
    if shown.saturation is not None:
        yield "frames/s, saturated", f"{shown.saturation.throughput_fps:.1f}", ""
        yield "concurrency limit to run with", str(shown.saturation.clients), ""
    if shown.open_loop is not None and shown.open_loop.p99_ms is not None:
        yield f"frames/s with p99 within {shown.open_loop.bound_ms:.3g} ms", f"{shown.open_loop.rate_fps:.1f}", ""
    if shown.grid or shown.open_loop is not None:  # else no answer was compared with its picture
        errors = sum(cell.errors for cell in shown.grid) + (shown.open_loop.errors if shown.open_loop is not None else 0)
        yield "answers of another picture", str(errors), "bad" if errors else "good"


def _machine(machine: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _plain(value)) for name, value in machine.items() if value is not None]


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _latency(grid: Sequence[Cell]) -> Html:
    values = _scale([cell.p50_ms for cell in grid] + [cell.p99_ms for cell in grid])
    low, span = log10(values[0]), log10(values[-1] / values[0])

    def up(milliseconds: float) -> float:
        return (log10(max(milliseconds, values[0])) - low) / span

    marks = []
    for kind, latencies in (("p50", [cell.p50_ms for cell in grid]), ("p99", [cell.p99_ms for cell in grid])):
        places = [(_middle(place, grid), up(value)) for place, value in enumerate(latencies)]
        for _, run in groupby(range(len(grid)), key=lambda place: grid[place].servers):
            marks.append(line([places[place] for place in run], f"through {kind}"))
        marks.append(dots(places, kind))
    ticks = [Tick(up(value), f"{value:,.6g}") for value in values]
    told = ", ".join(f"{cell.name} {cell.p50_ms:.3g} / {cell.p99_ms:.3g} ms" for cell in grid)
    words = f"Latency, p50 / p99, by #server-#client: {told}."
    drawn = plot(_across(grid, ticks, "latency, ms (logarithmic)"), words, *marks)
    key = tag(
        "span", tag("i", class_="swatch p50"), "p50 ", tag("i", class_="swatch p99"), "p99; a line for each number of servers"
    )
    return tag("figure", tag("figcaption", tag("strong", "Latency"), key), drawn, class_="grid-chart")


def _scale(milliseconds: Sequence[float]) -> list[float]:
    """Give a logarithmic axis its values: 1, 2 and 5 of each power of ten, or 1 alone where those are too many."""
    least, most = max(min(milliseconds), _LEAST_MS), max(*milliseconds, _LEAST_MS)
    powers = range(floor(log10(least)), ceil(log10(most)) + 2)
    for steps in ((1, 2, 5), (1,)):
        values = [step * 10.0**power for power in powers for step in steps]
        first = max(place for place, value in enumerate(values) if value <= least)
        last = min(place for place, value in enumerate(values) if value >= most and place > first)
        if last - first <= _MOST_VALUES:
            break
    return values[first : last + 1]


def _throughput(shown: Load) -> Html:
    grid, saturated = shown.grid, shown.saturation
    rate = shown.open_loop if shown.open_loop is not None and shown.open_loop.p99_ms is not None else None
    top, ticks = scale(max(*(cell.throughput_fps for cell in grid), rate.rate_fps if rate else 0.0) * _ROOM)
    marks = [
        bar(
            (place + 0.1) / len(grid),
            (place + 0.9) / len(grid),
            cell.throughput_fps / top,
            "bar best" if saturated and (cell.servers, cell.clients) == (saturated.servers, saturated.clients) else "bar",
        )
        for place, cell in enumerate(grid)
    ]
    key = [tag("i", class_="swatch best"), "saturated: the fewest clients at 95 % of the best "] if saturated else []
    if rate is not None:
        marks.append(line([(0.0, rate.rate_fps / top), (1.0, rate.rate_fps / top)], "open-loop"))
        key += [tag("i", class_="swatch open-loop"), f"open loop: {rate.rate_fps:.4g} frames/s hold"]
    words = f"Throughput by #server-#client: {', '.join(f'{cell.name} {cell.throughput_fps:.4g} frames/s' for cell in grid)}."
    drawn = plot(_across(grid, ticks, "frames/s"), words, *marks)
    return tag("figure", tag("figcaption", tag("strong", "Throughput"), tag("span", *key)), drawn, class_="grid-chart")


def _across(grid: Sequence[Cell], up: Sequence[Tick], up_title: str) -> Axes:
    names = [Tick(_middle(place, grid), cell.name) for place, cell in enumerate(grid)]
    return Axes(names, "#server-#client", up, up_title, turned=len(grid) > _MANY)


def _middle(place: int, grid: Sequence[Cell]) -> float:
    return (place + 0.5) / len(grid)


def _table(grid: Sequence[Cell]) -> Html:
    rows = [
        (cell.name, f"{cell.throughput_fps:.1f}", f"{cell.p50_ms:.1f}", f"{cell.p99_ms:.1f}", str(cell.errors)) for cell in grid
    ]
    return table("Every cell of the grid", ("#server-#client", "frames/s", "p50, ms", "p99, ms", "errors"), rows)
