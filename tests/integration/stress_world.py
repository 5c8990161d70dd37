"""An engine, real or not, with something between it and the load of `stress`."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.engine import Engine
from pipeline.errors import DeviceLost
from tests.integration.tiny_checkpoint import pictures
from tools.stress.load import Bench
from tools.stress.pictures import Pictures, choose

TOLERANCE = 1e-4


@dataclass
class Watched:
    """An engine, real or not, with something between it and the load."""

    engine: Engine | None = None
    buckets: tuple[int, ...] = (1, 2, 4, 8)
    submitters: int = 1
    takes_s: float = 0.0
    """Added to each call."""
    stalls: dict[int, float] = field(default_factory=dict)
    """Added to the call of that number, seconds."""
    shift: int = 0
    """Rows by which a batch's answers are moved."""
    fails_at: int | None = None
    calls: list[tuple[int, int]] = field(default_factory=list)
    """Bucket and frames of each."""
    most: int = 0
    _inside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, pixels_BSS3: NDArray[np.uint8], frames: int) -> Answers:
        """Answer by the engine; without one by the picture's first pixels."""
        with self._lock:
            number = len(self.calls)
            self.calls.append((len(pixels_BSS3), frames))
            self._inside += 1
            self.most = max(self.most, self._inside)
        if number == self.fails_at:
            msg = "the chip is gone"
            raise DeviceLost(msg)
        time.sleep(self.takes_s + self.stalls.get(number, 0.0))
        with self._lock:
            self._inside -= 1
        if self.engine is not None:
            answers = self.engine.answer(pixels_BSS3, frames)
        else:
            values = pixels_BSS3[:frames, 0, :2, 0].astype(np.float32) / np.float32(255)
            answers = Answers(values, np.ones_like(values))
        return moved(answers, self.shift)


def moved(answers: Answers, rows: int) -> Answers:
    """Give every frame the answers of another one of its batch."""
    return Answers(np.roll(answers.p_yes, rows, 0), np.roll(answers.share, rows, 0))


def bench(watched: Watched, shown: Pictures | None = None, *, seconds: float = 0.3, requests_a_frame: int = 1) -> Bench:
    """What a cell is measured with."""
    return Bench(watched, shown or choose(watched, pictures(16, 8), TOLERANCE), seconds, 0.1, requests_a_frame)


def idle() -> bool:
    """Whether no thread of the load is left."""
    return not any(each.name.startswith(("server-", "arrivals")) for each in threading.enumerate())
