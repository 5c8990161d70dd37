"""`tools/run ask PICTURE...`: what the model says about a picture; the way to try a question's wording. Needs no broker."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tools.options import DEMO_QUESTIONS, ArtifactOption, DeviceOption, JsonOption, ModelOption, QuestionsOption
from tools.screen import err, out, write_json

if TYPE_CHECKING:
    from pipeline.engine import Engine

_HALF = 0.5


def ask(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="JPEG, PNG or WebP files.", show_default=False)],
    *,
    model: ModelOption = None,
    artifacts: ArtifactOption = None,
    devices: DeviceOption = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    json: JsonOption = None,
) -> None:
    """Ask the model every question about each picture.

    P(yes) is the probability of yes given yes or no; the share is what both hold together of all the model could say: with a
    low share it wanted to say something else. Exit status 1 if a file could not be read as a picture.

    Example: [bold]tools/run ask sofa.jpg --model Salesforce/blip-vqa-base --questions pets.toml[/]
    """
    from tools.devices import DeviceChoice, start
    from tools.questions import load_questions

    asked = load_questions(questions).questions
    engine = start(DeviceChoice.of(model, artifacts, devices, questions), asked)
    answered = [_ask(engine, path) for path in pictures]
    said = [one for one in answered if one is not None]
    if json is not None:
        write_json(json, said)
    if json != "-":
        for one in said:
            out.print(_table(one))
    if len(said) < len(pictures):
        raise typer.Exit(1)


def _ask(engine: "Engine", path: Path) -> dict[str, Any] | None:
    """Put all questions to one picture; None, with a sentence on standard error, if it is no picture."""
    import numpy as np

    from pipeline.preprocess import fit
    from stream.decode import DecodeLimits
    from stream.decode.stills import read_picture
    from stream.errors import UnusableRecord

    try:
        pixels_HW3 = read_picture(path.read_bytes(), DecodeLimits())
    except (OSError, UnusableRecord) as error:
        reason = getattr(error, "strerror", None) or error
        said = f"{escape(str(path))} cannot be read as a picture: {escape(str(reason))}"
        err.print(f"[bold red]error:[/] {said}", soft_wrap=True)
        return None
    batch = np.zeros((engine.buckets[0], engine.image_size, engine.image_size, 3), np.uint8)
    batch[0] = fit(pixels_HW3, engine.image_size)
    answers = engine.answer(batch, 1)
    return {
        "picture": str(path),
        "answers": [
            {"behavior": question.behavior, "ask": question.ask, "p_yes": float(p_yes), "share": float(share)}
            for question, p_yes, share in zip(engine.questions.questions, answers.p_yes[0], answers.share[0], strict=True)
        ],
    }


def _table(said: dict[str, Any]) -> Table:
    table = Table("behavior", "question", "answer", title=escape(said["picture"]), title_justify="left")
    table.add_column("P(yes)", justify="right")
    table.add_column("share", justify="right")
    for answer in said["answers"]:
        word = "yes" if answer["p_yes"] >= _HALF else "no"
        shown = word if answer["share"] >= _HALF else f"{word}, but rather another word"
        table.add_row(answer["behavior"], escape(answer["ask"]), shown, f"{answer['p_yes']:.3f}", f"{answer['share']:.3f}")
    return table
