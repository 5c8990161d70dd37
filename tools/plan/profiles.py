"""Profiles of a worker's speed, as `tools/run stress --profile FILE` writes them, and the instances that they speak for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.errors import CommandError
from tools.plan.prices import Instance, Prices


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Machine(_Strict):
    """Where it was measured."""

    processor: str
    cores: int = Field(ge=1)
    instance: str | None
    """Such as inf2.xlarge; None if it is no cloud instance or unknown."""


class ThroughKafka(_Strict):
    """What whole workers did that shared their host with a broker and simulated cameras."""

    workers: int = Field(ge=1)
    worker_fps: float = Field(gt=0)
    """Asked frames per second of one at which lag did not grow."""
    commit_p99_ms: float | None = Field(ge=0)
    """From a frame's capture to the commit of its transaction."""
    worker_cpu_s_per_1000_frames: float | None = Field(ge=0)
    """Decoding, device and transactions."""


class Profile(_Strict):
    """What one worker did."""

    format: Literal["pawsight.profile/1"]
    date: date
    machine: Machine
    device: str
    backend: str
    precision: str
    artifact: str
    """Id of the compiled model."""
    model: str
    questions: int = Field(ge=1)
    """Asked of each frame."""
    questions_fingerprint: str
    throughput_fps: float = Field(gt=0)
    """Asked frames per second of one worker at saturation."""
    p99_ms: float | None = Field(ge=0)
    open_loop_fps: float | None = Field(gt=0)
    """Highest rate that it sustained within its latency bound."""
    extra_question_percent: float | None
    """What one more question costs, in percent of a frame."""
    cpu_s_per_1000_frames: float | None = Field(ge=0)
    kafka: ThroughKafka | None = None
    """None of profiles that were not measured through Kafka, too."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A profile, its file, and the row of the price table that it speaks for."""

    path: Path
    profile: Profile
    instance: Instance

    @property
    def is_of_the_instance(self) -> bool:
        """Whether it was measured there; if not, that it holds there is assumed."""
        return self.profile.machine.instance == self.instance.name

    @property
    def where(self) -> str:
        """Where it was measured, for a sentence."""
        machine = self.profile.machine
        return machine.instance or f"{machine.processor}, {machine.cores} cores"


def load_profiles(said: Sequence[str], prices: Prices, prices_path: Path) -> tuple[Measured, ...]:
    """Read `FILE` or `INSTANCE=FILE` each, and find the instance in the price table.

    Raises:
        CommandError: naming the file, the line where there is one, and the remedy: it cannot be read, is no profile, is of an
            instance without a price, of another kind of device than the instance has, or of another model than the first.
    """
    found = tuple(_load(each, prices, prices_path) for each in said)
    for other in found[1:]:
        first = found[0]
        if other.profile.model != first.profile.model:
            msg = (
                f"{other.path} is of the model {other.profile.model}, {first.path} of {first.profile.model}: side by side stand "
                "profiles of one model: leave one out, or measure both with the same model"
            )
            raise CommandError(msg)
    return found


def check_artifact(found: Sequence[Measured], folder: Path) -> None:
    """Compare the profiles of an artifact's backend with the artifact.

    Raises:
        ArtifactError: the folder is no artifact.
        CommandError: naming both: a profile is of another artifact, or none is of its backend.
    """
    from pipeline.artifact import open_artifact  # brings torch

    manifest = open_artifact(folder).manifest
    same = [each for each in found if each.profile.backend == manifest.backend]
    remedy = f"measure it with `tools/run stress --artifact {folder} --profile FILE`"
    if not same:
        msg = f"--artifact {folder} is for {manifest.backend}, and no --profile is of that backend: {remedy}"
        raise CommandError(msg)
    for each in same:
        if each.profile.artifact != manifest.id:
            msg = f"{each.path} is a profile of the artifact {each.profile.artifact}, {folder} is {manifest.id}: {remedy}"
            raise CommandError(msg)


def _load(said: str, prices: Prices, prices_path: Path) -> Measured:
    name, path = _split(said)
    profile = read_profile(path)
    remedy = f"write --profile INSTANCE={path} with one of {prices.names}, or add the instance to the price table"
    wanted = name or profile.machine.instance
    if wanted is None:
        msg = f"{path} was measured on {profile.machine.processor} and names no instance to price: {remedy}"
        raise CommandError(msg)
    instance = prices.find(wanted)
    if instance is None:
        msg = f"{path}: {prices_path} has no price of {wanted}: {remedy}"
        raise CommandError(msg)
    if instance.backend != profile.backend:
        msg = (
            f"{path} is a profile of the backend {profile.backend}, workers on {wanted} run on {instance.backend} "
            f"({prices_path}): measure there, or name another instance as INSTANCE={path}"
        )
        raise CommandError(msg)
    return Measured(path, profile, instance)


def _split(said: str) -> tuple[str | None, Path]:
    """Read INSTANCE=FILE; a file whose own name has an equals sign is that file."""
    name, separator, path = said.partition("=")
    if not separator or Path(said).exists():
        return None, Path(said)
    if not name or not path:
        msg = f"--profile {said}: write FILE, or INSTANCE=FILE such as inf2.xlarge=out/neuron.json"
        raise CommandError(msg)
    return name, Path(path)


def read_profile(path: Path) -> Profile:
    """Read one profile.

    Raises:
        CommandError: naming the file, the line where there is one, and the remedy.
    """
    remedy = "measure again with `tools/run stress --profile FILE`"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"--profile {path}: {error.strerror or error}: {remedy}"
        raise CommandError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"--profile {path} is no text: {remedy}"
        raise CommandError(msg) from error
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        line = _line_of(text, first)
        msg = f"--profile {path}{'' if line is None else f', line {line}'}: {_complaint(first)}: {remedy}"
        raise CommandError(msg) from error


def _line_of(text: str, first: Any) -> int | None:
    """Find the line of a key, whose name no other key of a profile has; None for what is missing or no JSON at all."""
    key = f'"{first["loc"][-1]}"' if first["loc"] else None
    if key is None or key not in text or first["type"] == "missing":
        return None
    return text[: text.index(key)].count("\n") + 1


def _complaint(first: Any) -> str:
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return f"it is no JSON ({first['ctx']['error']})"
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}"
    return f"{place}: {first['msg']} (given: {first['input']!r})" if place else str(first["msg"])
