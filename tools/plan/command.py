"""`tools/run plan`: what a fleet of cameras takes and costs, on every instance of a price table side by side."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tools.errors import CommandError
from tools.options import JsonOption
from tools.screen import err, out, write_json

if TYPE_CHECKING:  # pydantic stays out of --help
    from tools.plan.arithmetic import Demand, Figure
    from tools.plan.prices import Pricing
    from tools.plan.sheet import Sheet


DEFAULT_QUESTIONS = 8
DEFAULTS = {
    "--cameras": 1000,
    "--fps": 2.0,
    "--asked-share": 1.0,
    "--utilisation": 0.7,
    "--frame-bytes": 40_000,
    "--retention-hours": 24.0,
}
"""Assumed where the command line does not say; units are in the options' help. --publish-fps is as --fps."""
_SHARES = ("--asked-share", "--utilisation")


class Priced(StrEnum):
    """Which prices count; `tools.plan.prices.Pricing` and all of them."""

    ON_DEMAND = "on-demand"
    RESERVED = "reserved"
    ALL = "all"


def plan(  # noqa: PLR0913  (a command's options)
    *,
    camera_count: Annotated[
        int | None, typer.Option("--cameras", metavar="N", min=1, help="Cameras.", show_default="1000")
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="FPS", help="Sampled frames per second and camera.", show_default="2.0")
    ] = None,
    asked_share: Annotated[
        float | None,
        typer.Option("--asked-share", metavar="SHARE", help="Share of them that reach the model.", show_default="1.0"),
    ] = None,
    question_count: Annotated[
        int | None, typer.Option("--questions", metavar="N", min=1, help="Questions per frame.", show_default="8")
    ] = None,
    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="[INSTANCE=]FILE",
            help="What `tools/run stress --profile` wrote; the instance, if the file names none. May be repeated.",
            show_default=False,
        ),
    ] = None,
    artifact_folder: Annotated[
        Path | None,
        typer.Option("--artifact", metavar="DIR", help="Refuse profiles of its backend that are of another compiled model."),
    ] = None,
    utilisation: Annotated[
        float | None,
        typer.Option(
            "--utilisation", metavar="SHARE", help="Of its throughput that a worker is planned for.", show_default="0.7"
        ),
    ] = None,
    frame_bytes: Annotated[
        int | None, typer.Option("--frame-bytes", metavar="N", min=1, help="Of a published frame.", show_default="40000")
    ] = None,
    publish_fps: Annotated[
        float | None,
        typer.Option("--publish-fps", metavar="FPS", help="Published frames per second and camera.", show_default="as --fps"),
    ] = None,
    retention_hours: Annotated[
        float | None,
        typer.Option("--retention-hours", metavar="HOURS", help="For which Kafka keeps frames.", show_default="24"),
    ] = None,
    pricing: Annotated[Priced, typer.Option("--pricing", help="Which prices count.")] = Priced.ALL,
    prices_file: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE", help="Table of instances and prices.", show_default="artifacts/prices.toml"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw cost over asked frames per second as .png or .svg.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Plan workers, instances, partitions, Kafka and cost for a fleet, from profiles that were measured and a dated price table.

    Every figure is marked as measured, published, given or assumed. An instance without a profile is shown as not measured, with
    the throughput at which it would break even.

    Example: [bold]tools/run plan --cameras 5000 --fps 2 --asked-share 0.3 --profile inf2.xlarge=out/neuron.json[/]
    """
    from tools.charts import check_chart
    from tools.plan.prices import SHIPPED, load_prices
    from tools.plan.profiles import check_artifact, load_profiles
    from tools.plan.report import WIDTH, as_json, tables
    from tools.plan.sheet import build

    if plot is not None:
        check_chart("--plot", plot)
    demand = _demand(
        {
            "--cameras": camera_count,
            "--fps": fps,
            "--asked-share": asked_share,
            "--utilisation": utilisation,
            "--publish-fps": publish_fps,
            "--frame-bytes": frame_bytes,
            "--retention-hours": retention_hours,
        }
    )
    prices_path = SHIPPED if prices_file is None else prices_file
    prices = load_prices(prices_path)
    found = load_profiles(profiles or [], prices, prices_path)
    if artifact_folder is not None:
        check_artifact(found, artifact_folder)
    sheet = build(demand, _figure(question_count, DEFAULT_QUESTIONS), prices, found, _pricings(pricing))
    if json is not None:
        write_json(json, as_json(sheet))
    if json != "-":
        # rich takes a pipe for a screen of 80 columns, on which these tables are hard to read
        screen = out if out.is_terminal else Console(highlight=False, width=WIDTH)
        for part in tables(sheet):
            screen.print(part, width=WIDTH)
    if plot is not None:
        _draw(sheet, plot)


def _demand(said: dict[str, float | None]) -> "Demand":
    """Take what the command line says, and assume the rest.

    Raises:
        CommandError: a number that cannot be, or fewer frames published than sampled.
    """
    from tools.plan.arithmetic import Demand

    for option, value in said.items():
        _check(option, value)
    figures = {option: _figure(said[option], default) for option, default in DEFAULTS.items()}
    fps = figures["--fps"]
    publish_fps = _figure(said["--publish-fps"], fps.value)
    if publish_fps.value < fps.value:
        msg = (
            f"--publish-fps {publish_fps.value:g} is less than --fps {fps.value:g}: no more frames can be sampled than are "
            "published: raise the one or lower the other"
        )
        raise CommandError(msg)
    return Demand(
        cameras=figures["--cameras"],
        fps=fps,
        asked_share=figures["--asked-share"],
        utilisation=figures["--utilisation"],
        publish_fps=publish_fps,
        frame_bytes=figures["--frame-bytes"],
        retention_hours=figures["--retention-hours"],
    )


def _check(option: str, value: float | None) -> None:
    most = 1.0 if option in _SHARES else float("inf")
    if value is None or (0 < value <= most and value < float("inf")):
        return
    wanted = "a share over 0 and up to 1, such as 0.5" if option in _SHARES else "a number over 0, such as 2"
    msg = f"{option} {value:g}: give {wanted}"
    raise CommandError(msg)


def _figure(said: float | None, default: float) -> "Figure":
    from tools.plan.arithmetic import Basis, plain

    return plain(default, Basis.ASSUMED) if said is None else plain(said, Basis.GIVEN)


def _pricings(wanted: Priced) -> "tuple[Pricing, ...]":
    from tools.plan.prices import Pricing

    return tuple(Pricing) if wanted is Priced.ALL else (Pricing(wanted.value),)


def _draw(sheet: "Sheet", path: Path) -> None:
    from tools.plan.plot import save_plot

    err.print(f"{escape(str(path))}: {escape(save_plot(sheet, path))}", soft_wrap=True)
