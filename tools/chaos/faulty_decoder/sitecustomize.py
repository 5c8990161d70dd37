"""Python imports this at its start if the folder is in PYTHONPATH: Pillow then dies of some PNG pictures, or hangs in them."""

import signal
import threading
from typing import Any

from PIL.PngImagePlugin import PngImageFile

_decode = PngImageFile.load


def _load(self: PngImageFile) -> Any:
    match self.info.get("oracle.poison"):
        case "dies":
            signal.raise_signal(signal.SIGSEGV)
        case "hangs":
            threading.Event().wait()
    return _decode(self)


PngImageFile.load = _load  # type: ignore[assignment, method-assign]
