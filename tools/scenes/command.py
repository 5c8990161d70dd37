"""`tools/run scenes`: render the demo's videos with their truth."""

from pathlib import Path
from typing import Annotated

import typer

from tools.errors import CommandError
from tools.screen import err, out, progress_bar


def scenes(
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the videos into.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Draws rooms, scripts and look-alikes.")] = 1,
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=64, help="Videos to render, about a minute each.")] = 3,
) -> None:
    """Render pet-camera videos (H.264 MP4) and, beside each, a JSON file with what truly happens when.

    The same seed gives the same videos. Example: tools/run scenes --out videos --seed 7
    """
    from tools.scenes.planning import plan
    from tools.scenes.video import film

    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with progress_bar() as bar:
            task = bar.add_task("rendering")
            planned = plan(seed, cameras)
            paths = film(planned, out_dir, lambda done, total: bar.update(task, completed=done, total=total))
    except OSError as error:
        msg = f"--out {out_dir}: {error.strerror or error}. Give a folder with some MB of room that can be written"
        raise CommandError(msg) from error
    for path, scene in zip(paths, planned, strict=True):
        out.print(f"{path}  {scene.duration_s:.0f} s  {len(scene.episodes)} episodes")
    err.print(f"Try: tools/run watch {paths[0]}")
