"""Which machine a figure was measured on."""

import platform
from pathlib import Path


def processor() -> str:
    """The processor's name; its architecture where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
