"""Carries ticks to the sink, one at a time per partition and all partitions side by side: a slow one holds nobody up."""

import asyncio
from collections.abc import Iterable
from typing import Self
from weakref import WeakSet

from stream.counts import Counts
from stream.partition import Partition, PartitionKey
from stream.ports import Sink

MAX_BACKLOG = 1_000
"""Events and dead letters that may wait behind a delivery under way; beyond it nothing more of the partition is read."""
MAX_BACKLOG_BYTES = 32 * 1024 * 1024
"""Of dead letters that wait so."""


class Deliveries:
    """What is on its way. `async with` waits for the end of all; the first failure of any ends the block."""

    def __init__(self, sink: Sink, counts: Counts) -> None:
        """Begin with nothing under way."""
        self._sink = sink
        self._counts = counts
        self._tasks = asyncio.TaskGroup()
        self._under_way: dict[Partition, asyncio.Task[None]] = {}
        self._over: WeakSet[Partition] = WeakSet()
        """Their assignments have ended: the source will say so."""

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Wait for what is under way."""
        await self._tasks.__aexit__(*error)  # type: ignore[arg-type]

    def begin(self, partitions: Iterable[Partition], *, everything: bool) -> None:
        """Deliver what waits: events and dead letters at once, the rest only if `everything` is due."""
        for partition in partitions:
            due = partition.backlog or (everything and partition.due)
            if due and partition not in self._under_way and partition not in self._over:
                self._spawn(partition, final=False)

    def finish(self, partition: Partition) -> None:
        """Deliver all that a partition still has, after what is under way, as its last tick."""
        if partition not in self._over:
            self._spawn(partition, final=True)

    def held(self) -> frozenset[PartitionKey]:
        """Partitions of which nothing more is to be read until their delivery is through."""
        lagging = (each for each in self._under_way if each.backlog >= MAX_BACKLOG or each.backlog_bytes >= MAX_BACKLOG_BYTES)
        return frozenset(partition.key for partition in lagging)

    def _spawn(self, partition: Partition, *, final: bool) -> None:
        before = self._under_way.get(partition)
        self._under_way[partition] = self._tasks.create_task(self._deliver(partition, before, final=final))

    async def _deliver(self, partition: Partition, before: asyncio.Task[None] | None, *, final: bool) -> None:
        if before is not None:
            await asyncio.wait([before])
        while partition not in self._over:
            tick = partition.take_tick(final=final)
            if await self._sink.deliver(tick):
                self._counts.events += len(tick.events)
            else:
                self._over.add(partition)
            if tick.final or not (final or partition.backlog):
                break
        if final:
            self._over.add(partition)
        if self._under_way.get(partition) is asyncio.current_task():
            del self._under_way[partition]
