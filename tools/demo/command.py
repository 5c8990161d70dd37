"""`tools/run demo`: everything at once on a machine that has nothing yet, judged against the script's truth."""

import asyncio
import logging
import tempfile
import time
from collections import ChainMap
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.options import (
    DEFAULT_GROUP,
    DEMO_QUESTIONS,
    ArtifactOption,
    BootstrapOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuestionsOption,
    ReportOption,
    parse_seeds,
    parse_speed,
)
from tools.outputs import check_writable
from tools.screen import err, progress_bar, write_json

if TYPE_CHECKING:  # torch, PyAV and aiokafka stay out of --help
    from collections.abc import Iterator

    from rich.console import Console

    from tools.assembly import Device
    from tools.broker.find import FoundBroker
    from tools.demo.figures import Result, Shown
    from tools.report.cards import Pictures
    from tools.scenes.planning import Scene


SCREEN_WIDTH = 110


def demo(  # noqa: PLR0913  (a command's options)
    *,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws rooms, scripts and look-alikes.")] = 1,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="A-B", help="Perform every seed from A to B, add up.")] = None,
    camera_count: Annotated[int, typer.Option("--cameras", min=1, max=64, help="How many.")] = 3,
    speed: Annotated[str, typer.Option("--speed", metavar="N|max", help="Event time per wall time.")] = "4",
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    bootstrap_servers: BootstrapOption = None,
    json_target: JsonOption = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Save the final screen as a picture.")] = None,
    report: ReportOption = None,
) -> None:
    """Bring up Kafka, publish rendered camera videos, answer them with BLIP, and set every event beside the script's truth.

    Exit status 0: every scripted episode found in time and none invented (several seeds: 98 % found, at most 3 % invented).

    Examples: [bold]tools/run demo --report out.html[/], [bold]tools/run demo --json out.json[/]
    """
    from tools.assembly import open_device
    from tools.broker.find import find_broker
    from tools.demo import figures
    from tools.devices import DeviceChoice
    from tools.report.provenance import run_of, side_of

    # its notices while fresh topics and a fresh group settle would tear the live view; what fails for good is raised
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    wanted = parse_seeds(seeds) if seeds else range(seed, seed + 1)
    show = _Show(camera_count, parse_speed(speed), svg, has_pictures=report is not None, is_one=len(wanted) == 1)
    if report is not None:
        check_writable("--report", report)
    started_s = time.monotonic()
    choice = DeviceChoice.of(model, artifacts, devices, questions)
    with find_broker(bootstrap_servers) as broker, open_device(choice, None) as device:
        err.print(f"{broker.name} {broker.version} at {broker.bootstrap_servers}, {device.engine.described}")
        performed = [_perform(broker, device, each, show) for each in wanted]
        run = run_of([side_of(device)])
    results = [result for result, _ in performed]
    document = figures.as_json(results, {"name": broker.name, "version": broker.version}, run)
    if json_target is not None:
        write_json(json_target, document)
    if report is not None:
        _save(report, document, [pictures for _, pictures in performed])
    totals = figures.total(results)
    err.print(
        f"{totals['found']} of {totals['episodes']} episodes found, {totals['invented']} invented, {totals['late']} late, "
        f"{time.monotonic() - started_s:.0f} s"
    )
    if not figures.holds(results):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Show:
    """How every seed is shown."""

    cameras: int
    speed: float | None
    svg: Path | None
    has_pictures: bool
    """Of events, for a page."""
    is_one: bool
    """There is one seed only: its cameras' names are enough."""


def _perform(broker: "FoundBroker", device: "Device", seed: int, show: _Show) -> "tuple[Result, Pictures]":
    """Render, publish and judge one seed; with the pictures of its events."""
    from stream.kafka.topology import TopicNames
    from tools.demo.figures import Result
    from tools.demo.judge import judge
    from tools.demo.record import recorded
    from tools.demo.stage import Stage
    from tools.demo.view import LiveView, verdict_table
    from tools.scenes.planning import plan
    from tools.sightings import sightings

    started_s = time.monotonic()
    scenes = plan(seed, show.cameras)
    cameras = [scene.camera if show.is_one else f"{seed}-{scene.camera}" for scene in scenes]
    run_id = f"demo-{seed}-{int(time.time())}"
    names = TopicNames(f"{run_id}.frames", f"{run_id}.alerts", DEFAULT_GROUP)
    stage = Stage(device, broker.connection, names, show.speed)
    in_order = tuple(sorted(scene.camera for scene in scenes))
    view = LiveView(in_order)
    with tempfile.TemporaryDirectory(prefix="pawsight-demo-") as folder:
        videos = _film(scenes, Path(folder))
        with _live(view):
            performance = asyncio.run(stage.perform(videos, view))
        found = sightings(performance.alerts, {scene.camera: scene.recorded_at_s for scene in scenes})
        rules = device.asked.debounce.by_behavior
        start_after_s = {name: rule.start_after_s for name, rule in rules.items()}
        verdict = judge({scene.camera: scene.episodes for scene in scenes}, found, start_after_s)
        shown = recorded(scenes, cameras, performance, verdict, list(rules.values()))
        pictures = _pictures(shown, dict(zip(cameras, videos, strict=True))) if show.has_pictures else {}
    view.status = f"seed {seed}: {verdict.found} of {len(verdict.episodes)} episodes found, {len(verdict.invented)} invented"
    console = _console(show.svg)
    console.print(view)
    console.print(verdict_table(verdict))
    if show.svg is not None:
        console.save_svg(str(show.svg), title="tools/run demo")
    return Result(seed, in_order, verdict, performance.counts, time.monotonic() - started_s, shown), pictures


def _pictures(shown: "Shown", videos: Mapping[str, Path]) -> "Pictures":
    """Take the events' pictures while the videos are there."""
    from tools.recordings import Recording
    from tools.report.chapters import began
    from tools.report.thumbnails import take

    return take(began(shown.timelines), [Recording(name, str(path), None) for name, path in videos.items()])


def _save(path: Path, document: Mapping[str, Any], pictures: "Sequence[Pictures]") -> None:
    from tools.report.results import parse
    from tools.report.save import save_page

    save_page("--report", path, [parse("the demo", document)], dict(ChainMap(*map(dict, pictures))))
    err.print(f"report: {path}", markup=False, soft_wrap=True)


def _film(scenes: "Sequence[Scene]", folder: Path) -> list[Path]:
    from tools.scenes.video import film

    with progress_bar() as bar:
        task = bar.add_task("rendering the cameras' videos", total=None)
        return film(scenes, folder, lambda done, total: bar.update(task, completed=done, total=total))


@contextmanager
def _live(view: object) -> "Iterator[None]":
    """Keep the view on a terminal; in a pipe it would be noise."""
    from rich.live import Live

    if not err.is_terminal:
        yield
        return
    with Live(get_renderable=lambda: view, console=err, refresh_per_second=8, transient=True):  # type: ignore[arg-type,return-value]
        yield


def _console(svg: Path | None) -> "Console":
    from rich.console import Console

    fixed = svg is not None or not err.is_terminal  # a pipe has no width, and a picture should not depend on the terminal
    return Console(stderr=True, highlight=False, record=svg is not None, width=SCREEN_WIDTH if fixed else None)
