"""`--help` is what a newcomer reads first: fast, and without loading the model stack."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMMANDS = [
    ["demo"], ["watch"], ["ask"], ["worker"], ["replay"], ["alerts"], ["broker"], ["topics"], ["scenes"],
    ["evaluate"], ["calibrate"], ["diff"], ["report"], ["stress"], ["plan"], ["train"],
    ["contract"],
    ["test"], ["compile"], ["artifact"], ["artifact", "show"], ["artifact", "verify"], ["bench", "model"], ["bench", "delivery"],
    ["chaos"], ["dlq"], ["dlq", "list"], ["dlq", "redrive"], [],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_answers_without_torch(command: list[str]) -> None:
    """Every command's help prints its usage and imports neither torch nor transformers."""
    probe = (
        "import runpy, sys\n"
        f"sys.argv = ['tools/run', *{command!r}, '--help']\n"
        "try:\n    runpy.run_module('tools', run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print(sorted({'torch', 'transformers', 'aiokafka', 'av', 'cv2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_help_takes_less_than_a_second() -> None:
    """In processor time, so that a busy machine does not decide."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "tools", "--help"], cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 1.0
