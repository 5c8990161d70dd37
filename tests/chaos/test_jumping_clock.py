"""The machine whose wall clock is set while a program runs on it."""

import subprocess
import sys
import time
from pathlib import Path

from tools.chaos.jumping_clock import machine, set_ahead

PROGRAM = "import sys, time; [print(time.time(), flush=True) for _ in sys.stdin]"


def test_a_program_sees_the_clock_jump(tmp_path: Path) -> None:
    """Both ways, and at once; without a jump it is right."""
    command = ["env", f"PYTHONPATH={machine(tmp_path)}", sys.executable, "-P", "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for ahead_s in (0.0, 1800.0, -1800.0):
            set_ahead(tmp_path, ahead_s)
            process.stdin.write("now\n")
            process.stdin.flush()
            said_s = float(process.stdout.readline())
            assert abs(said_s - time.time() - ahead_s) < 60.0
        process.stdin.close()
