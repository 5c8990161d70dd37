"""`tools/run chaos`: faults on real brokers, and proof that no alert was lost, repeated, invented or swapped."""

import asyncio
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tools.errors import CommandError
from tools.machine import commit
from tools.options import JsonOption
from tools.screen import err, write_json

if TYPE_CHECKING:  # aiokafka stays out of --help
    from tools.chaos.inject import Injected
    from tools.chaos.run import Plan, Report

_SUMS = ("faults_total", "faults_busy", "frames", "asked", "expected", "lost", "duplicated", "spurious", "out_of_order")
_ZEROS = ("lost", "duplicated", "spurious", "out_of_order")


def chaos(  # noqa: PLR0913  (a command's options)
    *,
    faults: Annotated[int, typer.Option("--faults", min=0, help="How many; 15 or more do every kind.")] = 60,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws cameras and faults.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, max=3, help="Brokers: 1, or 3 with three copies of everything.")] = 1,
    workers: Annotated[int, typer.Option("--workers", min=1, max=8, help="Worker processes.")] = 3,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", metavar="NAME|all", help="Play named scenarios instead; may be repeated.")
    ] = None,
    naive: Annotated[
        bool, typer.Option("--naive", help="Negative control: at-least-once delivery. Holds if it loses and repeats.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="FILE", help="Add this run to those in FILE, each with its commit.")
    ] = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="DIR", help="Keep the processes' logs there.")] = None,
    json_target: JsonOption = None,
) -> None:
    """Kill, stop, cut and restart workers, brokers and publishers, then compare every alert with an independent list.

    Exit status 0: nothing lost, duplicated, spurious or out of order, and every other check holds; with --resume in all parts.

    Examples: [bold]tools/run chaos --faults 60 --seed 1[/], [bold]tools/run chaos --scenario all[/]
    """
    from tools.chaos.run import Plan

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)  # it says of every fault that something is wrong
    if scenario:
        _play(scenario, json_target)
        return
    if keep is not None and keep.is_dir() and any(keep.iterdir()):  # another run's would be judged with this one's
        msg = f"--keep {keep}: the folder is not empty. Give one that is, or a new one"
        raise CommandError(msg)
    before = _earlier(resume)
    plan = Plan(seed=seed, faults=faults, nodes=nodes, workers=workers, is_naive=naive)
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pawsight-chaos-")))
        report = _perform(plan, folder)
    figures = _figures(report)
    if resume is not None:
        parts = [*before, figures | {"commit": commit()}]
        resume.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
        figures = _added(parts)
        err.print(f"{len(parts)} parts in {resume}")
    _show(figures)
    if json_target is not None:
        write_json(json_target, figures)
    for problem in [] if naive else report.problems:
        err.print(f"[red]{escape(problem[:400])}[/]", soft_wrap=True)
    # of all parts: an earlier one that found something is not outlived
    found = any(figures[name] for name in (*_ZEROS, "problems"))
    holds = figures["lost"] > 0 and figures["duplicated"] > 0 if naive else not found
    raise typer.Exit(0 if holds else 1)


def _perform(plan: "Plan", folder: Path) -> "Report":
    from tools.chaos.run import chaos as perform

    def told(one: "Injected") -> None:
        number, kind = len(done) + 1, one.fault.kind.value
        done.append(one)
        detail = one.fault.rule or one.fault.order or ""
        busy = "busy" if one.is_busy else "idle"
        err.print(f"fault {number} of {plan.faults}: {kind} {one.target} ({busy}) {escape(str(detail))[:120]}", highlight=False)

    done: list[Injected] = []
    err.print(f"starting {plan.nodes} brokers and {plan.workers} workers; seed {plan.seed}, logs in {folder}")
    return asyncio.run(perform(plan, folder, told))


