"""Group offsets, committed in the background: newest wins, nobody waits for them.

aiokafka's commit has no bound of its own (it waits for a coordinator for ever), so each try has one here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

log = logging.getLogger(__name__)

COMMIT_TIMEOUT_S = 10.0
RETRY_S = 1.0

Commit = Callable[[dict[TopicPartition, int]], Awaitable[None]]


class Commits:
    """Offsets on their way to the group's coordinator."""

    def __init__(self, commit: Commit) -> None:
        """Take the consumer's commit."""
        self._commit = commit
        self._waiting: dict[TopicPartition, int] = {}
        self._offered = asyncio.Event()

    def offer(self, partition: TopicPartition, offset: int) -> None:
        """Commit this offset as soon as possible, instead of an older one that still waits."""
        self._waiting[partition] = offset
        self._offered.set()

    def drop(self, partition: TopicPartition) -> None:
        """Forget a partition that is no longer ours: its offset may overtake its new owner's."""
        self._waiting.pop(partition, None)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            if not await self._try():
                await asyncio.sleep(RETRY_S)

    async def flush(self, timeout_s: float) -> None:
        """Try once to commit what waits, within a bound; after `run` was cancelled."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._try()

    async def _try(self) -> bool:
        """One commit of all that waits; False if it is worth another."""
        offsets = dict(self._waiting)
        if not offsets:
            return True
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets were not committed, the group is rebalancing: %s", error)
        except (KafkaError, TimeoutError) as error:
            log.warning("offsets were not committed, trying again: %r", error)
            self._offered.set()
            return False
        for partition, offset in offsets.items():
            if self._waiting.get(partition) == offset:
                del self._waiting[partition]
        return True
