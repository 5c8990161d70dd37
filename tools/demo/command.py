"""`tools/run demo`: everything at once on a machine that has nothing yet, judged against the script's truth."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    parse_seeds,
    parse_speed,
)
from tools.screen import err, progress_bar, write_json

if TYPE_CHECKING:  # torch, PyAV and aiokafka stay out of --help
    from collections.abc import Iterator

    from rich.console import Console

    from tools.assembly import Device
    from tools.broker.find import FoundBroker
    from tools.demo.report import Result
    from tools.scenes.planning import Scene


SCREEN_WIDTH = 110


def demo(  # noqa: PLR0913  (a command's options)
    *,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws rooms, scripts and look-alikes.")] = 1,
    seeds: Annotated[str | None, typer.Option("--seeds", metavar="A-B", help="Perform every seed from A to B, add up.")] = None,
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=64, help="How many.")] = 3,
    speed: Annotated[str, typer.Option("--speed", metavar="N|max", help="Event time per wall time.")] = "4",
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    bootstrap_servers: BootstrapOption = None,
    json_target: JsonOption = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Save the final screen as a picture.")] = None,
) -> None:
    """Bring up Kafka, publish rendered camera videos, answer them with BLIP, and set every event beside the script's truth.

    Exit status 0: every scripted episode found in time and none invented (several seeds: 98 % found, at most 3 % invented).

    Example: [bold]tools/run demo --json out.json[/]
    """
    from tools.assembly import open_device
    from tools.broker.find import find_broker
    from tools.demo import report
    from tools.devices import DeviceChoice

    # its notices while fresh topics and a fresh group settle would tear the live view; what fails for good is raised
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    wanted = parse_seeds(seeds) if seeds else range(seed, seed + 1)
    started_s = time.monotonic()
    choice = DeviceChoice.of(model, artifacts, devices, questions)
    with find_broker(bootstrap_servers) as broker, open_device(choice, None) as device:
        err.print(f"{broker.name} {broker.version} at {broker.bootstrap_servers}, {device.engine.described}")
        results = [_perform(broker, device, each, cameras, parse_speed(speed), svg) for each in wanted]
    if json_target is not None:
        write_json(json_target, report.as_json(results, {"name": broker.name, "version": broker.version}))
    totals = report.total(results)
    err.print(
        f"{totals['found']} of {totals['episodes']} episodes found, {totals['invented']} invented, {totals['late']} late, "
        f"{time.monotonic() - started_s:.0f} s"
    )
    if not report.holds(results):
        raise typer.Exit(1)


def _perform(broker: "FoundBroker", device: "Device", seed: int, cameras: int, speed: float | None, svg: Path | None) -> "Result":
    """Render, publish and judge one seed."""
    from stream.kafka.topology import TopicNames
    from tools.demo.judge import judge
    from tools.demo.report import Result
    from tools.demo.stage import Stage
    from tools.demo.view import LiveView, verdict_table
    from tools.scenes.planning import plan
    from tools.sightings import sightings

    started_s = time.monotonic()
    scenes = plan(seed, cameras)
    run_id = f"demo-{seed}-{int(time.time())}"
    names = TopicNames(f"{run_id}.frames", f"{run_id}.alerts", DEFAULT_GROUP)
    stage = Stage(device, broker.connection, names, speed)
    view = LiveView(tuple(sorted(scene.camera for scene in scenes)))
    with tempfile.TemporaryDirectory(prefix="pawsight-demo-") as folder:
        videos = _film(scenes, Path(folder))
        with _live(view):
            performance = asyncio.run(stage.perform(videos, view))
    found = sightings(performance.alerts, {scene.camera: scene.recorded_at_s for scene in scenes})
    start_after_s = {name: rule.start_after_s for name, rule in device.asked.debounce.by_behavior.items()}
    verdict = judge({scene.camera: scene.episodes for scene in scenes}, found, start_after_s)
    view.status = f"seed {seed}: {verdict.found} of {len(verdict.episodes)} episodes found, {len(verdict.invented)} invented"
    console = _console(svg)
    console.print(view)
    console.print(verdict_table(verdict))
    if svg is not None:
        console.save_svg(str(svg), title="tools/run demo")
    names_of = tuple(sorted(scene.camera for scene in scenes))
    return Result(seed, names_of, verdict, performance.counts, time.monotonic() - started_s)


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
