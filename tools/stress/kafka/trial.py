"""One trial: so many cameras publish, and workers keep up or do not.

It publishes for a while before its window, so that nothing cold counts, and goes on behind it until what was captured within it
is committed, so that its last pictures are not spared the load. Then everything is drained before the next.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from math import inf, nan
from typing import Any

from tools.errors import CommandError
from tools.stress.figures import nearest_rank
from tools.stress.kafka.figures import Attempt
from tools.stress.kafka.lag import Asked, Growth, commit_times, growth, highest_lags
from tools.stress.kafka.observer import Seen
from tools.stress.kafka.rig import Busy, Rig

_BEHIND_S = 5.0
"""Lag beyond what batches and segments explain at which a trial is given up."""
LOOK_S = 0.25
"""How often whoever waits looks whether all are at work."""
_STILL_S = 60.0
"""Workers that commit nothing for so long, and brokers that take nothing, although something waits, stand still."""


async def attempt(rig: Rig, cameras: int) -> tuple[Attempt, Growth | None]:
    """Let so many cameras publish and see whether the workers keep up; then wait until everything is committed.

    Returns:
        What was seen, and how the lag went; None for a trial that was given up before the end of its window.

    Raises:
        CommandError, DeviceLost: a worker or our own broker ended, or all stand still.
    """
    books, pace = rig.cameras.books, rig.pace
    firsts = [len(sent) for sent in books.partitions]
    books.late_s.clear()
    begun_s = rig.clock.now_s() + LOOK_S
    window_s = begun_s + pace.inherent_s + pace.warm_s
    over = asyncio.Event()
    async with beside(rig.cameras.publish(cameras, rig.clock, begun_s, over)) as publishing:
        await _sleep_until(rig, publishing, window_s)
        before = rig.watched.busy()
        is_whole = await _watch(rig, cameras, publishing, window_s)
        after = rig.watched.busy()
        if is_whole:
            await _await_window(rig, cameras, window_s + pace.window_s)
        over.set()
        await _settle(rig, publishing)
    await drain(rig)
    asked = [_asked(rig, partition, firsts[partition]) for partition in rig.partitions(cameras)]
    return _judge(rig, cameras, asked, (before, after, is_whole))


def _judge(rig: Rig, cameras: int, asked: list[list[Asked]], seen: tuple[Busy, Busy, bool]) -> tuple[Attempt, Growth | None]:
    pace, (before, after, is_whole) = rig.pace, seen
    begun_s, ended_s = before.at_s, before.at_s + pace.window_s
    every = [each for partition in asked for each in partition]
    grown = growth([highest_lags(each, begun_s, pace.part_s, pace.parts) for each in asked], pace.part_s) if is_whole else None
    within_s = [each.committed_s - each.captured_s for each in every if begun_s <= each.captured_s < ended_s]
    frames = sum(before.at_s < each.committed_s <= after.at_s for each in every)
    both = None if before.workers is None or after.workers is None else after.workers - before.workers
    rules, shape = rig.rules, rig.cameras.shape
    return (
        Attempt(
            cameras=cameras,
            asked_fps=cameras * min(rules.sample_fps, float(shape.rate)),
            is_held=grown is not None and not grown.is_growing(pace.parts),
            lag_rate=inf if grown is None else grown.rate,
            p50_s=nan if grown is None else nearest_rank(within_s, 50),
            p99_s=nan if grown is None else nearest_rank(within_s, 99),
            late_p99_s=nearest_rank(rig.cameras.books.late_s, 99),
            cpu=both if frames else None,
            frames=frames,
            cores=after.cores_since(before),
        ),
        grown,
    )


def _asked(rig: Rig, partition: int, first: int) -> list[Asked]:
    """Give a trial's asked pictures of a partition, with the commits that were seen."""
    sent = rig.cameras.books.partitions[partition]
    times_s = commit_times(first, len(sent), rig.observer.seen.commits[partition])
    return [
        Asked(captured_s, committed_s)
        for record, committed_s in zip(sent[first:], times_s, strict=True)
        for captured_s in record.asked_s
    ]


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Have something done while the block lasts; at its end it is cancelled if it has not ended."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _sleep_until(rig: Rig, publishing: "asyncio.Task[None]", at_s: float) -> None:
    while (left_s := at_s - rig.clock.now_s()) > 0:
        _check(rig, publishing)
        await asyncio.sleep(min(left_s, LOOK_S))


async def _watch(rig: Rig, cameras: int, publishing: "asyncio.Task[None]", begun_s: float) -> bool:
    """Wait for the window's end; False: the workers are so far behind that there is nothing more to see."""
    pace = rig.pace
    while (left_s := begun_s + pace.window_s - rig.clock.now_s()) > 0:
        _check(rig, publishing)
        if rig.lag_s(cameras) > _BEHIND_S + pace.inherent_s:
            return False
        await asyncio.sleep(min(left_s, LOOK_S))
    return True


async def _await_window(rig: Rig, cameras: int, ended_s: float) -> None:
    """Keep the load up until what was captured up to a moment is committed, within a bound."""
    books = rig.cameras.books.partitions

    def is_done(partition: int, seen: Seen) -> bool:
        offset = seen.resume_offset(partition)
        return offset > 0 and books[partition][offset - 1].newest_s >= ended_s

    everywhere = partial(_all, rig.partitions(cameras), is_done)
    await rig.observer.until(everywhere, _BEHIND_S + 2 * rig.pace.inherent_s)


def _all(partitions: range, is_done: Callable[[int, Seen], bool], seen: Seen) -> bool:
    return all(is_done(partition, seen) for partition in partitions)


async def _settle(rig: Rig, publishing: "asyncio.Task[None]") -> None:
    """Wait until the brokers have what was sent: an idempotent producer's records never expire by themselves."""
    moved_s, waiting = time.monotonic(), rig.cameras.unacknowledged
    while not (await asyncio.wait({publishing}, timeout=LOOK_S))[0]:
        rig.watched.check()
        if rig.cameras.unacknowledged < waiting:
            moved_s, waiting = time.monotonic(), rig.cameras.unacknowledged
        if time.monotonic() - moved_s > _STILL_S:
            msg = f"the brokers have taken nothing for {_STILL_S:g} s, and {waiting} records wait: see what their host does"
            raise CommandError(msg)
    publishing.result()


async def drain(rig: Rig) -> None:
    """Wait until everything that was published is committed.

    Raises:
        CommandError, DeviceLost: a worker ended, or all stand still.
    """
    books, seen = rig.cameras.books, rig.observer.seen
    moved_s, committed = time.monotonic(), seen.committed
    while not await rig.observer.until(lambda seen: seen.committed >= books.records, LOOK_S):
        rig.watched.check()
        if seen.committed > committed:
            moved_s, committed = time.monotonic(), seen.committed
        if time.monotonic() - moved_s > _STILL_S + 4 * rig.pace.part_s:
            waiting = books.records - committed
            msg = f"the workers have committed nothing for {_STILL_S:g} s, and {waiting} records wait: see what their host does"
            raise CommandError(msg)


def _check(rig: Rig, publishing: "asyncio.Task[None]") -> None:
    rig.watched.check()
    if publishing.done():
        publishing.result()
