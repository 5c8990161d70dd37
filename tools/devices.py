"""Which device answers: the first of a list that starts, with the artifact that fits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.markup import escape

from pipeline.artifact import Artifact, open_artifact
from pipeline.backends import BACKENDS
from pipeline.backends import backend as backend_of
from pipeline.engine import Device, Engine
from pipeline.errors import ArtifactError, DeviceLost, DeviceUnavailable, PipelineError
from pipeline.location import find, weights_hash
from tools import settings
from tools.compile import cached
from tools.errors import CommandError
from tools.options import DEMO_CHECKPOINT
from tools.screen import err

if TYPE_CHECKING:
    from pipeline.questions import QuestionSet


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """What a command was told about model and device."""

    model: str | None
    """Checkpoint to compile for the CPU where no artifact of it is given; with artifacts: what they must hold."""
    artifacts: tuple[Path, ...]
    devices: tuple[str, ...]
    """In order of preference, such as neuron:0, cuda:0, cpu. Empty: those that the artifacts are for, the CPU last."""
    questions: Path
    """The questions file, which the CPU's artifact is tried with when it is compiled."""

    @classmethod
    def of(cls, model: str | None, artifacts: Sequence[Path] | None, devices: Sequence[str] | None, questions: Path) -> Self:
        """Take the commands' options."""
        return cls(model, tuple(artifacts or ()), tuple(devices or ()), questions)


def start(choice: DeviceChoice, questions: "QuestionSet") -> Engine:
    """Start the first device that works; say why those before it did not.

    Raises:
        PipelineError, CommandError: none did; with every reason.
    """
    artifacts = _by_backend(choice)
    if sum(said.startswith("neuron") for said in choice.devices) > 1:
        msg = f"--device {' '.join(choice.devices)}: one Neuron core for each process; start a worker for each"
        raise CommandError(msg)
    wanted = [parse_device(said) for said in choice.devices] or [Device(name) for name in reversed(BACKENDS) if name in artifacts]
    reasons: list[str] = []
    for device in wanted or [Device("cpu")]:
        try:
            engine = _start(device, artifacts, choice, questions)
        except (DeviceUnavailable, DeviceLost, ArtifactError) as error:
            if len(wanted) <= 1:
                raise
            reasons.append(f"{device}: {error}")
            err.print(f"[yellow]device {device} does not start:[/] {escape(str(error))}", soft_wrap=True)
            continue
        return engine
    msg = "no device starts: " + "; ".join(reasons)
    raise DeviceUnavailable(msg)


def parse_device(said: str) -> Device:
    """Read `neuron:0`, `cuda:1` or `cpu`.

    Raises:
        CommandError: anything else.
    """
    name, separator, core = said.partition(":")
    if name not in BACKENDS or (separator and not core.isdecimal()) or (name == "cpu" and core not in {"", "0"}):
        msg = f"--device {said!r}: give neuron:CORE, cuda:INDEX or cpu, such as neuron:0"
        raise CommandError(msg)
    return Device(name, int(core or 0))


def _by_backend(choice: DeviceChoice) -> dict[str, Artifact]:
    found: dict[str, Artifact] = {}
    for folder in choice.artifacts:
        artifact = open_artifact(folder)
        backend = artifact.manifest.backend
        if backend in found:
            msg = f"--artifact {folder} and {found[backend].folder} are both for {backend}: give one for each kind of device"
            raise CommandError(msg)
        _check_model(choice, artifact, next(iter(found.values()), None))
        found[backend] = artifact
    return found


def _check_model(choice: DeviceChoice, artifact: Artifact, other: Artifact | None) -> None:
    """Hold all that may answer to one model: a fallback must not change it unnoticed."""
    if other is not None:
        artifact.check_model(f"artifact {other.folder}", other.manifest.weights)
    if choice.model is None:
        return
    folder = find(choice.model)
    if folder is None:  # workers need no checkpoint
        err.print(f"[yellow]not compared:[/] {escape(choice.model)} is not here; {escape(str(artifact.folder))} is used as it is")
    else:
        artifact.check_model(choice.model, weights_hash(folder))


def _start(device: Device, artifacts: dict[str, Artifact], choice: DeviceChoice, questions: "QuestionSet") -> Engine:
    artifact = artifacts.get(device.backend)
    if artifact is None and device.backend == "cpu" and (choice.model is not None or not choice.artifacts):
        artifact = cached(choice.model or str(DEMO_CHECKPOINT), choice.questions)
    if artifact is None:
        msg = f"no artifact for {device}: give one with --artifact; `tools/run compile --backend {device.backend}` makes it"
        raise DeviceUnavailable(msg)
    refused = settings.apply(backend_of(device.backend).environment(device.core))
    if (core := refused.get("NEURON_RT_VISIBLE_CORES")) is not None:
        msg = f"NEURON_RT_VISIBLE_CORES={core} is set, which is not {device}: unset it, or give --device neuron:{core}"
        raise CommandError(msg)
    engine = Engine(artifact, device, questions)
    try:
        engine.warm()
    except PipelineError:
        engine.close()
        raise
    return engine
