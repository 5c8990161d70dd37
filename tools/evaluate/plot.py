"""The charts of `evaluate`: how answers separate, how honest they are, what a threshold does, and a timeline per video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tools.charts import GREY, PALETTE, save_chart, tidy
from tools.evaluate.frames import Answered, reliability
from tools.scenes.script import Episode
from tools.sightings import Sighting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL_INCHES = (3.4, 3.0)
_SWEEP = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True)
class Lane:
    """One behaviour of one video."""

    behavior: str
    truth: Sequence[Episode]
    sightings: Sequence[Sighting]
    at_s: Sequence[float]
    """Times of the answers, seconds from the video's start."""
    p_yes: Sequence[float]
    start_above: float
    stop_below: float


def save_separation(answered: Sequence[Answered], start_above: Mapping[str, float], folder: Path) -> list[Path]:
    """Draw precision and recall, reliability, and the threshold sweep: a file each, a panel per behaviour.

    Raises:
        CommandError: a file cannot be written.
    """
    kinds = (
        ("precision-recall", "Precision over recall of the frames", _draw_precision_recall),
        ("reliability", "Share of true frames over P(yes)", _draw_reliability),
        ("thresholds", "What a threshold on P(yes) does to the frames", _draw_sweep),
    )
    paths = []
    for name, title, draw in kinds:
        figure, panels = _panels(len(answered), title)
        for axes, one in zip(panels, answered, strict=False):
            axes.set_title(one.behavior, fontsize=9)
            if one.has_both:
                draw(axes, one, start_above[one.behavior])
            else:
                axes.text(0.5, 0.5, "all frames true" if one.is_true.any() else "no frame true", ha="center", color=GREY)
            tidy(axes)
        words = f"{title}, a panel for each of {', '.join(one.behavior for one in answered)}."
        paths.append(folder / f"{name}.png")
        save_chart(figure, paths[-1], title, words)
    return paths


def save_timeline(camera: str, length_s: float, lanes: Sequence[Lane], path: Path) -> None:
    """Draw one video: for each behaviour what is true, the answers, and the events.

    Raises:
        CommandError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 0.9 * len(lanes) + 1.2), layout="constrained")
    title = f"{camera}: truth, P(yes) and events"
    figure.suptitle(title)
    for place, (axes, lane) in enumerate(zip(np.atleast_1d(figure.subplots(len(lanes), 1, sharex=True)), lanes, strict=True)):
        _draw_lane(axes, lane, length_s)
        axes.set_ylabel(lane.behavior, rotation=0, ha="right", va="center", fontsize=8)
        if place == len(lanes) - 1:
            axes.set_xlabel("seconds from the start; grey: true, line: P(yes), bar below: event, dashed: start_above")
    told = "; ".join(f"{lane.behavior} {len(lane.truth)} true, {len(lane.sightings)} events" for lane in lanes)
    save_chart(figure, path, title, f"Timeline of {camera}, {length_s:.0f} s: {told}.")


def _panels(count: int, title: str) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    figure.suptitle(title)
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for unused in panels[count:]:
        unused.set_axis_off()
    return figure, panels


def _draw_precision_recall(axes: "Axes", answered: Answered, start_above: float) -> None:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(answered.is_true, answered.p_yes)
    axes.step(recall, precision, where="post", color=PALETTE[0])
    said = answered.p_yes >= start_above
    if said.any():
        here = (float(answered.is_true[said].mean()), float(said[answered.is_true].mean()))
        axes.plot(here[1], here[0], "o", color=PALETTE[1], label=f"start_above {start_above:g}")
        axes.legend(frameon=False, fontsize=7, loc="lower left")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall (share)", ylabel="precision (share)")


def _draw_reliability(axes: "Axes", answered: Answered, _start_above: float) -> None:
    bins = reliability(answered.p_yes, answered.is_true)
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    sizes = [8 + 60 * one.frames / len(answered.p_yes) for one in bins]
    axes.plot([one.mean_p_yes for one in bins], [one.share_true for one in bins], color=PALETTE[0])
    axes.scatter([one.mean_p_yes for one in bins], [one.share_true for one in bins], sizes, color=PALETTE[0])
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="P(yes), mean of the bin", ylabel="true frames (share)")


def _draw_sweep(axes: "Axes", answered: Answered, start_above: float) -> None:
    said = answered.p_yes[None, :] >= _SWEEP[:, None]
    recall = said[:, answered.is_true].mean(1)
    false_alarms = said[:, ~answered.is_true].mean(1)
    axes.plot(_SWEEP, recall, color=PALETTE[0], label="true frames found")
    axes.plot(_SWEEP, false_alarms, color=PALETTE[1], linestyle="-.", label="false frames taken")
    axes.axvline(start_above, color=GREY, linestyle="--", linewidth=1)
    axes.legend(frameon=False, fontsize=7, loc="center left")
    axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), xlabel="threshold on P(yes)", ylabel="frames (share)")


def _draw_lane(axes: "Axes", lane: Lane, length_s: float) -> None:
    for one in lane.truth:
        axes.axvspan(one.start_s, one.end_s, color=GREY, alpha=0.35, linewidth=0)
    axes.plot(lane.at_s, lane.p_yes, color=PALETTE[0], linewidth=1)
    axes.axhline(lane.start_above, color=GREY, linestyle="--", linewidth=0.8)
    bars = [(one.start_s, (length_s if one.end_s is None else one.end_s) - one.start_s) for one in lane.sightings]
    axes.broken_barh(bars, (-0.35, 0.22), facecolors=PALETTE[1])
    axes.set(xlim=(0, length_s), ylim=(-0.4, 1.05), yticks=[0, 1])
    tidy(axes)
