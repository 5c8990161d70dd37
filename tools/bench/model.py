"""`tools/run bench model`: the packed pass against Hugging Face `generate()`, question by question."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tools.options import DEMO_CHECKPOINT, JsonOption
from tools.screen import err, out, progress_bar, write_json

if TYPE_CHECKING:
    from pipeline.checkpoint import Checkpoint
    from tools.bench.contest import Figures

TOLERANCE = 1e-4
"""Largest difference of P(yes) or share from `generate()`'s that counts as equal."""


class Size(StrEnum):
    """Which model is measured."""

    BASE = "base"
    DEMO = "demo"


def model(
    *,
    config: Annotated[
        Size,
        typer.Option("--config", help="base: the sizes of Salesforce/blip-vqa-base, random weights; demo: the demo checkpoint."),
    ] = Size.BASE,
    questions_count: Annotated[int, typer.Option("--questions-count", metavar="N", min=1, help="Questions per frame.")] = 8,
    bucket: Annotated[int, typer.Option("--bucket", metavar="N", min=1, help="Frames per batch.")] = 1,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Interleaved rounds; medians count.")] = 5,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, help="Threads of every contender.", show_default="torch's choice"),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Measure seconds per frame of the packed pass, of generate() and of a shared image encoding, in one run.

    Exit status 1 if the packed answers differ from generate()'s by more than 1e-4.

    Example: [bold]tools/run bench model --config base --json -[/]
    """
    from tools.bench.contest import Contest, question_set

    err.print(f"building the {config} model")
    contest = Contest(_checkpoint(config), question_set(questions_count), bucket=bucket, threads=threads)
    with progress_bar() as bar:
        figures = contest.run(bar.track(range(rounds), description="rounds"))
    if json is not None:
        write_json(json, {"config": config.value, **asdict(figures)})
    if json != "-":
        out.print(_table(config, figures))
    if figures.max_abs_dp > TOLERANCE:
        err.print(f"[bold red]the packed answers differ by {figures.max_abs_dp:.1e}[/], more than {TOLERANCE}")
        raise typer.Exit(1)


def _checkpoint(config: Size) -> "Checkpoint":
    from pipeline.checkpoint import load
    from pipeline.reference import random_base

    return load(str(DEMO_CHECKPOINT)) if config is Size.DEMO else random_base(seed=0)


def _table(config: Size, figures: "Figures") -> Table:
    table = Table(
        "contender", title=f"{config}: {figures.questions} questions, batch {figures.bucket}, {figures.threads} threads"
    )
    table.add_column("ms per frame", justify="right")
    table.add_column("times faster than generate()", justify="right")
    contenders = {
        "generate() per question": figures.generate_s,
        "image encoded once": figures.shared_image_s,
        "packed pass": figures.packed_s,
    }
    for name, seconds in contenders.items():
        table.add_row(name, f"{seconds * 1000:.1f}", f"{figures.generate_s / seconds:.1f}")
    table.caption = (
        f"medians of {figures.rounds} rounds; machine {figures.matrix_gflops:.0f} GFLOP/s; max |dP| {figures.max_abs_dp:.1e}; "
        f"torch {figures.torch}, transformers {figures.transformers}"
    )
    return table
