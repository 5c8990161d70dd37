"""The Neuron graphs through torch_xla: what the recorder of torch_neuronx makes of them, checked without the vendor's packages.

What cannot be checked so: whether neuronx-cc accepts the graph and fits it into the device's memory, bf16, and speed.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.device import lowering_environment
from tests.device.lowering_environment import ROOT, NotHere

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

GRAPHS = ["image-encoder"] + [
    f"{stage}-{rung}" for stage in ("fused", "text-encoder", "text-decoder") for rung in ("8x72", "16x128")
]
SEEN = {
    "add", "and", "batch-norm-training", "broadcast", "compare", "concatenate", "constant", "convert", "convolution",
    "divide", "dot", "erf", "exponential", "gather", "get-tuple-element", "iota", "log", "maximum", "multiply", "not", "or",
    "parameter", "reduce", "reshape", "rsqrt", "select", "slice", "subtract", "transpose", "tuple",
}  # fmt: skip
"""Operators of the graphs. One that is new is to be looked at: a custom-call, sort, while or rng the compiler may not take."""
TORCH_2_9 = [
    "tests/unit/test_packing.py", "tests/unit/test_questions.py", "tests/unit/test_capacity.py",
    "tests/unit/test_neuron_graph.py", "tests/unit/test_nrt_status.py",
    "tests/integration/test_checkpoint.py", "tests/integration/test_parity.py", "tests/integration/test_engine.py",
    "tests/integration/test_neuron.py", "tests/integration/test_neuron_failures.py", "tests/integration/test_neuron_artifact.py",
]  # fmt: skip
"""The pipeline's tests that need neither FFmpeg nor a broker."""


@pytest.fixture(scope="module")
def python() -> Path:
    """Find or make the environment; only a machine where it does not install skips what needs it."""
    try:
        return lowering_environment.python()
    except NotHere as reason:
        pytest.skip(f"NO LOWERING ENVIRONMENT, so the Neuron graphs are not lowered: {reason}")


@pytest.fixture(scope="module")
def report(python: Path) -> dict[str, Any]:
    """Lower all graphs once."""
    command = [python, "-W", "ignore", ROOT / "tests" / "device" / "lower.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=lowering_environment.environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def faults(graph: dict[str, Any]) -> set[str]:
    """Say what the Neuron compiler would not take, or not as it is meant."""
    dtypes = set(graph["dtypes"])
    given = Counter(name for name in graph["inputs"] if not name.startswith("f32"))
    taken = Counter(name for name in graph["parameters"] if not name.startswith("f32"))
    unknown = set(graph["operations"]) - SEEN
    found = {
        "falls back to the host": bool(graph["fallbacks"]),
        "dynamic": graph["is_dynamic"],
        "unknown operator": bool(unknown),
        "f64": bool(dtypes & {"f64", "c64", "c128"}),
        "int64 parameter": any(name.startswith("s64") for name in graph["parameters"]),
        "unused input": bool(given - taken) or not set(graph["inputs"]) <= set(graph["parameters"]),
        "other input": bool(taken - given),
        "wrong": not graph["difference"] <= 1e-5,
    }
    return {name for name, is_found in found.items() if is_found}


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_lowers(report: dict[str, Any], name: str) -> None:
    """Statically, wholly, with int32 and uint8 inputs that are all used, to the same numbers as eager CPU (1e-5)."""
    assert report["torch"].startswith("2.9.")
    assert faults(report["graphs"][name]) == set(), report["graphs"][name]
    assert report["graphs"][name]["operations"]["dot"] > 10


def test_all_graphs_were_lowered(report: dict[str, Any]) -> None:
    """None is forgotten."""
    assert set(report["graphs"]) == set(GRAPHS)


@pytest.mark.parametrize(
    ("control", "fault"),
    [
        ("falls back", "falls back to the host"),
        ("bicubic", "falls back to the host"),
        ("dynamic", "falls back to the host"),
        ("sorts", "unknown operator"),
        ("double", "f64"),
        ("int64", "int64 parameter"),
        ("unused", "unused input"),
    ],
)
def test_a_graph_with_a_fault_is_found_out(report: dict[str, Any], control: str, fault: str) -> None:
    """The checks above can fail."""
    assert fault in faults(report["controls"][control])


def test_attention_is_a_plain_softmax(report: dict[str, Any]) -> None:
    """Torch's own guards rows that are masked as a whole, with a reduction more per attention matrix."""
    guarded, image = (
        {name: graph["operations"][name] for name in ("reduce", "exponential")}
        for graph in (report["controls"]["safe softmax"], report["graphs"]["image-encoder"])
    )
    assert guarded == {"reduce": 3, "exponential": 1}
    assert image["reduce"] == 2 * image["exponential"]


@pytest.mark.proof
def test_the_pipeline_holds_under_torch_2_9(python: Path) -> None:
    """pyproject.toml says that it does, and torch-neuronx has no newer one."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "not proof", "--timeout=600"]
    command = [python, "-m", "pytest", *options, *TORCH_2_9]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=lowering_environment.environment(), cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout.splitlines()[-1]
