"""The plan for a person, as tables of at most 100 columns, and for a program, as JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from tools.plan.arithmetic import HOURS_PER_MONTH, REPLICATION_FACTOR, Basis, Figure, plain
from tools.plan.sheet import NOT_MEASURED, Offer, Sheet

WIDTH = 100
"""Columns of a file or pipe, and the most of a screen."""
LEGEND = (
    "m measured, p published, g given on the command line, a assumed; a computed figure carries the letters of all that it was "
    "computed from"
)


def tables(sheet: Sheet) -> Iterator[RenderableType]:
    """Everything in reading order: what is asked, what it takes, what it costs, Kafka, the published saving, notes."""
    yield _inputs(sheet)
    yield _capacities(sheet)
    yield _costs(sheet)
    yield _kafka(sheet)
    if sheet.prices.published_saving is not None:
        yield _saving(sheet)
    yield f"[dim]{LEGEND}.[/]"
    yield from (f"[yellow]note:[/] {escape(note)}" for note in sheet.notes)


def inputs(sheet: Sheet) -> dict[str, tuple[Figure, str]]:
    """What the plan starts from, by name, each with its unit."""
    demand = sheet.demand
    return {
        "cameras": (demand.cameras, "count"),
        "sampled": (demand.fps, "frames/s per camera"),
        "asked share": (demand.asked_share, "of the sampled frames"),
        "asked": (demand.asked_fps, "frames/s in all"),
        "questions": (sheet.questions, "per frame"),
        "target utilisation": (demand.utilisation, "of a worker's throughput"),
        "published": (demand.publish_fps, "frames/s per camera"),
        "frame size": (demand.frame_bytes, "bytes"),
        "retention": (demand.retention_hours, "hours"),
        "replication": (plain(REPLICATION_FACTOR, Basis.ASSUMED), "copies"),
        "month": (plain(HOURS_PER_MONTH, Basis.ASSUMED), "hours"),
    }


def as_json(sheet: Sheet) -> dict[str, Any]:
    """Give the plan as one JSON document; figures that nobody measured are null, `marks` says what each figure rests on."""
    prices, taken, saving = sheet.prices, sheet.kafka, sheet.prices.published_saving
    flow = {
        "in_mb_per_s": taken.in_mb_per_s,
        "out_mb_per_s": taken.out_mb_per_s,
        "replication_mb_per_s": taken.replication_mb_per_s,
        "retention_gb": taken.retention_gb,
    }
    return {
        "inputs": {
            name.replace(" ", "_"): {"value": figure.value, "unit": unit, "marks": _words(figure)}
            for name, (figure, unit) in inputs(sheet).items()
        },
        "prices": {
            "date": prices.date.isoformat(), "currency": prices.currency, "region": prices.region, "source": prices.source,
        },
        "profiles": [_profile_json(sheet, offer) for offer in sheet.offers],
        "break_even_reference": sheet.reference.name,
        "kafka": _values(flow),
        "published_saving": None
        if saving is None
        else {
            "share": saving.share,
            "instance": saving.instance,
            "source": saving.source,
            "ratios": [
                {
                    "baseline": ratio.baseline.name,
                    "pricing": ratio.pricing.value,
                    **_values({"implied_ratio": ratio.implied, "measured_ratio": ratio.measured}),
                }
                for ratio in sheet.ratios()
            ],
        },
        "notes": list(sheet.notes),
    }  # fmt: skip


def _profile_json(sheet: Sheet, offer: Offer) -> dict[str, Any]:
    figures = {
        **dict.fromkeys(("throughput_fps", "workers", "instances", "partitions", "cameras_per_worker", "headroom_percent")),
        "usd_per_hour": offer.usd_per_hour,
        **dict.fromkeys(("usd_per_month", "usd_per_camera_month", "usd_per_extra_question")),
        "break_even_fps": sheet.break_even(offer),
        "break_even_ratio": sheet.break_even_ratio(offer),
    }
    about: dict[str, Any] = {"instance": offer.row.instance.name, "pricing": offer.pricing.value, "keeps_up": None}
    if offer.row.working is not None:
        taken = offer.row.working.capacity
        about["keeps_up"] = taken.keeps_up
        figures |= {
            "throughput_fps": offer.row.working.speed.throughput_fps,
            "workers": taken.workers,
            "instances": taken.instances,
            "partitions": taken.partitions,
            "cameras_per_worker": taken.cameras_per_worker,
            "headroom_percent": taken.headroom_percent,
        }
    if offer.cost is not None:
        figures |= {
            "usd_per_month": offer.cost.usd_per_month,
            "usd_per_camera_month": offer.cost.usd_per_camera_month,
            "usd_per_extra_question": offer.cost.usd_per_extra_question,
        }
    return {"name": offer.name, "basis": offer.row.basis, **about, **_values(figures)}


def _values(figures: Mapping[str, Figure | None]) -> dict[str, Any]:
    marks = {name: _words(figure) for name, figure in figures.items() if figure is not None}
    return {name: None if figure is None else figure.value for name, figure in figures.items()} | {"marks": marks}


def _words(figure: Figure) -> list[str]:
    return [basis.value for basis in Basis if basis in figure.bases]


def _inputs(sheet: Sheet) -> Table:
    table = _table("What is asked", "input (name)", "value (in that unit)", "unit (name)")
    for name, (figure, unit) in inputs(sheet).items():
        table.add_row(name, _cell(figure, f"{figure.value:,.12g}"), unit)
    return table


def _capacities(sheet: Sheet) -> Table:
    table = _table(
        "What it takes", "profile\n(instance)", "throughput (asked frames/s per worker)", "workers (count)", "instances (count)",
        "headroom (%)", "cameras (per worker)", "partitions (count)",
    )  # fmt: skip
    for row in sheet.rows:
        if row.working is None:
            table.add_row(row.label, NOT_MEASURED, *"-----")
            continue
        taken = row.working.capacity
        counts = (taken.workers, taken.instances, taken.headroom_percent, taken.cameras_per_worker, taken.partitions)
        throughput = row.working.speed.throughput_fps
        table.add_row(
            row.label, _cell(throughput, f"{throughput.value:,.4g}"), *(_cell(each, f"{each.value:,.0f}") for each in counts)
        )
    return table


def _costs(sheet: Sheet) -> Table:
    reference = sheet.reference
    unit = "asked frames/s per instance" if reference.row.working is not None else f"x the throughput of {reference.name}"
    table = _table(
        "What it costs: instances alone, no Kafka, storage or traffic",
        "profile\n(instance,\npricing)", "price (USD per instance and hour)", "fleet (USD per month)",
        "cost (USD per camera-month)", "one more question (USD per camera-month)", f"break-even ({unit})",
    )  # fmt: skip
    for offer in sheet.offers:
        level = sheet.break_even_ratio(offer) if reference.row.working is None else sheet.break_even(offer)
        figures = ("-",) * 3 if offer.cost is None else (
            _cell(offer.cost.usd_per_month, f"{offer.cost.usd_per_month.value:,.0f}"),
            _money(offer.cost.usd_per_camera_month),
            _money(offer.cost.usd_per_extra_question),
        )  # fmt: skip
        price = _cell(offer.usd_per_hour, f"{offer.usd_per_hour.value:.4f}")
        table.add_row(
            f"{escape(offer.row.label)},\n{offer.pricing.value}",
            price,
            *figures,
            "-" if level is None else _cell(level, f"{level.value:,.4g}"),
        )
    prices = sheet.prices
    table.caption = escape(
        f"Prices of {prices.date.isoformat()}, {prices.region}: {prices.source}. Reserved: {_reserved_sources(sheet)}. "
        f"Break-even is with {reference.name}, saturated."
    )
    return table


def _reserved_sources(sheet: Sheet) -> str:
    sources = dict.fromkeys(each.reserved_source for each in sheet.prices.instance if each.reserved_source is not None)
    return "; ".join(sources) or "none in the table"


def _kafka(sheet: Sheet) -> Table:
    taken = sheet.kafka
    table = _table(
        "What Kafka takes for frames", "topic (name)", "in (MB/s)", "out to one group (MB/s)", "between brokers (MB/s)",
        "retention, all copies (GB)",
    )  # fmt: skip
    figures = (taken.in_mb_per_s, taken.out_mb_per_s, taken.replication_mb_per_s, taken.retention_gb)
    table.add_row("frames", *(_cell(each, f"{each.value:,.1f}") for each in figures))
    return table


def _saving(sheet: Sheet) -> Table:
    saving = sheet.prices.published_saving
    assert saving is not None
    name = saving.instance
    table = _table(
        f"What throughput {name} needs of a GPU's to save {saving.share:.0%}",
        "baseline\n(instance,\non demand)", "baseline price (USD per hour)", f"{name} pricing (model)",
        f"{name} price (USD per hour)", "implied ratio (x the baseline)", "measured ratio (x the baseline)",
    )  # fmt: skip
    for ratio in sheet.ratios():
        table.add_row(
            ratio.baseline.name,
            _cell(ratio.baseline_usd, f"{ratio.baseline_usd.value:.4f}"),
            ratio.pricing.value,
            _cell(ratio.usd, f"{ratio.usd.value:.4f}"),
            _cell(ratio.implied, f"{ratio.implied.value:.1f}"),
            NOT_MEASURED if ratio.measured is None else _cell(ratio.measured, f"{ratio.measured.value:.1f}"),
        )
    table.caption = escape(f"{saving.source}: {saving.says}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", expand=True)
    for place, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if place else "left", overflow="fold", no_wrap=not place)
    return table


def _money(figure: Figure | None) -> str:
    return NOT_MEASURED if figure is None else _cell(figure, f"{figure.value:,.4g}")


def _cell(figure: Figure, text: str) -> str:
    return f"{text} [dim]{figure.letters}[/]"