def _figures(report: "Report") -> dict[str, Any]:
    """The run's figures by name."""
    from tools.broker.jars import kafka_version
    from tools.chaos.faults import Kind
    from tools.chaos.run import points

    assert report.ending is not None
    verdict = report.ending.verdict
    kinds = Counter(each.fault.kind for each in report.injected)
    orders = [each.fault.order for each in report.injected if each.fault.order is not None and each.is_reached]
    return {
        "seed": report.plan.seed,
        "nodes": report.plan.nodes,
        "broker": {"name": "Apache Kafka", "version": kafka_version()},
        "faults": {kind.value: kinds[kind] for kind in Kind},
        "faults_total": len(report.injected),
        "faults_busy": sum(each.is_busy for each in report.injected),
        "reached": {point: report.reached[point] for point in points()},
        "reached_orders": dict(sorted(Counter(f"{each.side} {each.point}: {each.how}" for each in orders).items())),
        "frames": report.ending.frames,
        "asked": report.ending.asked.total,
        "expected": verdict.expected,
        "lost": verdict.lost,
        "duplicated": verdict.duplicated,
        "spurious": verdict.spurious,
        "out_of_order": verdict.out_of_order,
        "problems": len(report.problems),
        "recovery_s": {"p50": _percentile(report.recovery_s, 0.5), "p99": _percentile(report.recovery_s, 0.99)},
        "recoveries_s": [round(each, 2) for each in report.recovery_s],
        "reasked_percent": round(report.ending.asked.again_percent, 2),
        "wall_s": round(report.wall_s, 1),
    }


def _added(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add parts up."""
    parts = [{"asked": 0, "reached_orders": {}} | part for part in parts]  # figures that the oldest parts do not have
    total = dict(parts[-1])
    for name in (*_SUMS, "problems", "wall_s"):
        total[name] = sum(part[name] for part in parts)
    for name in ("faults", "reached", "reached_orders"):
        counts: Counter[str] = Counter()
        for part in parts:
            counts.update(part[name])
        total[name] = dict(counts)
    recoveries = [each for part in parts for each in part["recoveries_s"]]
    total["recoveries_s"] = recoveries
    total["recovery_s"] = {"p50": _percentile(recoveries, 0.5), "p99": _percentile(recoveries, 0.99)}
    again = sum(part["reasked_percent"] * part["asked"] for part in parts)
    total["reasked_percent"] = round(again / max(1, total["asked"]), 2)
    return total | {"parts": [{"seed": part["seed"], "commit": part["commit"]} for part in parts]}


def _percentile(values: Sequence[float], share: float) -> float:
    """The value below which so many lie; 0 of none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0


def _earlier(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    try:
        parts: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"--resume {path} cannot be read: {error}"
        raise CommandError(msg) from error
    return parts


def _show(figures: dict[str, Any]) -> None:
    table = Table(title=f"chaos, seed {figures['seed']}, {figures['broker']['name']} {figures['broker']['version']}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name in (*_SUMS, "problems", "reasked_percent", "wall_s"):
        style = "red" if name in (*_ZEROS, "problems") and figures[name] else ""
        table.add_row(name, str(figures[name]), style=style)
    table.add_row("recovery p50, p99", f"{figures['recovery_s']['p50']} s, {figures['recovery_s']['p99']} s")
    table.add_row("faults", ", ".join(f"{kind} {count}" for kind, count in figures["faults"].items() if count))
    table.add_row("reached", ", ".join(f"{point} {count}" for point, count in figures["reached"].items() if count))
    err.print(table)


def _play(names: Sequence[str], json_target: str | None) -> None:
    from tools.chaos.scenarios import SCENARIOS, play

    unknown = [name for name in names if name != "all" and name not in SCENARIOS]
    if unknown:
        msg = f"--scenario {unknown[0]!r} is none of {', '.join(SCENARIOS)}, all"
        raise CommandError(msg)
    chosen = list(SCENARIOS) if "all" in names else list(names)
    results = []
    table = Table(title="chaos scenarios")
    for column in ("scenario", "passed", "figures"):
        table.add_column(column)
    for name in chosen:
        err.print(f"[bold]{name}[/]: {SCENARIOS[name].says}")
        result = play(name)
        results.append(result)
        shown = ", ".join(f"{key} {value}" for key, value in result["figures"].items())
        table.add_row(name, "yes" if result["passed"] else "[red]no[/]", shown)
        for problem in result["problems"]:
            err.print(f"[red]{escape(problem[:400])}[/]", soft_wrap=True)
    err.print(table)
    if json_target is not None:
        write_json(json_target, {"scenarios": results})
    raise typer.Exit(0 if all(result["passed"] for result in results) else 1)
