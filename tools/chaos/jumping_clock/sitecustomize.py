"""Python imports this at its start if its folder is in PYTHONPATH: the wall clock is then as far ahead as a file there says."""

import time
from pathlib import Path

_ahead = Path(__file__).with_name("ahead_s")
_right = time.time


def _wrong() -> float:
    return _right() + float(_ahead.read_text(encoding="ascii"))


time.time = _wrong
