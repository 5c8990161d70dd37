"""`tools/run compile`: a checkpoint into an artifact that a device runs; how `--model` is compiled on first use."""

import hashlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from tools import settings
from tools.errors import CommandError
from tools.options import DEMO_CHECKPOINT, DEMO_QUESTIONS, JsonOption, ModelOption, QuestionsOption
from tools.screen import err, out, steps_bar, write_json

if TYPE_CHECKING:  # torch and numpy stay out of --help
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.artifact import Artifact
    from pipeline.compiling import Request

BUCKETS = {"cpu": (1, 2, 4, 8), "cuda": (1, 2, 4, 8, 16, 32, 64), "neuron": (1, 2, 4, 8)}
"""Batch sizes by default: an H200 does half again as much in batches of 64 as of 8, the others nothing."""
PICTURES = 8
"""Pictures that answers are compared on: with fp32 Hugging Face on two cores, 3 s each at the base model's size."""
UNUSED_S = 30 * 86_400.0
"""How long an artifact that nobody starts stays in the cache: every version of this project and of PyTorch adds its own."""
_SEED = 2_000_000_001
"""Draws rooms that no training and no demo draws."""


def compile_model(  # noqa: PLR0913  (a command's options)
    *,
    model: ModelOption = None,
    backend: Annotated[Literal["cpu", "cuda", "neuron"], typer.Option("--backend", help="Kind of device.")] = "cpu",
    precision: Annotated[
        Literal["fp32", "bf16", "int8"],
        typer.Option("--precision", help="Of the matrix products. bf16, int8: where the device has the instructions."),
    ] = "fp32",
    layout: Annotated[
        Literal["fused", "components"],
        typer.Option("--layout", help="One program, or image encoder, text encoder and text decoder one by one."),
    ] = "fused",
    buckets: Annotated[
        str | None,
        typer.Option("--buckets", metavar="N,...", help="Batch sizes.", show_default="1,2,4,8; cuda: up to 64"),
    ] = None,
    questions: QuestionsOption = DEMO_QUESTIONS,
    capacity: Annotated[
        str, typer.Option("--capacity", metavar="SLOTSxTOKENS", help="Largest question set that can be asked without compiling.")
    ] = "16x128",
    separate_weights: Annotated[
        bool, typer.Option("--separate-weights", help="neuron: weights beside the programs, replaceable without compiling.")
    ] = False,
    pictures: Annotated[
        int, typer.Option("--pictures", metavar="N", min=1, help="Rendered pictures to compare answers on.")
    ] = PICTURES,
    force: Annotated[bool, typer.Option("--force", help="Write the artifact however far its answers are off.")] = False,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the artifact.")],
    json: JsonOption = None,
) -> None:
    """Compile a BLIP VQA checkpoint for a device, compare its answers with fp32 Hugging Face, and write the artifact.

    Runs in a child process whose words are kept beside the folder, in DIR.log. What is already there and whole is kept: after an
    interruption the same command goes on. Answers that are off by more than is allowed are refused.

    Example: [bold]tools/run compile --model Salesforce/blip-vqa-base --precision bf16 --out out/blip-bf16[/]

    For Inferentia2, on any x86 host: [bold]tools/run compile --backend neuron --precision bf16 --out out/blip-inf2[/]
    """
    from pipeline.backends.backend import Precision
    from pipeline.capacity import Capacity
    from pipeline.compiling import Request
    from pipeline.stages import Layout
    from tools.questions import load_questions

    try:
        Capacity.parse(capacity)
    except ValueError as error:
        msg = f"--capacity: {error}"
        raise CommandError(msg) from error
    with tempfile.TemporaryDirectory(prefix="pawsight-compile-") as folder:
        request = Request(
            model=model or str(DEMO_CHECKPOINT),
            location=absolute(model or str(DEMO_CHECKPOINT)),
            backend=backend,
            precision=Precision(precision),
            layout=Layout(layout),
            buckets=parse_buckets(buckets) if buckets else BUCKETS[backend],
            capacity=capacity,
            has_separate_weights=separate_weights,
            questions=load_questions(questions).questions.questions,
            pictures=save_pictures(pictures, Path(folder)),
            is_forced=force,
            out=str(out_dir.absolute()),
        )
        artifact = run_compiler(request)
    if json is not None:
        write_json(json, artifact.manifest.model_dump(mode="json") | {"id": artifact.manifest.id})
    if json != "-":
        from tools.artifact import facts_table

        out.print(facts_table(artifact))


