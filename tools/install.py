"""Installs what pyproject.toml asks for at the versions of constraints.txt into the environment that runs this file.

Called by tools/run with `run` or the name of a dependency group. Runs before anything is installed, so it uses the standard
library only.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path


def main(group: str) -> int:
    """Install the requirements of `run`, or of `run` and a dependency group; return pip's exit status."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = list(project["project"]["dependencies"])
    if group != "run":
        requirements += _requirements(project["dependency-groups"], group)
    print(f"tools/run: installing {len(requirements)} packages and what they need (minutes the first time)", file=sys.stderr)
    started_s = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    done = subprocess.run([*pip, "--constraint", str(root / "tools" / "constraints.txt"), *requirements], check=False)
    print(f"tools/run: installation took {time.monotonic() - started_s:.0f} s", file=sys.stderr)
    return done.returncode


def _requirements(groups: dict[str, list[str | dict[str, str]]], name: str) -> list[str]:
    """What a group holds, with that of the groups that it includes (PEP 735)."""
    found = []
    for entry in groups[name]:
        found += [entry] if isinstance(entry, str) else _requirements(groups, entry["include-group"])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
