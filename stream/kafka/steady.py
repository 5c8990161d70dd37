"""The clock that arrivals and proofs are noted by: it began as the wall clock of this process and is never set.

Silence is a difference of two such times, so a step of the machine's clock, ahead or back, changes nothing that this process says
of a camera. The state outlives the process: in it an arrival stands in wall time as of its writing, and a camera that
goes on sending is written anew by the clock as it is now.
"""

import time
from dataclasses import replace

from stream.state_records import CameraRecord

STEP_S = 1.0
"""A wall clock that is off by less was not set: two clocks are never read at the very same moment."""

_BEGAN_S = time.time() - time.monotonic()


def now_s() -> float:
    """Seconds since the epoch, as the wall clock would have gone on from this process's start."""
    return _BEGAN_S + time.monotonic()


def as_stored(record: CameraRecord) -> CameraRecord:
    """What is written of a camera: its arrival in wall time."""
    return _arrived(record, record.state.arrived_at_s + _ahead_s())


def as_known(record: CameraRecord) -> CameraRecord:
    """What was written of a camera, by this clock; nothing arrived later than now, whatever clock another worker had."""
    return _arrived(record, min(record.state.arrived_at_s - _ahead_s(), now_s()))


def _ahead_s() -> float:
    """How far the wall clock was set ahead since this process began."""
    ahead_s = time.time() - now_s()
    return ahead_s if abs(ahead_s) >= STEP_S else 0.0


def _arrived(record: CameraRecord, at_s: float) -> CameraRecord:
    return replace(record, state=replace(record.state, arrived_at_s=at_s))
