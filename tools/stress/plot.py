"""The grid of `stress` as a chart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tools.charts import GREY, PALETTE, save_chart, tidy
from tools.stress.figures import Cell, Measured, saturation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P50, _P99, _RATE, _OPEN = PALETTE[:4]
_INCHES_A_CELL, _LEAST_INCHES = 0.5, 8.0
_HEIGHT_INCHES = 7.2


def save_plot(measured: Measured, title: str, path: Path) -> str:
    """Draw to a file.

    Returns:
        What the picture shows, in words; also in the file, as its Description.

    Raises:
        CommandError: the file cannot be written.
    """
    words = alt_text(measured)
    save_chart(draw(measured, title), path, title, words)
    return words


def alt_text(measured: Measured) -> str:
    """What the picture shows, for those who cannot see it."""
    cells = ", ".join(
        f"{cell.name}: {cell.p50_ms:.3g} / {cell.p99_ms:.3g} ms, {cell.throughput_fps:.4g} frames/s" for cell in measured.grid
    )
    saturated = saturation(measured.grid)
    told = [f"Latency p50 / p99 and throughput by #server-#client: {cells}."]
    if saturated is not None:
        told.append(f"Saturated at {saturated.name}.")
    if measured.open_loop is not None:
        rate = measured.open_loop
        told.append(f"Open loop: {rate.rate_fps:.4g} frames/s with p99 within {_shown(rate.bound_ms)} ms.")
    return " ".join(told)


def draw(measured: Measured, title: str) -> "Figure":
    """Draw two panels over the same cells: latency above, throughput below."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    width = max(_LEAST_INCHES, _INCHES_A_CELL * len(measured.grid) + 2)
    figure = Figure(figsize=(width, _HEIGHT_INCHES), layout="constrained")
    figure.suptitle(title)
    latency, rate = figure.subplots(2, 1, sharex=True)
    _draw_latency(latency, measured.grid)
    _draw_throughput(rate, measured)
    return figure


def _draw_latency(axes: "Axes", grid: Sequence[Cell]) -> None:
    for servers in dict.fromkeys(cell.servers for cell in grid):  # a line for each number of servers
        places = [place for place, cell in enumerate(grid) if cell.servers == servers]
        for colour, marker, values in (
            (_P50, "o", [grid[place].p50_ms for place in places]),
            (_P99, "s", [grid[place].p99_ms for place in places]),
        ):
            axes.plot(places, values, marker=marker, markersize=5, color=colour)
    if grid:
        axes.lines[0].set_label("p50")
        axes.lines[1].set_label("p99")
        axes.legend(frameon=False, loc="upper left")
        _scale(axes)
    axes.set_ylabel("latency, ms (logarithmic)")
    axes.grid(visible=True, axis="y", alpha=0.3, which="both")
    tidy(axes)


def _scale(axes: "Axes") -> None:
    """Make the axis logarithmic, with plain numbers at 1, 2 and 5 of each power."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_throughput(axes: "Axes", measured: Measured) -> None:
    grid, saturated = measured.grid, saturation(measured.grid)
    colours = [_RATE if cell is saturated else GREY for cell in grid]
    axes.bar(range(len(grid)), [cell.throughput_fps for cell in grid], color=colours)
    if saturated is not None:
        place = grid.index(saturated)
        axes.annotate(
            "saturated", (place, saturated.throughput_fps), xytext=(0, 4), textcoords="offset points", ha="center", color=_RATE
        )
    if measured.open_loop is not None and measured.open_loop.p99_ms is not None:
        rate = measured.open_loop
        axes.axhline(rate.rate_fps, color=_OPEN, linestyle="--", linewidth=1.2)
        label = f"- -  open loop: {rate.rate_fps:.4g} frames/s with p99 within {_shown(rate.bound_ms)} ms"
        axes.set_title(label, loc="right", color=_OPEN, fontsize="medium")
    axes.set_xticks(range(len(grid)), [cell.name for cell in grid], rotation=45 if len(grid) > 12 else 0)  # noqa: PLR2004  (they would touch)
    axes.set_xlabel("#server-#client")
    axes.set_ylabel("throughput, frames/s")
    axes.margins(y=0.12)
    tidy(axes)


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:,.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"  # noqa: PLR2004  (three digits are enough)
