"""`tools/run artifact show|verify`: what an artifact is, and whether it is whole and right for this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tools.options import JsonOption
from tools.screen import err, out, write_json

if TYPE_CHECKING:  # torch stays out of --help
    from pipeline.artifact import Artifact

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the artifact.", show_default=False)]


def show(folder: FolderArgument, *, json: JsonOption = None) -> None:
    """Show what an artifact was compiled from and for.

    Example: [bold]tools/run artifact show out/blip-bf16[/]
    """
    from pipeline.artifact import open_artifact

    artifact = open_artifact(folder)
    if json is not None:
        write_json(json, artifact.manifest.model_dump(mode="json") | {"id": artifact.manifest.id})
    if json != "-":
        out.print(facts_table(artifact))


def verify(folder: FolderArgument) -> None:
    """Hash every file and compare library versions. Exit status 2 with a sentence if the artifact must not be used here.

    Example: [bold]tools/run artifact verify out/blip-bf16[/]
    """
    from pipeline.artifact import open_artifact
    from pipeline.backends import backend

    artifact = open_artifact(folder)
    artifact.verify()
    artifact.check_versions(backend(artifact.manifest.backend))
    size_bytes = sum(fact.bytes for fact in artifact.manifest.files.values())
    err.print(f"{escape(str(folder))}: {len(artifact.manifest.files)} files, {size_bytes / 2**20:.0f} MiB, as they were compiled")


def facts_table(artifact: "Artifact") -> Table:
    """The manifest for a person."""
    manifest, parity = artifact.manifest, artifact.manifest.parity
    table = Table(show_header=False, title=escape(str(artifact.folder)), title_justify="left")
    rows = {
        "artifact": manifest.id,
        "model": manifest.model_id,
        "weights": manifest.weights[:16],
        "for": f"{manifest.backend}, {manifest.precision.value}, {manifest.layout.value}",
        "batch sizes": ", ".join(map(str, manifest.buckets)),
        "capacity": f"{manifest.capacity} (answer slots x question tokens)",
        "compiled with": ", ".join(f"{package} {version}" for package, version in manifest.versions.items()),
        "flags": " ".join(manifest.flags),
        "answers": "not compared: the device was not there"
        if parity is None
        else f"max |dP| {parity.max_abs_dp:.1e}, {parity.flipped} of {parity.pictures * parity.questions} flipped "
        "(against fp32 Hugging Face)",
        "size": f"{sum(fact.bytes for fact in manifest.files.values()) / 2**20:.1f} MiB",
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


artifact = typer.Typer(help="Compiled models: show them, verify them.", no_args_is_help=True)
artifact.command("show")(show)
artifact.command("verify")(verify)
