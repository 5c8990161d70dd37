"""The figures of `bench model` as a chart."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bench.figures import Figures
from tools.charts import GREY, PALETTE, save_chart, tidy
from tools.machine import processor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = dict(zip(("fp32", "bf16", "int8"), PALETTE, strict=False))
_INCHES = (13.0, 5.6)
_HEADROOM = 1.18
"""Room for the numbers beside the longest bar."""


def save_plot(figures: Figures, title: str, path: Path) -> str:
    """Draw to a file.

    Returns:
        What the picture shows, in words; also in the file, as its Description.

    Raises:
        CommandError: the file cannot be written.
    """
    words = alt_text(figures)
    save_chart(draw(figures, title), path, title, words)
    return words


def title_of(config: str, figures: Figures) -> str:
    """Model, machine, threads and day."""
    today = datetime.now(UTC).date().isoformat()
    return f"{config}, {figures.questions} questions a frame · {processor()}, {figures.threads} threads · {today}"


def frame_seconds(figures: Figures) -> dict[str, float]:
    """Seconds per frame by contender, an artifact at its fastest bucket."""
    best = {f"compiled {each.precision}, batch {each.bucket}": each.frame_s for each in figures.fastest()}
    return {name: seconds for name, seconds in figures.alone().items() if seconds is not None} | best


def alt_text(figures: Figures) -> str:
    """What the picture shows, for those who cannot see it."""
    bars = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in frame_seconds(figures).items())
    shares = ", ".join(f"{each.precision} {each.share_of_matrix_rate:.2f} at batch {each.bucket}" for each in figures.compiled)
    return f"Time per frame: {bars}. Share of the fp32 matrix rate of {figures.matrix_gflops:.0f} GFLOP/s: {shares}."


def draw(figures: Figures, title: str) -> "Figure":
    """Draw two charts side by side: time per frame on a logarithmic axis, share of the matrix rate per bucket."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=_INCHES, layout="constrained")
    figure.suptitle(title)
    times, shares = figure.subplots(1, 2)
    _draw_times(times, frame_seconds(figures))
    _draw_shares(shares, figures)
    return figure


def _draw_times(axes: "Axes", seconds: dict[str, float]) -> None:
    colours = [next((colour for precision, colour in _COLOURS.items() if precision in name), GREY) for name in seconds]
    bars = axes.barh(list(seconds), [each * 1000 for each in seconds.values()], color=colours)
    axes.bar_label(bars, [_milliseconds(each) for each in seconds.values()], padding=4)
    axes.set_xscale("log")
    least, most = (function(seconds.values()) * 1000 for function in (min, max))
    axes.set_xlim(least / 2, most * (most / least) ** (_HEADROOM - 1) * 2)
    axes.invert_yaxis()
    axes.set_xlabel("ms per frame (logarithmic)")
    axes.set_title("Time per frame")
    tidy(axes)


def _draw_shares(axes: "Axes", figures: Figures) -> None:
    precisions = list(dict.fromkeys(each.precision for each in figures.compiled))
    buckets = sorted({each.bucket for each in figures.compiled})
    width = 0.8 / len(precisions)
    for place, precision in enumerate(precisions):
        shares = [each.share_of_matrix_rate for each in figures.compiled if each.precision == precision]
        middles = [number + (place - (len(precisions) - 1) / 2) * width for number in range(len(buckets))]
        bars = axes.bar(middles, shares, width * 0.92, label=precision, color=_COLOURS[precision])
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.axhline(1.0, color=GREY, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(buckets)), [str(bucket) for bucket in buckets])
    axes.set_xlabel("frames per batch")
    axes.set_ylabel("share of the fp32 matrix rate")
    axes.set_title(f"Compiled: share of {figures.matrix_gflops:.0f} GFLOP/s")
    axes.margins(y=_HEADROOM - 1)
    axes.legend(frameon=False, loc="best")
    tidy(axes)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.2g}"  # noqa: PLR2004  (three digits are enough)
