"""The stand-in of torch_neuronx is strict: what the real one would refuse, or do silently wrong, it refuses."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.integration.neuron_world import child, host, machine

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

FLAGS = ["--target", "inf2", "--auto-cast", "none"]
INPUTS = (torch.ones(2, 3), torch.ones(3, dtype=torch.int32))


class Sum(torch.nn.Module):
    """A small graph."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Use both."""
        return left + right


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Any]:
    """The stand-in, on a machine whose two cores this process sees."""
    with machine(tmp_path, NEURON_RT_VISIBLE_CORES="0-1"):
        yield import_module("torch_neuronx")


def traced(vendor: Any, folder: Path, *, flags: list[str] = FLAGS, inputs: tuple[torch.Tensor, ...] = INPUTS) -> Any:
    """Trace and save it."""
    args = [*flags, "--logfile", str(folder / "log")]
    program = vendor.trace(Sum().eval(), inputs, compiler_workdir=folder, compiler_args=args, cpu_backend=True)
    torch.jit.save(program, str(folder / "program.pt"))
    return program


def test_a_program_takes_its_shapes_and_dtypes_only(vendor: Any, tmp_path: Path) -> None:
    """On every call, after it was saved and loaded."""
    traced(vendor, tmp_path)
    program = torch.jit.load(str(tmp_path / "program.pt"))
    assert torch.equal(program(*INPUTS), INPUTS[0] + INPUTS[1])
    for wrong in ((INPUTS[0][:1], INPUTS[1]), (INPUTS[0].double(), INPUTS[1]), (INPUTS[0], INPUTS[1].float())):
        with pytest.raises((RuntimeError, KeyError)):
            program(*wrong)


def test_a_program_runs_only_where_it_was_loaded(vendor: Any, tmp_path: Path) -> None:
    """Neither right after tracing nor without the package."""
    program = traced(vendor, tmp_path)
    with pytest.raises(RuntimeError, match="not on a core"):
        program(*INPUTS)
    alone = child("import sys, torch; torch.jit.load(sys.argv[1])", tmp_path, str(tmp_path / "program.pt"))
    assert "neuron_stand_in::enter" in alone.stderr


def test_unpinned_loads_go_round_robin(vendor: Any, tmp_path: Path) -> None:
    """Which is what the backend must never rely on."""
    traced(vendor, tmp_path)
    for _ in range(3):
        torch.jit.load(str(tmp_path / "program.pt"))
    assert [core for _, core in host().placements] == [0, 1, 0]
    with vendor.neuron_cores_context(start_nc=1, nc_count=1), pytest.raises(RuntimeError, match="not thread-safe"):
        vendor.neuron_cores_context(start_nc=1, nc_count=1).__enter__()
    with pytest.raises(ValueError, match="nc_count 2"):
        vendor.neuron_cores_context(start_nc=0, nc_count=2).__enter__()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--auto-cast", "none"], "please supply compiler argument target"),
        (["--target", "inf2"], "left to defaults"),
        ([*FLAGS, "-lnc"], "EARG001"),
        (["--target", "inf3", "--auto-cast", "none"], "EARG001"),
    ],
)
def test_flags_are_checked(vendor: Any, tmp_path: Path, flags: list[str], said: str) -> None:
    """As the compiler's command line would, and no default is relied on."""
    with pytest.raises(RuntimeError, match=said):
        traced(vendor, tmp_path, flags=flags)


def test_int64_is_refused(vendor: Any, tmp_path: Path) -> None:
    """Where the real one would cut it."""
    with pytest.raises(RuntimeError, match=r"torch\.int64 at the boundary"):
        traced(vendor, tmp_path, inputs=(INPUTS[0], INPUTS[1].long()))


def test_a_forked_process_cannot_use_the_runtime(vendor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As aws-neuron-sdk issue 1083 has it."""
    traced(vendor, tmp_path)
    program = torch.jit.load(str(tmp_path / "program.pt"))
    monkeypatch.setattr(sys.modules["torch_neuronx.host"].os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="NRT_STATE_CHILD"):
        program(*INPUTS)
