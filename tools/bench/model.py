"""`tools/run bench model`: what a frame costs compiled, packed, and by Hugging Face's own ways, in one run."""

import tempfile
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tools.compile import parse_buckets
from tools.options import DEMO_CHECKPOINT, JsonOption
from tools.screen import err, out, steps_bar, write_json

if TYPE_CHECKING:  # torch stays out of --help
    from pipeline.backends.backend import Precision
    from pipeline.checkpoint import Checkpoint
    from tools.bench.engines import Plan
    from tools.bench.figures import Figures

TORCH_COMPILE_S = 600.0
"""torch.compile takes 1 to 3 minutes at the base model's size on two idle cores."""


class Size(StrEnum):
    """Which model is measured."""

    BASE = "base"
    DEMO = "demo"


class Format(StrEnum):
    """`pipeline.backends.backend.Precision`, whose import takes torch along."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


def model(  # noqa: PLR0913  (a command's options)
    *,
    config: Annotated[
        Size,
        typer.Option("--config", help="base: the sizes of Salesforce/blip-vqa-base, random weights; demo: the demo checkpoint."),
    ] = Size.BASE,
    questions_count: Annotated[int, typer.Option("--questions-count", metavar="N", min=1, help="Questions per frame.")] = 8,
    buckets: Annotated[str, typer.Option("--buckets", metavar="N,...", help="Batch sizes of the compiled model.")] = "1,2,4,8",
    precision: Annotated[
        list[Format] | None,
        typer.Option(
            "--precision",
            help="Of the compiled model, besides fp32; may be repeated.",
            show_default="all that this processor has",
        ),
    ] = None,
    torch_compile: Annotated[
        bool, typer.Option("--torch-compile/--no-torch-compile", help="Measure generate() under torch.compile, too.")
    ] = True,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Interleaved rounds; medians count.")] = 5,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, help="Threads of every contender.", show_default="torch's choice"),
    ] = None,
    json: JsonOption = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures as .png or .svg.")] = None,
) -> None:
    """Measure seconds per frame of the compiled model, the packed pass and generate(), and its share of the matrix rate.

    At the base model's size it takes about 15 minutes on two cores that do nothing else. Exit status 1 if the packed or the
    compiled fp32 answers differ from generate()'s by more than 1e-4.

    Example: [bold]tools/run bench model --config base --json - --plot out/bench.png[/]
    """
    import torch

    from tools.bench.engines import Plan, question_set
    from tools.charts import check_chart

    if plot is not None:
        check_chart("--plot", plot)
    if threads is not None:
        torch.set_num_threads(threads)
    sizes = parse_buckets(buckets)
    limit_s = TORCH_COMPILE_S if torch_compile else None
    figures = _measure(config, Plan(question_set(questions_count), sizes, _precisions(precision, sizes), rounds, limit_s))
    if json is not None:
        write_json(json, {"config": config.value, **asdict(figures)})
    if json != "-":
        out.print(table(config.value, figures))
    if plot is not None:
        _draw(config.value, figures, plot)
    if not figures.is_equal:
        from tools.bench.figures import TOLERANCE

        err.print(f"[bold red]the packed or the compiled fp32 answers differ from generate()'s[/] by more than {TOLERANCE}")
        raise typer.Exit(1)


def _measure(config: Size, plan: "Plan") -> "Figures":
    from tools.bench.contest import Contest

    with tempfile.TemporaryDirectory(prefix="pawsight-bench-") as folder, steps_bar() as report:
        return Contest(partial(_checkpoint, config), plan, Path(folder), report).run()


def table(config: str, figures: "Figures") -> Table:
    """Every contender beside `generate()` question by question."""
    shown = Table("contender", title=f"{config}: {figures.questions} questions, {figures.threads} threads")
    for name in ("batch", "ms/frame", "faster", "of rate", "max |dP|"):
        shown.add_column(name, justify="right", no_wrap=True)

    def add(name: str, bucket: int, seconds: float | None, *, share: str = "", off: str = "") -> None:
        times = ("-", "-") if seconds is None else (f"{seconds * 1000:.1f}", f"{figures.generate_s / seconds:.1f}x")
        shown.add_row(name, str(bucket), *times, share, off)

    for name, seconds in figures.alone().items():
        add(name, figures.bucket, seconds, off=f"{figures.max_abs_dp:.1e}" if seconds == figures.packed_s else "")
    for each in figures.compiled:
        share, off = f"{each.share_of_matrix_rate:.2f}", f"{each.max_abs_dp:.1e}"
        add(f"compiled {each.precision}", each.bucket, each.frame_s, share=share, off=off)
    shown.caption = escape(_notes(figures))
    return shown


def _notes(figures: "Figures") -> str:
    missing = figures.generate_batch_compiled_missing
    notes = (
        f"medians of {figures.rounds} rounds",
        f"{figures.flops_per_frame / 1e9:.1f} GFLOP a frame",
        f"rate: the best fp32 matrix product, {figures.matrix_gflops:.0f} GFLOP/s",
        f"one more question costs {figures.extra_question_percent:.2f} % of a frame",
        f"torch {figures.torch}, transformers {figures.transformers}",
        *([] if missing is None else [f"torch.compile: {missing}"]),
    )
    return "; ".join(notes)


def _draw(config: str, figures: "Figures", path: Path) -> None:
    from tools.bench.plot import save_plot, title_of

    words = save_plot(figures, title_of(config, figures), path)
    err.print(f"{escape(str(path))}: {escape(words)}", soft_wrap=True)


def _checkpoint(config: Size) -> "Checkpoint":
    from pipeline.checkpoint import load
    from pipeline.reference import random_base

    return load(str(DEMO_CHECKPOINT)) if config is Size.DEMO else random_base(seed=0)


def _precisions(said: list[Format] | None, buckets: tuple[int, ...]) -> "tuple[Precision, ...]":
    """Give what was asked for, and fp32; or all that this processor has, with a word about the others."""
    from pipeline.backends.backend import Precision
    from tools.bench.engines import refusal

    if said is not None:
        return tuple(each for each in Precision if each is Precision.FP32 or Format(each) in said)
    refusals = {each: refusal(each, buckets) for each in Precision}
    for each, reason in refusals.items():
        if reason is not None:
            err.print(f"{each.value} is left out: {escape(reason)}")
    return tuple(each for each, reason in refusals.items() if reason is None)
