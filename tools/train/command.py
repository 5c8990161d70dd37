"""`tools/run train`: render, train, judge, save. Imports torch only when it runs."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tools.errors import CommandError
from tools.options import DEMO_CHECKPOINT, DEMO_QUESTIONS
from tools.screen import err, out, progress_bar

if TYPE_CHECKING:
    from tools.train.evaluate import Score
    from tools.train.save import Record

PICTURES = 64_000
_DENSE_LOG_STEPS = 300
_SPARSE_LOG_EVERY = 500


def train(
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder to write the checkpoint into.", show_default="artifacts/demo")
    ] = DEMO_CHECKPOINT,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws pictures, weights and their order.")] = 1,
    clips: Annotated[int, typer.Option("--clips", min=100, help="Held-out H.264 clips to judge it by.")] = 4_000,
) -> None:
    """Train the demo's tiny BLIP on rendered pet scenes: half an hour on two cores and 6 GiB of memory, no GPU.

    Ends with status 1 if a question is answered worse than the floor. Example: tools/run train --out /tmp/checkpoint --seed 2
    """
    from pipeline.engine import Device, Engine
    from tools.compile import cached
    from tools.train.dataset import render_clips
    from tools.train.evaluate import good_enough, judge
    from tools.train.model import QUESTIONS
    from tools.train.save import save_record

    _make_folder(out_dir)
    record = _train(out_dir, seed)
    with progress_bar() as bar:
        task = bar.add_task("rendering held-out clips")
        held_out = render_clips(seed, clips, lambda done, total: bar.update(task, completed=done, total=total))
    scores = judge(Engine(cached(str(out_dir), DEMO_QUESTIONS), Device("cpu"), QUESTIONS), held_out)
    save_record(record, clips, scores, out_dir)
    _print_scores(scores)
    if not good_enough(scores):
        err.print("[bold red]below the floor[/]: draw the weak behavior clearer before training longer")
        raise typer.Exit(1)


def _train(folder: Path, seed: int) -> "Record":
    import torch
    import transformers

    from tools.train.dataset import render_pictures
    from tools.train.model import make_vocabulary
    from tools.train.save import Record, save_checkpoint
    from tools.train.trainer import THREADS, Logged, Schedule, Trainer

    schedule, vocabulary, log = Schedule(), make_vocabulary(), list[Logged]()
    with progress_bar() as bar:
        task = bar.add_task("rendering pictures")
        pictures = render_pictures(seed, PICTURES, lambda done, total: bar.update(task, completed=done, total=total))
        task = bar.add_task("training", total=schedule.steps)

        def report(logged: Logged) -> None:
            bar.update(task, completed=logged.step)
            if logged.step <= _DENSE_LOG_STEPS or logged.step % _SPARSE_LOG_EVERY == 0:
                log.append(logged)
                err.print(f"step {logged.step:6d}  seen {logged.seen:.4f}  answered {logged.answered:.4f}")

        start = time.monotonic()
        trainer = Trainer(pictures, vocabulary, schedule, seed)
        trainer.run(schedule.steps, report)
    save_checkpoint(trainer.model, vocabulary, folder)
    return Record(
        command=f"tools/run train --seed {seed}",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        pictures=PICTURES,
        steps=schedule.steps,
        threads=THREADS,
        torch=torch.__version__,
        transformers=transformers.__version__,
        training_s=round(time.monotonic() - start, 1),
        loss=tuple(log),
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"--out {folder}: {error.strerror}. Give a folder that can be written"
        raise CommandError(msg) from error


def _print_scores(scores: "Sequence[Score]") -> None:
    table = Table("question", "yes found %", "no found %", "balanced %")
    for score in scores:
        rates = (score.true_positive_rate, score.true_negative_rate, score.balanced)
        table.add_row(score.ask, *(f"{100 * rate:.1f}" for rate in rates))
    out.print(table)
