"""`tools/run report`: results of several commands as one HTML page."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tools.outputs import check_writable
from tools.screen import err


def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT...", help="What `demo`, `evaluate`, `diff` or `stress` wrote with --json.")
    ],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="HTML file to write.")],
    videos: Annotated[
        list[str] | None,
        typer.Option(
            "--videos", metavar="VIDEO", help="File, folder, glob or CAMERA=VIDEO to take events' pictures from; may be repeated."
        ),
    ] = None,
) -> None:
    """Show results as one self-contained HTML page: what ran, timelines, events with their pictures, counters, latency, load.

    The page asks nothing of any network, needs no script, and is readable on a phone, light and dark. `demo`, `evaluate` and
    `diff` write the same page of themselves with --report. A demo's videos are those of `tools/run scenes` with its seed and
    number of cameras. A profile that `stress --profile` wrote is shown, too.

    Examples: [bold]tools/run report out/evaluate.json out/stress.json --videos out/videos --out out/report.html[/],
    [bold]tools/run report diff.json --videos kitchen=/tmp/day3.mkv --out diff.html[/]
    """
    from tools.recordings import Placement, find
    from tools.report.chapters import moments
    from tools.report.results import read
    from tools.report.save import save_page
    from tools.report.thumbnails import take

    check_writable("--out", out)
    found = [read(path) for path in results]
    pictures = take(moments(found), find(videos, Placement())) if videos else None
    save_page("--out", out, found, pictures)
    err.print(f"written: {escape(str(out))}, {out.stat().st_size / 1000:,.0f} kB", soft_wrap=True)
