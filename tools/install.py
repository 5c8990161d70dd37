"""Installs what pyproject.toml asks for at the versions of constraints.txt into the environment that runs this file.

Called by tools/run with the group `run` or `test`; runs before anything is installed, so it uses the standard library only.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path


def main(group: str) -> int:
    """Install the requirements of `run`, or of `run` and `test`; return pip's exit status."""
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    requirements = list(project["project"]["dependencies"])
    if group == "test":
        requirements += project["dependency-groups"]["test"]
    print(f"tools/run: installing {len(requirements)} packages and what they need (minutes the first time)", file=sys.stderr)
    started_s = time.monotonic()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    done = subprocess.run([*pip, "--constraint", str(root / "tools" / "constraints.txt"), *requirements], check=False)
    print(f"tools/run: installation took {time.monotonic() - started_s:.0f} s", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
