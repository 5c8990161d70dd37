"""An artifact: a folder with a model compiled for one kind of device, and a manifest that says what it is.

    manifest.json    what it was made of and for, measured parity, every file's hash
    tokenizer.json   all that is needed of the tokenizer
    shared/          weights and what else all programs read
    programs/NAME/   one folder per component

A process that runs an artifact reads only that folder: no checkpoint, no transformers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from tokenizers import Tokenizer

from pipeline.backends.backend import Backend, Component, Precision, Programs, Spec
from pipeline.capacity import Capacity
from pipeline.errors import ArtifactError
from pipeline.packing import Vocabulary
from pipeline.preprocess import ImageSpec
from pipeline.stages import Layout

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
SHARED = "shared"
PROGRAMS = "programs"
FORMAT = 1
"""Raised when a field changes its meaning: other formats are refused."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFact(_Frozen):
    """One file of the folder."""

    sha256: str
    bytes: int


class Parity(_Frozen):
    """How the artifact's answers compare with fp32 Hugging Face, measured when it was compiled."""

    pictures: int
    questions: int
    max_abs_dp: float
    """Largest difference of P(yes) or share."""
    flipped: int
    """Answers on the other side of 0.5."""
    limit: float
    """Largest `max_abs_dp` at which an artifact is written unless forced."""

    @property
    def is_off(self) -> bool:
        """Whether the answers differ by more than is allowed; NaN does, too."""
        return not self.max_abs_dp <= self.limit


class Image(_Frozen):
    """What pictures must be, as `pipeline.preprocess.ImageSpec`."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Words(_Frozen):
    """What of the vocabulary is not in the tokenizer's file."""

    start: int
    unknown: int | None
    max_positions: int


class Manifest(_Frozen):
    """What an artifact is."""

    format: int
    model_id: str
    weights: str
    """SHA-256 of the checkpoint's weights file."""
    code: str
    """Hash of the pipeline's own code that made it: compiled again, not refused, where it differs."""
    tokenizer: str
    """SHA-256 of tokenizer.json."""
    backend: str
    precision: Precision
    layout: Layout
    buckets: tuple[int, ...]
    capacity: str
    has_separate_weights: bool
    image: Image
    words: Words
    versions: Mapping[str, str]
    """Of the packages that the programs depend on."""
    flags: tuple[str, ...]
    """What the compiler was told."""
    parity: Parity | None
    """None where the device that could run it was not there at compile time."""
    files: Mapping[str, FileFact]
    """By path within the folder; every file but the manifest."""
    seal: str = ""
    """SHA-256 of all the above: a manifest is no place for edits."""

    @property
    def spec(self) -> Spec:
        """What was compiled."""
        capacity = Capacity.parse(self.capacity)
        return Spec(self.backend, self.precision, self.layout, self.buckets, capacity, self.has_separate_weights)

    @property
    def id(self) -> str:
        """16 hex digits that name the artifact in alerts and logs."""
        return self.seal[:16]

    def sealed(self) -> "Manifest":
        """The same with its seal."""
        return self.model_copy(update={"seal": self._digest()})

    def _digest(self) -> str:
        canonical = json.dumps(self.model_dump(mode="json", exclude={"seal"}), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def is_as_written(self) -> bool:
        """Whether nobody edited it."""
        return self.seal == self._digest()


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder whose manifest was read; `verify` says whether the files are those that it lists."""

    folder: Path
    manifest: Manifest

    def verify(self) -> None:
        """Hash every file.

        Raises:
            ArtifactError: naming the file that is missing, foreign or changed.
        """
        if not self.manifest.is_as_written:
            msg = f"artifact {self.folder}: {MANIFEST} was edited (its seal differs): sizes are compiled in, so compile it again"
            raise ArtifactError(msg)
        listed, found = set(self.manifest.files), set(_files(self.folder))
        if absent := sorted(listed - found):
            msg = f"artifact {self.folder} lacks {absent[0]}: copy it again, or compile it again"
            raise ArtifactError(msg)
        if foreign := sorted(found - listed):
            msg = (
                f"artifact {self.folder} holds {foreign[0]}, which its manifest does not list: remove the file, or compile again"
            )
            raise ArtifactError(msg)
        for name, fact in self.manifest.files.items():
            if fact_of(self.folder / name) != fact:
                msg = f"artifact {self.folder}: {name} is not the file that was compiled (its SHA-256 differs): compile it again"
                raise ArtifactError(msg)

    def check_model(self, model: str, weights: str) -> None:
        """Compare the weights with a checkpoint's.

        Raises:
            ArtifactError: they are another model's.
        """
        if weights != self.manifest.weights:
            msg = (
                f"artifact {self.folder} holds the weights {self.manifest.weights[:16]} of {self.manifest.model_id}, "
                f"{model} has {weights[:16]}: compile {model}, or leave out --model"
            )
            raise ArtifactError(msg)

    def check_versions(self, backend: Backend) -> None:
        """Compare the library versions with those that are installed.

        Raises:
            ArtifactError: naming the package and both versions.
        """
        here = backend.versions()
        for package, compiled in self.manifest.versions.items():
            if here.get(package, compiled) != compiled:
                msg = (
                    f"artifact {self.folder} was compiled with {package} {compiled}, here is {here[package]}: "
                    "compile it again, or install that version"
                )
                raise ArtifactError(msg)

    def programs(self, backend: Backend) -> Programs:
        """Where each of its programs lies."""
        spec = self.manifest.spec
        return Programs(
            spec, {each: program_folder(self.folder, each) for each in backend.components(spec)}, self.folder / SHARED
        )

    def vocabulary(self) -> Vocabulary:
        """The tokenizer and what goes with it."""
        tokenizer: Any = Tokenizer.from_file(str(self.folder / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        words = self.manifest.words
        return Vocabulary(lambda text: list(tokenizer.encode(text).ids), words.start, words.unknown, words.max_positions)

    @property
    def image(self) -> ImageSpec:
        """What pictures must be."""
        image = self.manifest.image
        return ImageSpec(image.size, image.mean, image.std)


def open_artifact(folder: Path) -> Artifact:
    """Read an artifact's manifest.

    Raises:
        ArtifactError: there is none, or it is of another format.
    """
    path = folder / MANIFEST
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{folder} is no artifact ({path.name}: {error.strerror}): give a folder that `tools/run compile` wrote"
        raise ArtifactError(msg) from error
    except ValueError as error:
        msg = f"artifact {folder}: {path.name} is no JSON ({error}): copy it again, or compile it again"
        raise ArtifactError(msg) from error
    if isinstance(said, dict) and said.get("format") != FORMAT:
        msg = f"artifact {folder} is of format {said.get('format')!r}, this version reads {FORMAT}: compile it again"
        raise ArtifactError(msg)
    try:
        return Artifact(folder, Manifest.model_validate_json(json.dumps(said)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"artifact {folder}: {path.name}: {where}: {first['msg']}: copy it again, or compile it again"
        raise ArtifactError(msg) from error


def program_folder(artifact: Path, component: Component) -> Path:
    """Where a component's program lies in an artifact."""
    return artifact / PROGRAMS / component.name


def code_hash() -> str:
    """16 hex digits that change with the pipeline's own code, which programs follow from."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def fact_of(path: Path) -> FileFact:
    """Hash a file."""
    with path.open("rb") as file:
        return FileFact(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def facts_of(folder: Path) -> dict[str, FileFact]:
    """Hash every file of a folder but the manifest, by its path within, in order."""
    return {name: fact_of(folder / name) for name in _files(folder)}


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)
