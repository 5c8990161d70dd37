"""Makes the environment with torch 2.9 and torch_xla in which the Neuron graphs are lowered, once per user and set of pins.

It is no part of .venv: torch_xla ends at torch 2.9. It takes 3.5 GB of download, 6.3 GB of disk and two minutes at best.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINS = Path(__file__).parent / "lowering-requirements.txt"
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
PYTHONS = ((3, 11), (3, 12), (3, 13))
"""Those that torch_xla 2.9 and torch-neuronx 2.9 have wheels for."""
GIB_NEEDED = 11
"""Installed, and what pip holds beside it meanwhile."""
_TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "looptime", "blockbuster")
_OPT_OUT = "PAWSIGHT_NO_LOWERING"


class NotHere(Exception):
    """The environment cannot be had on this machine; with the reason."""


def python() -> Path:
    """Give the environment's interpreter, installing it first if need be.

    Raises:
        NotHere: it does not install here.
    """
    if os.environ.get(_OPT_OUT):  # noqa: TID251  (the tests' own switch)
        msg = f"{_OPT_OUT} is set"
        raise NotHere(msg)
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or sys.version_info[:2] not in PYTHONS:
        msg = f"torch_xla 2.9 has no wheel for Python {platform.python_version()} on {sys.platform} {platform.machine()}"
        raise NotHere(msg)
    folder = _cache() / f"lowering-{_fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _install(folder)
            (folder / "complete").touch()
    return folder / "venv" / "bin" / "python"


def environment() -> dict[str, str]:
    """Variables for a process in it: XLA's own CPU client, the checkout on the path, no network."""
    ours = {"PJRT_DEVICE": "CPU", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return dict(os.environ) | ours  # noqa: TID251  (a child's environment, not ours)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"  # noqa: TID251  (freedesktop.org's rule for caches)
    return Path(base) / "pawsight"


def _fingerprint() -> str:
    wanted = [platform.python_version(), PINS.read_text(encoding="utf-8"), CONSTRAINTS.read_text(encoding="utf-8"), *_project()]
    return hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]


def _install(folder: Path) -> None:
    free = shutil.disk_usage(folder).free / 2**30
    if free < GIB_NEEDED:
        msg = f"{free:.0f} GiB free at {folder}, {GIB_NEEDED} are needed"
        raise NotHere(msg)
    for other in folder.parent.glob("lowering-*"):
        if other != folder:  # of older pins
            shutil.rmtree(other, ignore_errors=True)
    venv = folder / "venv"
    _do([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet", "--no-input", "--no-compile"]
    pip += ["--constraint", str(_others(folder))]
    _do([*pip, "--no-deps", "--requirement", str(PINS)])
    _do([*pip, *_project(), *_TOOLS])
    _do([str(venv / "bin" / "python"), "-c", "import torch, torch_xla; assert torch.__version__.startswith('2.9.')"])


def _project() -> list[str]:
    """What the project needs but torch, which is there at another version than .venv's."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [wanted for wanted in document["project"]["dependencies"] if not re.match(r"torch\b", wanted)]


def _others(folder: Path) -> Path:
    """Write the project's constraints without torch's."""
    kept = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("torch==")]
    path = folder / "constraints.txt"
    path.write_text("\n".join(kept), encoding="utf-8")
    return path


def _do(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500, env=environment())
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        msg = f"`{' '.join(command[:4])} ...` failed: {' '.join(words)}"
        raise NotHere(msg)
