"""`tools/run stress`: the load test of a compiled artifact; closed loop on a grid, open loop, and through Kafka."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from tools.errors import CommandError
from tools.options import (
    DEMO_QUESTIONS,
    ArtifactOption,
    BootstrapOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuestionsOption,
)
from tools.outputs import check_writable
from tools.screen import err, out, steps_bar, write_json
from tools.stress.figures import SATURATED, Measured, saturation
from tools.stress.kafka.options import (
    CamerasOption,
    FormOption,
    FpsOption,
    PartitionsOption,
    Place,
    Said,
    SizeOption,
    ThroughOption,
    Wanted,
    WorkersOption,
    check_broker,
    parse,
)

if TYPE_CHECKING:  # torch stays out of --help
    from pipeline.engine import Engine
    from pipeline.questions import QuestionSet
    from tools.questions import QuestionFile
    from tools.stress.kafka.prepare import Prepared
    from tools.stress.measure import Run

INTERRUPTED = 130
"""Exit status, as of any program that Ctrl-C ends."""


def stress(  # noqa: PLR0913  (a command's options)
    *,
    context: typer.Context,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    servers: Annotated[
        str, typer.Option("--servers", metavar="N,...", help="Server threads: submitters into the one engine.")
    ] = "1,2,4,8",
    clients: Annotated[
        str, typer.Option("--clients", metavar="N,...", help="Client threads, each with one request under way.")
    ] = "1,2,4,8,16,32",
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Window of a cell, after a quarter of it as warm-up that does not count.")
    ] = 4.0,
    ask: Annotated[
        Literal["all", "one"],
        typer.Option(
            "--ask", help="all: a request is a frame with every question. one: with the first only; N such requests are a frame."
        ),
    ] = "all",
    open_loop: Annotated[
        bool, typer.Option("--open-loop", help="Search for the highest rate of Poisson arrivals whose p99 holds.")
    ] = False,
    p99_ms: Annotated[
        float | None,
        typer.Option(
            "--p99-ms", metavar="MS", min=0.1, help="What p99 must hold.", show_default="10 times the best batch's time"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws the arrivals.")] = 1,
    through: ThroughOption = None,
    fps: FpsOption = None,
    size: SizeOption = None,
    form: FormOption = None,
    workers: WorkersOption = None,
    partitions: PartitionsOption = None,
    camera_count: CamerasOption = None,
    bootstrap_servers: BootstrapOption = None,
    plot: Annotated[
        list[Path] | None, typer.Option("--plot", metavar="FILE", help="Draw the grid as .png or .svg; may be repeated.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="Write what `plan` reads: machine, artifact, results.")
    ] = None,
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="NAME", help="Cloud instance type of this machine, for the profile.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Measure how many frames per second an artifact answers, and how late, under load.

    Closed loop: clients hand prepared uint8 frames to server threads, which batch what waits and share the engine; no more of
    them are in the device than it has submitters. Saturated is the cell with the fewest clients, then servers, that reaches 95 %
    of the grid's best throughput; its clients are the concurrency limit to run with.

    Open loop: requests arrive by a Poisson schedule, and latency counts from the scheduled arrival. A rate holds if p99 is within
    the bound in each third of a window and no backlog is left; the search ends within 3 %. Percentiles are nearest ranks over all
    requests of a window. Where the bound is seconds, windows are as long.

    Through Kafka: simulated cameras publish on schedule to a broker (one of its own, unless named), `tools/run worker` processes
    answer. A number of cameras holds if event-time lag, now less the newest committed capture, does not grow: the line through
    the highest lag of each second rises by 2 % of real time at most on average over the partitions, and on none by two seconds.
    Latency is from a picture's scheduled capture to the commit of the transaction that holds it, as a subscriber sees it; a
    partition that moved is delivered once a second, events at once. The search doubles, then halves to within 5 %; a number
    that fails narrowly is tried twice. Cameras, broker and workers share this machine's cores: workers of their own machine
    hold more, but growth of up to 2 % is taken to hold.

    Pictures differ from request to request, and every answer must be its picture's: exit status 1 if one is not. Through Kafka
    that is each alert's score, and all that was published must be committed and asked by the workers' own count. Ctrl-C keeps
    what was measured (130).

    Examples: [bold]tools/run stress --artifact out/blip-cpu --open-loop --plot out/stress.png --profile out/profile.json[/],
    [bold]tools/run stress --through kafka --fps 2 --size 1280x720 --as segments --workers 2[/]
    """
    from tools.charts import check_chart
    from tools.devices import DeviceChoice, start
    from tools.questions import load_questions
    from tools.stress.measure import Plan, Run, extra_question_percent, pick_pictures, pick_questions

    for path in plot or []:
        check_chart("--plot", path)
    if profile is not None:
        check_writable("--profile", profile)
    if p99_ms is not None and not open_loop:
        msg = f"--p99-ms {p99_ms:g} is what the open loop must hold: add --open-loop, or leave it out"
        raise CommandError(msg)
    wanted = parse(Said(through, fps, size, form, workers, partitions, camera_count), ask)
    check_broker(wanted, bootstrap_servers)
    bound_s = None if p99_ms is None else p99_ms / 1000
    plan = Plan(parse_counts("--servers", servers), parse_counts("--clients", clients), seconds, open_loop, bound_s, seed)
    asked = load_questions(questions)
    choice = DeviceChoice.of(model, artifacts, devices, questions)
    engine = start(choice, asked.questions.uncalibrated)  # tolerances are of raw P(yes)
    with ExitStack() as device:
        device.callback(engine.close)
        requests_a_frame = pick_questions(engine, is_one=ask == "one")
        run = Run(engine, pick_pictures(engine), plan, requests_a_frame)
        if profile is not None and ask == "all":
            run.measured.extra_question_percent = extra_question_percent(engine, run.measured.best)
        place = Place(questions, context.find_root().params.get("settings_file"), bootstrap_servers)
        try:
            _measure(run, device, None if wanted is None else _prepared(run, wanted, place))
        finally:
            _give(run.measured, engine, asked, _Targets(json, tuple(plot or ()), profile, instance))
    if run.measured.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(1 if run.measured.errors else 0)


