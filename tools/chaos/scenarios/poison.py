"""Records that cannot be used, whatever their size, and kills that must not be blamed on records."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import product
from uuid import uuid4

from aiokafka import TopicPartition

from stream.kafka.topology import FRAME_MAX_BYTES
from tools.chaos.bystanders import MARK_HEADER
from tools.chaos.reading import high_watermarks
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.foreign import ForeignRecord, publish
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.status import CrashPoint, How, Order, Side, reached, withdraw
from tools.chaos.stored import stored

DEATH_BOUND_S = 40.0
TAKEN_UP_BOUND_S = 45.0
_MIB = 2**20
_BATCH_HEAD_BYTES = 1_000
"""More than batch, record and header fields take."""


def _dead_letters(key: bytes | None, value: bytes | None) -> Callable[[Act], Awaitable[None]]:
    async def disturb(act: Act) -> None:
        """Send such a record for each crash point, and let whoever comes by die there."""
        place = TopicPartition(act.stage.names.frames, 0)
        for point, side in product((CrashPoint.DEAD_LETTER, CrashPoint.COMMIT), Side):
            died = _reached(act, point) + 1
            for worker in act.workers:
                Order(point, side, How.EXIT).give(worker.files)
            header = (MARK_HEADER.encode(), str(uuid4()).encode())
            await publish(act.stage.direct, place, [ForeignRecord(key, value, (header,))])
            await act.until(partial(_has_died, act, point, died), DEATH_BOUND_S, f"a worker died {side} {point}")
            for worker in act.workers:
                withdraw(worker.files)
        await act.flows()
        act.figures |= {"records": 4, "bytes": len(value or b"")}

    return disturb


def _has_died(act: Act, point: CrashPoint, times: int) -> bool:
    return _reached(act, point) >= times


def _reached(act: Act, point: CrashPoint) -> int:
    return sum(order.point is point for worker in act.workers for order in reached(worker.files))


async def _plain_kills(act: Act) -> None:
    """Kill the only worker ten times while the device stands still, each time when it has taken the partitions up."""
    act.stall()
    await asyncio.sleep(1.0)
    for kills in range(10):
        attempts = await _attempts(act)
        act.workers[0].kill()
        act.start_workers()
        await act.until_none(partial(_not_taken_up, act, attempts), TAKEN_UP_BOUND_S, f"taken up after kill {kills + 1}")
    act.figures["attempts"] = await _attempts(act)
    act.unstall()
    await act.flows()
    await act.stop_publisher()
    await act.done()
    letters = sum((await high_watermarks(act.stage.direct, act.stage.names.dead_letters)).values())
    act.figures["dead_letters"] = letters
    if letters:
        act.problems.append(f"{letters} dead letters of healthy records")


async def _not_taken_up(act: Act, before: int) -> int:
    """How many of the partitions were not taken up since there were so many attempts."""
    return max(0, before + len(act.populated) - await _attempts(act))


async def _attempts(act: Act) -> int:
    """Attempts without progress, of all partitions together."""
    return sum(record.attempt for record in (await stored(act.stage.direct, act.stage.names)).partitions.values())


SCENARIOS = {
    "16-dead-letter-of-2-mib": Scenario(
        "unusable records of 2 MiB, with deaths before and after the dead letter and its commit",
        _dead_letters(b"stranger", b"\1" * 2 * _MIB),
    ),
    "16-dead-letter-of-nothing": Scenario(
        "records with neither key nor value, with deaths before and after the dead letter and its commit",
        _dead_letters(None, None),
    ),
    "16-dead-letter-at-the-limit": Scenario(
        "unusable records as large as the topic takes, with deaths before and after the dead letter and its commit",
        _dead_letters(b"stranger", b"\1" * (FRAME_MAX_BYTES - _BATCH_HEAD_BYTES)),
    ),
    "17-plain-kills": Scenario(
        "ten times kill -9 at one offset: no healthy record is dead-lettered",
        _plain_kills,
        Setting(workers=1, worker={"session_s": 1.0}),
    ),
}
