"""`tools/run test`: the gate. One command, the same here and in CI: ruff, mypy, import-linter, pytest."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from tools.screen import err

ROOT = Path(__file__).parent.parent

CHECKS = (
    ("ruff", ("-m", "ruff", "check")),
    ("ruff format", ("-m", "ruff", "format", "--check")),
    ("mypy --strict", ("-m", "mypy")),
    ("import-linter", ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")),
    ("contract", ("-m", "tools", "contract", "--check")),
)

EVERYTHING = ("--numprocesses", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""The whole gate's tests on the machine's cores, a file on one of them: its fixtures are made once. Each process has its own
broker. In the files' order the long ones come first. Chosen tests run in one process, where a debugger works."""


def test(
    pytest_args: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PYTEST_ARGS]", help="Passed to pytest, such as -k debounce.")
    ] = None,
) -> None:
    """Check the project: style, types, import rules, published contract, every test. Ends with pytest's own summary.

    Examples: [bold]tools/run test[/], [bold]tools/run test -- tests/unit -x[/]
    """
    failed = [name for name, arguments in CHECKS if not _holds(name, arguments)]
    tests = subprocess.run([sys.executable, "-m", "pytest", *(pytest_args or EVERYTHING)], cwd=ROOT, check=False)
    if failed:
        err.print(f"[bold red]failed before the tests:[/] {', '.join(failed)}")
    raise typer.Exit(1 if failed else tests.returncode)


def _holds(name: str, arguments: tuple[str, ...]) -> bool:
    err.print(f"[bold]{name}[/]")
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False).returncode == 0