def parse_counts(option: str, said: str) -> tuple[int, ...]:
    """Read `1,2,4,8`.

    Raises:
        CommandError: no list of different numbers over 0.
    """
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        msg = f"{option} {said!r}: give numbers of threads such as 1,2,4,8"
        raise CommandError(msg)
    counts = tuple(int(part) for part in parts)
    if len(set(counts)) < len(counts):
        msg = f"{option} {said!r}: give each number once"
        raise CommandError(msg)
    return counts


def _prepared(run: "Run", wanted: Wanted, place: Place) -> "Prepared":
    from tools.stress.kafka.prepare import prepare

    with steps_bar() as report:
        return prepare(run, wanted, place, report)


def _measure(run: "Run", device: ExitStack, prepared: "Prepared | None") -> None:
    """Measure until the end or Ctrl-C; the workers have the device after the engine has let go of it."""
    try:
        with steps_bar() as report:
            run.measure(report)
        if prepared is not None:
            device.close()
            run.measured.kafka = prepared.through
            with steps_bar() as report:
                prepared.run(run.measured, report)
    except KeyboardInterrupt:
        run.measured.is_interrupted = True


@dataclass(frozen=True, slots=True)
class _Targets:
    """Where the figures go."""

    json: str | None
    plots: tuple[Path, ...]
    profile: Path | None
    instance: str | None


def _give(measured: Measured, engine: "Engine", asked: "QuestionFile", targets: _Targets) -> None:
    from tools.report.provenance import run_of, side_with
    from tools.stress.kafka.table import kafka_table
    from tools.stress.profile import machine

    on = machine(targets.instance)
    if targets.json is not None:
        run = asdict(run_of([side_with(engine, asked)]))
        write_json(targets.json, measured.document(engine.artifact.manifest.id, on) | {"run": run})
    if targets.json != "-":
        out.print(table(measured, f"{engine.described}, {len(asked.questions.questions)} questions"))
        if measured.kafka is not None:
            out.print(kafka_table(measured.kafka))
    for path in targets.plots:
        _draw(measured, engine, on, path)
    if targets.profile is not None:
        _save_profile(measured, engine, asked.questions, on, targets.profile)
    for warning in measured.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)


def table(measured: Measured, title: str) -> Table:
    """Every cell, and under it what follows from the grid."""
    shown = Table(title=escape(title))
    for name in ("servers", "clients", "frames/s", "p50 ms", "p99 ms", "errors"):
        shown.add_column(name, justify="right", no_wrap=True)
    saturated = saturation(measured.grid)
    for cell in measured.grid:
        figures = (f"{cell.throughput_fps:.1f}", f"{cell.p50_ms:.1f}", f"{cell.p99_ms:.1f}", str(cell.errors))
        style = "bold green" if cell is saturated else "red" if cell.errors else ""
        shown.add_row(str(cell.servers), str(cell.clients), *figures, style=style)
    shown.caption = escape("; ".join(_conclusions(measured)))
    return shown


def _conclusions(measured: Measured) -> list[str]:
    best, saturated, rate = measured.best, saturation(measured.grid), measured.open_loop
    told = [f"alone, batches of {best.bucket} make {best.throughput_fps:.1f} frames/s ({best.batch_s * 1000:.1f} ms each)"]
    if saturated is not None:
        told.append(
            f"saturated (fewest clients, then servers, at {SATURATED:.0%} of the best): servers {saturated.servers}, "
            f"clients {saturated.clients}, {saturated.throughput_fps:.1f} frames/s; "
            f"concurrency limit to run with: {saturated.clients}"
        )
    if measured.requests_a_frame > 1:
        told.append(f"a request asks one question, {measured.requests_a_frame} requests are a frame")
    if rate is not None and rate.p99_ms is None:
        told.append(f"open loop: no rate that was tried holds a p99 of {rate.bound_ms:.1f} ms")
    elif rate is not None:
        told.append(
            f"open loop: {rate.rate_fps:.1f} frames/s with a p99 of {rate.p99_ms:.1f} ms, within {rate.bound_ms:.1f} ms allowed"
        )
    return told


def _draw(measured: Measured, engine: "Engine", on: Mapping[str, Any], path: Path) -> None:
    from datetime import UTC, datetime

    from tools.stress.plot import save_plot

    day = datetime.now(UTC).date().isoformat()
    manifest = engine.artifact.manifest
    name = Path(manifest.model_id).name if Path(manifest.model_id).is_absolute() else manifest.model_id
    title = f"{name}, {manifest.precision.value} on {engine.device} · {on['processor']}, {on['cores']} cores · {day}"
    err.print(f"{escape(str(path))}: {escape(save_plot(measured, title, path))}", soft_wrap=True)


def _save_profile(measured: Measured, engine: "Engine", asked: "QuestionSet", on: Mapping[str, Any], path: Path) -> None:
    """Write the profile, unless only a part of the grid is there: its saturation could be far from the machine's."""
    from tools.stress.profile import profile, save_profile

    document = profile(measured, engine, asked, on)
    if document is None or not measured.is_grid_whole:
        err.print(f"[yellow]not written:[/] {escape(str(path))}: the grid was not measured to its end", soft_wrap=True)
        return
    save_profile(path, document)
