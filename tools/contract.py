"""`tools/run contract`: the published contract of the topics as files, or whether the files still say what the code does."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tools.errors import CommandError
from tools.screen import err

CONTRACT_FOLDER = Path(__file__).parent.parent / "artifacts" / "contract"


def contract(
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; end with 1 if a file differs from the code.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the files.")] = CONTRACT_FOLDER,
) -> None:
    """Generate the JSON Schemas of the alerts and the AsyncAPI document of the topics.

    Example: [bold]tools/run contract --check[/]
    """
    from tools.asyncapi import documents

    texts = {name: json.dumps(document, indent=2) + "\n" for name, document in documents().items()}
    if check:
        wrong = differences(texts, out)
        for line in wrong:
            err.print(line, soft_wrap=True)
        raise typer.Exit(1 if wrong else 0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"{out}: {error.strerror or error}; choose another folder with --out"
        raise CommandError(msg) from error
    err.print(f"{len(texts)} files in {out}")


def differences(texts: dict[str, str], folder: Path) -> list[str]:
    """Say of each file that is missing, different or not generated (any more) what to do about it."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    wrong = [f"{folder / name} differs from the code: run tools/run contract" for name in texts if found.get(name) != texts[name]]
    return wrong + [f"{folder / name} is not generated: delete it" for name in sorted(found.keys() - texts.keys())]
