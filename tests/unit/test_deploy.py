"""What tools/deploy says is what the code does and what belongs together."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "tools" / "deploy"
PINS = {
    "torch": "2.9.1", "torch-neuronx": "2.9.0.2.15.32035", "libneuronxla": "2.2.17544.0", "neuronx-cc": "2.26.6360.0",
}  # fmt: skip
"""Neuron SDK 2.31.1, the last with torch-neuronx."""


def pins(name: str) -> dict[str, str]:
    """Read `package==version` lines."""
    lines = (DEPLOY / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith(("#", "-")))


def test_pins_are_one_sdk() -> None:
    """In every file, and the compiler only where it is needed."""
    assert pins("neuron-constraints.txt") == PINS
    assert pins("neuron-requirements.txt") | pins("neuron-compile-requirements.txt") == PINS
    assert "neuronx-cc" not in pins("neuron-requirements.txt")
    said = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert [package for package, version in PINS.items() if f"{package} | {version} |" not in said] == []


def test_the_torch_of_neuron_is_in_the_projects_range() -> None:
    """And lowered with the same one."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (floor,) = (
        found[1] for wanted in document["project"]["dependencies"] if (found := re.fullmatch(r"torch>=(\d+\.\d+)", wanted))
    )
    assert floor == ".".join(PINS["torch"].split(".")[:2])
    lowering = (ROOT / "tests" / "device" / "lowering-requirements.txt").read_text(encoding="utf-8")
    assert f"torch=={PINS['torch']}\n" in lowering


@pytest.mark.parametrize("place", ["pyproject.toml", "tools/constraints.txt", "tools/install.py", "tools/run"])
def test_nothing_installs_the_placeholder(place: str) -> None:
    """The public index's torch-neuronx is not AWS's: the name stands nowhere without its version."""
    text = (ROOT / place).read_text(encoding="utf-8")
    assert re.findall(r"[\"']?torch-neuronx(?!==2\.9\.0)[\"']", text) == []
    assert not re.search(r"install\s+torch[-_]neuronx", text)


def test_systemd_starts_one_worker_per_core() -> None:
    """The instance's name is the core; a worker that lost its device is started again, as a new process."""
    unit = (DEPLOY / "pawsight-worker@.service").read_text(encoding="utf-8")
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert start.endswith("-m tools worker --device neuron:%i --artifact ${ARTIFACT}")
    assert "Restart=on-failure" in unit
    assert "KillSignal=SIGTERM" in unit


def test_kubernetes_gives_each_container_its_own_core() -> None:
    """One neuroncore each, and a core of its own in the command line."""
    manifest: Any = yaml.safe_load((DEPLOY / "neuron-workers.yaml").read_text(encoding="utf-8"))
    containers = manifest["spec"]["template"]["spec"]["containers"]
    cores = [re.search(r"neuron:\$\{NEURON_RT_VISIBLE_CORES:-(\d)\}", container["args"][0])[1] for container in containers]
    assert cores == ["0", "1"]
    for container in containers:
        assert container["resources"]["limits"]["aws.amazon.com/neuroncore"] == 1
        assert container["args"][0].startswith("exec ")  # so that SIGTERM reaches the worker, not the shell
