"""Compiles a checkpoint into an artifact: a backend's programs one by one, parity with Hugging Face, a manifest.

The folder grows beside its final place and is renamed when it is whole. What an interrupted run left there is used again: each
program carries the key of what it was made of. `tools/run compile` runs this in a child process (`pipeline.compiling`).
"""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.artifact import (
    FORMAT,
    MANIFEST,
    SHARED,
    TOKENIZER,
    Artifact,
    FileFact,
    Image,
    Manifest,
    Parity,
    Words,
    code_hash,
    fact_of,
    facts_of,
    open_artifact,
    program_folder,
)
from pipeline.backends import backend as backend_of
from pipeline.backends.backend import Backend, Component, Precision, Spec
from pipeline.capacity import Capacity
from pipeline.checkpoint import Checkpoint
from pipeline.engine import Device, Engine
from pipeline.errors import ArtifactError, CompileFailed, DeviceUnavailable
from pipeline.packing import pack
from pipeline.questions import QuestionSet
from pipeline.reference import answers_alone
from pipeline.stages import Shapes, Stage, example, module

LIMITS: Mapping[Precision, float] = {Precision.FP32: 1e-4, Precision.BF16: 0.1, Precision.INT8: 0.2}
"""Largest |dP| and share difference from fp32 Hugging Face at which an artifact is written. A few answers near 0.5 move by
hundredths in bf16 and int8; how many end on the other side is what the manifest's `flipped` counts."""
_KEY = "key.json"
_HALF = 0.5

Report = Callable[[str, int, int], None]
"""Progress: what is being done, steps done, steps in all."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What an artifact's answers are compared on."""

    questions: QuestionSet
    """Their calibrations are left out: it is the model's own answers that are compared."""
    pictures: NDArray[np.uint8]
    """uint8 (n, S, S, 3) RGB, n at most the largest bucket or a multiple of it."""
    is_forced: bool = False
    """Write the artifact however far its answers are off."""


@dataclass(frozen=True, slots=True)
class _Build:
    checkpoint: Checkpoint
    spec: Spec
    backend: Backend
    folder: Path
    """Grows here."""
    report: Report
    steps: list[str] = field(default_factory=list)

    def step(self, what: str) -> None:
        self.report(what, len(self.steps), len(self.backend.components(self.spec)) + 3)
        self.steps.append(what)


def compile_artifact(checkpoint: Checkpoint, spec: Spec, trial: Trial, out: Path, report: Report) -> Artifact:
    """Compile; return what is already there if it is the same.

    Args:
        checkpoint: consumed: its model may be changed in place.
        spec: what to compile.
        trial: what to compare on.
        out: the artifact's folder.
        report: told of every step.

    Raises:
        CompileFailed: the machine or compiler refuses, or the answers are off by more than `LIMITS`.
        QuestionError: the trial's questions do not fit the capacity.
        ArtifactError: `out` holds something else.
    """
    trial = replace(trial, questions=trial.questions.uncalibrated)
    backend = backend_of(spec.backend)
    if spec.has_separate_weights and spec.backend != "neuron":
        msg = f"--separate-weights is for neuron; {spec.backend} keeps its weights beside the program's steps anyway"
        raise CompileFailed(msg)
    if (refusal := backend.refusal(spec)) is not None:
        raise CompileFailed(refusal)
    spec.capacity.refuse(pack(trial.questions, checkpoint.vocabulary).inputs.size)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _beside(out, "lock").open("w") as lock:  # workers that start together compile once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (there := _already(checkpoint, spec, backend, out)) is not None and (trial.is_forced or not _is_off(there)):
            return there
        return _compile(_Build(checkpoint, spec, backend, _beside(out, "building"), report), trial, out)


def _compile(build: _Build, trial: Trial, out: Path) -> Artifact:
    checkpoint, spec = build.checkpoint, build.spec
    build.folder.mkdir(exist_ok=True)
    build.step("asking Hugging Face")
    reference = answers_alone(checkpoint, trial.questions, trial.pictures)  # before the model is changed
    build.step(f"preparing {spec.precision.value}")
    _compile_programs(build)
    build.step("comparing the answers")
    (build.folder / TOKENIZER).write_text(checkpoint.tokenizer_json, encoding="utf-8")
    _write_manifest(build, parity=None)
    parity = _parity(build, trial, reference)
    if parity is not None and parity.is_off and not trial.is_forced:
        msg = (
            f"the {spec.precision.value} answers differ from fp32 Hugging Face by up to {parity.max_abs_dp:.2g} "
            f"({parity.flipped} of {parity.pictures * parity.questions} on the other side of 0.5), allowed is {parity.limit:g}: "
            "use a higher precision, or --force"
        )
        raise CompileFailed(msg)
    _write_manifest(build, parity)
    _put_in_place(build.folder, out)
    return open_artifact(out)


def _already(checkpoint: Checkpoint, spec: Spec, backend: Backend, out: Path) -> Artifact | None:
    """What lies at `out`, if it is whole and the same; None if it must be made.

    Raises:
        ArtifactError: something that is no artifact lies there.
    """
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: give a folder with --out"
        raise ArtifactError(msg)
    if not out.exists() or not any(out.iterdir()):
        return None
    if not (out / MANIFEST).is_file():
        msg = f"{out} is not empty and no artifact: give another folder with --out, or empty it"
        raise ArtifactError(msg)
    try:
        there = open_artifact(out)
        there.verify()
    except ArtifactError:
        return None
    manifest = there.manifest
    made_of = (manifest.spec, manifest.weights, manifest.code, manifest.versions, manifest.flags)
    same = made_of == (spec, checkpoint.weights, code_hash(), backend.versions(), backend.flags(spec))
    if same and manifest.parity is None and not _beside(out, "building").exists():
        shutil.copytree(out, _beside(out, "building"))  # compiled where no device was: its answers can be compared
        return None
    return there if same else None


