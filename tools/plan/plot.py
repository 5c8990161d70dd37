"""The plan as a chart: cost per camera-month over asked frames per second."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.charts import GREY, PALETTE, save_chart, tidy
from tools.errors import CommandError
from tools.plan.arithmetic import Basis, capacity, computed, cost, plain
from tools.plan.prices import Pricing
from tools.plan.sheet import NOT_MEASURED, Offer, Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = (9.0, 5.6)
_POINTS = 240
_BEYOND = 2.0
"""The chart ends at so many times the planned rate."""

_WIDE = 10.0
"""Costs further apart than this are drawn on a logarithmic axis: the cheaper ones would lie on the ground."""


def save_plot(sheet: Sheet, path: Path) -> str:
    """Draw to a file.

    Returns:
        What the picture shows, in words; also in the file, as its Description.

    Raises:
        CommandError: nothing has a cost, or the file cannot be written.
    """
    if not any(offer.cost for offer in sheet.offers):
        msg = (
            f"--plot {path}: no instance has both a profile and such a price, so there is no cost to draw: give a --profile that "
            "`tools/run stress --profile FILE` wrote, or another --pricing"
        )
        raise CommandError(msg)
    words = alt_text(sheet)
    save_chart(draw(sheet), path, _title(sheet), words)
    return words


def alt_text(sheet: Sheet) -> str:
    """What the picture shows, for those who cannot see it."""
    planned = sheet.demand.camera_asked_fps.value
    costs = (
        f"{offer.name} {offer.cost.usd_per_camera_month.value:.4g} USD ({offer.row.basis})"
        for offer in sheet.offers
        if offer.cost
    )
    missing = f" Not measured: {', '.join(_missing(sheet))}." if _missing(sheet) else ""
    return f"Cost per camera-month at {planned:g} asked frames/s per camera: {', '.join(costs)}.{missing}"


def curve(sheet: Sheet, offer: Offer) -> tuple[list[float], list[float]]:
    """Give asked frames per second and camera, and USD per camera-month; it ends where one camera is too much for a worker."""
    work, planned = offer.row.working, sheet.demand.camera_asked_fps.value
    assert work is not None
    rates, costs = [], []
    for point in range(1, _POINTS + 1):
        rate = planned * _BEYOND * point / _POINTS
        fps = plain(rate / sheet.demand.asked_share.value, Basis.ASSUMED)
        demand = replace(sheet.demand, fps=fps)
        taken = capacity(demand, work.speed, plain(offer.row.instance.workers, Basis.PUBLISHED))
        if not taken.keeps_up:
            break
        rates.append(rate)
        costs.append(cost(demand, work.speed, taken.instances, computed(offer.usd_per_hour.value)).usd_per_camera_month.value)
    return rates, costs


def draw(sheet: Sheet) -> "Figure":
    """Draw a curve for every offer that has a profile; dashed where its throughput is assumed, thin where it is reserved."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    labels = list(dict.fromkeys(offer.row.label for offer in sheet.offers if offer.cost))
    for offer in (each for each in sheet.offers if each.cost):
        colour = PALETTE[labels.index(offer.row.label) % len(PALETTE)]
        style = "-" if offer.row.basis == Basis.MEASURED else "--"
        width = 2.0 if offer.pricing is Pricing.ON_DEMAND else 1.0
        name = f"{offer.name}, throughput {offer.row.basis}"
        axes.plot(*curve(sheet, offer), label=name, color=colour, linestyle=style, linewidth=width)
    axes.axvline(sheet.demand.camera_asked_fps.value, color=GREY, linestyle=":", label="planned")
    axes.set_xlim(0, sheet.demand.camera_asked_fps.value * _BEYOND)
    planned = [offer.cost.usd_per_camera_month.value for offer in sheet.offers if offer.cost]
    if max(planned) > _WIDE * min(planned):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    missing = _missing(sheet)
    axes.set_xlabel("asked frames/s per camera" + (f"\n{NOT_MEASURED}: {', '.join(missing)}" if missing else ""))
    axes.set_ylabel("USD per camera-month" + (" (logarithmic)" if axes.get_yscale() == "log" else ""))
    axes.set_title(_title(sheet))
    axes.legend(frameon=False, loc="best")
    tidy(axes)
    return figure


def _title(sheet: Sheet) -> str:
    cameras, questions = sheet.demand.cameras.value, sheet.questions.value
    return f"{cameras:,.0f} cameras, {questions:g} questions a frame, prices of {sheet.prices.date.isoformat()}"


def _missing(sheet: Sheet) -> list[str]:
    return [row.label for row in sheet.rows if row.working is None]