def run_compiler(request: "Request") -> "Artifact":
    """Compile in a child process, with progress.

    Raises:
        PipelineError: as `pipeline.compiling.compile_in_child`.
    """
    from pipeline.backends import backend
    from pipeline.compiling import compile_in_child

    settings.apply(backend(request.backend).environment(0))
    folder = Path(request.out)
    log = folder.with_name(f"{folder.name}.log")
    err.print(f"compiling {escape(request.model)} for {request.backend} ({request.precision.value}); log: {escape(str(log))}")
    with steps_bar() as report:
        return compile_in_child(request, log, report)


def cached(model: str, question_file: Path, precision: str = "fp32") -> "Artifact":
    """The CPU artifact of a checkpoint from the cache, compiled on first use.

    The cache's key is what the artifact is made of: weights, library versions, and this project's own code. A compilation also
    clears away what nobody has started for `UNUSED_S`.

    Raises:
        PipelineError: it cannot be compiled.
    """
    from pipeline.artifact import MANIFEST, code_hash, open_artifact
    from pipeline.backends import backend
    from pipeline.backends.backend import Precision
    from pipeline.capacity import DEFAULT_CAPACITY
    from pipeline.compiling import Request
    from pipeline.errors import ArtifactError
    from pipeline.location import locate, weights_hash
    from tools.questions import load_questions

    made_of = [weights_hash(locate(model)), str(dict(backend("cpu").versions())), code_hash(), precision]
    folder = settings.cache_dir() / "artifacts" / hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:24]
    try:
        artifact = open_artifact(folder)
        artifact.verify()
    except ArtifactError:
        pass
    else:
        (folder / MANIFEST).touch()
        return artifact
    _forget_unused(folder.parent)
    with tempfile.TemporaryDirectory(prefix="pawsight-compile-") as scratch:
        return run_compiler(
            Request(
                model=model,
                location=absolute(model),
                backend="cpu",
                precision=Precision(precision),
                buckets=BUCKETS["cpu"],
                capacity=str(DEFAULT_CAPACITY),
                questions=load_questions(question_file).questions.questions,
                pictures=save_pictures(PICTURES, Path(scratch)),
                out=str(folder.absolute()),
            )
        )


def _forget_unused(artifacts: Path) -> None:
    """Delete what nobody has started for long, with its log. A worker that runs has all of its artifact in memory."""
    from pipeline.artifact import MANIFEST

    for manifest in artifacts.glob(f"*/{MANIFEST}"):
        if time.time() - manifest.stat().st_mtime > UNUSED_S:
            shutil.rmtree(manifest.parent, ignore_errors=True)
            manifest.parent.with_name(f"{manifest.parent.name}.log").unlink(missing_ok=True)


def parse_buckets(said: str) -> tuple[int, ...]:
    """Read `1,2,4,8`.

    Raises:
        CommandError: no ascending list of numbers over 0.
    """
    parts = said.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        msg = f"--buckets {said!r}: give batch sizes such as 1,2,4,8"
        raise CommandError(msg)
    buckets = tuple(int(part) for part in parts)
    if list(buckets) != sorted(set(buckets)):
        msg = f"--buckets {said!r}: give each size once, the smallest first"
        raise CommandError(msg)
    return buckets


def absolute(model: str) -> str:
    """A checkpoint's name that means the same in another folder."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def save_pictures(count: int, folder: Path) -> str:
    """Render pet scenes to compare answers on, as the .npy that the compiler's process reads."""
    import numpy as np

    path = folder / "pictures.npy"
    np.save(path, _rendered(count))
    return str(path)


def scenes(count: int, side: int) -> "NDArray[np.uint8]":
    """Render pet scenes and prepare them for a model, RGB uint8 (count, side, side, 3)."""
    import numpy as np

    from pipeline.preprocess import fit

    return np.stack([fit(picture, side) for picture in _rendered(count)])


def _rendered(count: int) -> "NDArray[np.uint8]":
    import numpy as np

    from tools.scenes.render import View, render
    from tools.scenes.sampling import sample, seeded

    pictures = []
    for index in range(count):
        choices = seeded(_SEED, index)
        room, moment = sample(choices)
        pictures.append(render(View.of(room, 2.0, moment.door_open), moment, "", choices)[..., ::-1])
    return np.stack(pictures)
