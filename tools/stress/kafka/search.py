"""The search for the highest number of cameras, one trial after the other on the same workers."""

import time
from collections.abc import Callable

from tools.errors import CommandError
from tools.stress.kafka.figures import TRIALS, CameraSearch, Through
from tools.stress.kafka.observer import Seen
from tools.stress.kafka.rig import Rig
from tools.stress.kafka.trial import LOOK_S, attempt

_READY_TIMEOUT_S = 300.0


async def await_ready(rig: Rig, workers: int) -> None:
    """Wait until every worker has its partitions, and no partition is without one.

    Raises:
        CommandError: that does not come.
        DeviceLost: a worker lost its device.
    """
    partitions = len(rig.cameras.books.partitions)

    def is_ready(seen: Seen) -> bool:
        return len(seen.writers) == partitions and len(set(seen.writers.values())) == workers

    until_s = time.monotonic() + _READY_TIMEOUT_S
    while not await rig.observer.until(is_ready, LOOK_S):
        rig.watched.check()
        if time.monotonic() > until_s:
            seen = rig.observer.seen.writers
            msg = (
                f"after {_READY_TIMEOUT_S:g} s {len(set(seen.values()))} of {workers} workers have taken up {len(seen)} of "
                f"{partitions} partitions: this machine is too busy or too small for --workers {workers}"
            )
            raise CommandError(msg)


async def search(rig: Rig, start: int, through: Through, report: Callable[[str, int, int], None]) -> None:
    """Search for the highest number of cameras; `through` is told of each trial, `report` the seconds behind and in all.

    A number that fails narrowly is tried once more: one slow moment of a machine is no limit.

    Raises:
        CommandError, DeviceLost: a worker ended, or all stand still.
    """
    looking, began_s = CameraSearch(min(start, through.most), through.most), time.monotonic()
    while (cameras := looking.next()) is not None:
        for _ in range(2):
            behind_s, trial_s = time.monotonic() - began_s, rig.pace.trial_s
            total_s = max(TRIALS * trial_s, behind_s + 2 * trial_s)
            report(f"{cameras} cameras through Kafka", round(behind_s), round(total_s))
            found, grown = await attempt(rig, cameras)
            through.attempts.append(found)
            through.alerts, through.foreign = rig.observer.seen.alerts, rig.observer.seen.foreign
            if found.is_held or grown is None or grown.is_clear:
                break
        looking.tell(cameras, is_held=found.is_held)
