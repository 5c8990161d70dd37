"""`tools/run scenes`: render the demo's videos with their truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.errors import CommandError
from tools.options import parse_seeds
from tools.screen import err, out, progress_bar

if TYPE_CHECKING:  # the drawing of scenes stays out of --help
    from tools.scenes.planning import Scene

TABLE = "truth.csv"


def scenes(
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the videos into.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws rooms, scripts and look-alikes.")] = 1,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="A-B", help="Several, each into a folder of its number.")
    ] = None,
    camera_count: Annotated[int, typer.Option("--cameras", min=1, max=64, help="Videos of each seed, about a minute each.")] = 3,
) -> None:
    """Render pet-camera videos (H.264 MP4) and, beside each, a JSON file with what truly happens when; in truth.csv, of all.

    The same seed gives the same videos. Example: tools/run scenes --out videos --seed 7
    """
    from tools.scenes.planning import plan
    from tools.scenes.truth_table import write_table

    planned = {each: plan(each, camera_count) for each in (parse_seeds(seeds) if seeds else (seed,))}
    filmed: dict[Path, Scene] = {}
    try:
        for each, drawn in planned.items():
            folder = out_dir / str(each) if seeds else out_dir
            folder.mkdir(parents=True, exist_ok=True)
            filmed |= dict(zip(_film(drawn, folder, f"rendering seed {each}"), drawn, strict=True))
        write_table(out_dir / TABLE, {path.relative_to(out_dir).as_posix(): scene.episodes for path, scene in filmed.items()})
    except OSError as error:
        msg = f"--out {out_dir}: {error.strerror or error}. Give a folder with some MB of room that can be written"
        raise CommandError(msg) from error
    for path, scene in filmed.items():
        out.print(f"{path}  {scene.duration_s:.0f} s  {len(scene.episodes)} episodes")
    err.print(f"Try: tools/run watch {next(iter(filmed))}, or tools/run evaluate {out_dir} --truth {out_dir / TABLE}")


def _film(scenes: "Sequence[Scene]", folder: Path, what: str) -> list[Path]:
    from tools.scenes.video import film

    with progress_bar() as bar:
        task = bar.add_task(what)
        return film(scenes, folder, lambda done, total: bar.update(task, completed=done, total=total))