def _compile_programs(build: _Build) -> None:
    """Compile every component that is not there from an earlier try."""
    (build.folder / SHARED).mkdir(exist_ok=True)
    blip, dtype = build.backend.prepare(build.checkpoint.blip, build.spec, build.folder / SHARED)
    shapes = Shapes.of(blip)
    wanted = {component.name for component in build.backend.components(build.spec)}
    programs = program_folder(build.folder, Component(Stage.FUSED)).parent
    for foreign in (path for path in programs.glob("*") if path.name not in wanted):
        shutil.rmtree(foreign)  # of another layout or other sizes
    for component in build.backend.components(build.spec):
        build.step(component.name)
        folder, key = program_folder(build.folder, component), _key(build, component)
        if _is_there(folder, key):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        largest = build.spec.capacity
        size = component.capacity or Capacity(max(largest.slots, 2), max(largest.tokens, 2))  # an axis of 1 would become fixed
        inputs = example(component.stage, shapes, component.bucket or 2, size, dtype)
        build.backend.compile(module(blip, component.stage), inputs, component, build.spec, folder)
        files = {name: fact.model_dump() for name, fact in facts_of(folder).items()}
        (folder / _KEY).write_text(json.dumps({"key": key, "files": files}), encoding="utf-8")


def _key(build: _Build, component: Component) -> str:
    """What a component is made of."""
    spec = {name: str(value) for name, value in asdict(build.spec).items() if name not in {"buckets", "capacity"}}
    largest = (build.spec.buckets[-1], str(build.spec.capacity)) if component.bucket is None else ()
    versions, flags = dict(build.backend.versions()), build.backend.flags(build.spec)
    made_of = [build.checkpoint.weights, spec, component.name, largest, versions, flags, code_hash()]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _is_there(folder: Path, key: str) -> bool:
    try:
        said = json.loads((folder / _KEY).read_text(encoding="utf-8"))
        return bool(said["key"] == key) and all(
            fact_of(folder / name) == FileFact.model_validate(fact) for name, fact in said["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def _write_manifest(build: _Build, parity: Parity | None) -> None:
    checkpoint, spec, vocabulary = build.checkpoint, build.spec, build.checkpoint.vocabulary
    manifest = Manifest(
        format=FORMAT,
        model_id=checkpoint.model_id,
        weights=checkpoint.weights,
        code=code_hash(),
        tokenizer=fact_of(build.folder / TOKENIZER).sha256,
        backend=spec.backend,
        precision=spec.precision,
        layout=spec.layout,
        buckets=spec.buckets,
        capacity=str(spec.capacity),
        has_separate_weights=spec.has_separate_weights,
        image=Image(**asdict(checkpoint.image)),
        words=Words(start=vocabulary.start, unknown=vocabulary.unknown, max_positions=vocabulary.max_positions),
        versions=build.backend.versions(),
        flags=build.backend.flags(spec),
        parity=parity,
        files=facts_of(build.folder),
    )
    (build.folder / MANIFEST).write_text(manifest.sealed().model_dump_json(indent=2) + "\n", encoding="utf-8")


def _parity(build: _Build, trial: Trial, reference: Answers) -> Parity | None:
    """Compare the artifact's answers; None where there is no device to ask."""
    try:
        engine = Engine(open_artifact(build.folder), Device(build.spec.backend), trial.questions)
    except DeviceUnavailable:
        return None
    try:
        answers = ask_all(engine, trial.pictures)
    finally:
        engine.close()
    return compare(answers, reference, LIMITS[build.spec.precision])


def ask_all(engine: Engine, pictures_NSS3: NDArray[np.uint8]) -> Answers:
    """Answer any number of pictures, in the engine's largest buckets."""
    bucket = engine.buckets[-1]
    said = []
    for start in range(0, len(pictures_NSS3), bucket):
        part = pictures_NSS3[start : start + bucket]
        padded = np.zeros((bucket, *part.shape[1:]), np.uint8)
        padded[: len(part)] = part
        said.append(engine.answer(padded, len(part)))
    return Answers(p_yes=np.concatenate([one.p_yes for one in said]), share=np.concatenate([one.share for one in said]))


def compare(answers: Answers, reference: Answers, limit: float) -> Parity:
    """Say how far answers are from the reference's."""
    return Parity(
        pictures=len(reference.p_yes),
        questions=reference.p_yes.shape[1],
        max_abs_dp=float(max(abs(answers.p_yes - reference.p_yes).max(), abs(answers.share - reference.share).max())),
        flipped=int(((answers.p_yes > _HALF) != (reference.p_yes > _HALF)).sum()),
        limit=limit,
    )


def _is_off(artifact: Artifact) -> bool:
    return artifact.manifest.parity is not None and artifact.manifest.parity.is_off


def _beside(out: Path, what: str) -> Path:
    """A name beside the artifact's that nobody else gives."""
    return out.with_name(f".{out.name}.pawsight-{what}")


def _put_in_place(building: Path, out: Path) -> None:
    """Replace what lies at `out`; it is there whole, before or after, at any moment but between two renames."""
    old = _beside(out, "old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    building.rename(out)
    shutil.rmtree(old, ignore_errors=True)
