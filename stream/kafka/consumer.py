"""The consumer that the source reads with: its settings and why they are so, and the check that its topic exists."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from stream.answering import DEVICE_TIMEOUT_S
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.topology import partition_count

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 10.0
"""For leaving the group: one that is about to rebalance answers when all its members have joined."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Which records, and how many at once."""

    topic: str
    group: str
    session_timeout_s: float = 10.0
    """Without a heartbeat for so long a worker's partitions go to others."""
    max_poll_interval_s: float = 1.5 * DEVICE_TIMEOUT_S
    """Without a poll for so long it leaves its group. Longer than the device may take for a batch, which holds the polls up."""
    max_poll_records: int = 64
    max_poll_bytes: int = 32 * 1024 * 1024
    """Of keys, values and headers; the last record of a poll may exceed it."""

    @property
    def rebalance_timeout_s(self) -> float:
        """For the revocation and the joining of all members; half of it is the revocation's."""
        return 1.5 * self.session_timeout_s

    def client_options(self) -> dict[str, object]:
        """The consumer's settings: no reset and no commit behind our back, detection times, and bounds on prefetched bytes.

        What the consumer holds while nothing is polled (aiokafka 0.14, `Fetcher._get_actions_per_node`): it asks for every
        partition of which nothing lies here, so each assigned partition comes to hold one answer, until its last record is
        taken. That is `max_partition_fetch_bytes`, or one batch of up to the topic's `max.message.bytes` (8 MiB), as a broker
        gives the first batch of a response whole, and each response may begin with another partition. So P partitions hold
        P x 1 MiB where batches are smaller than that, P x 8 MiB at the most; lower settings would not lower the latter. To it
        comes, per broker, one response of up to `fetch_max_bytes` on its way, three times while it is taken apart.
        """
        return {
            "group_id": self.group,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            # its memory lies in class attributes: each consumer of a process needs a class of its own
            "partition_assignment_strategy": (type("OwnSticky", (StickyPartitionAssignor,), {}),),
            "session_timeout_ms": int(self.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(self.session_timeout_s * 100),
            "rebalance_timeout_ms": int(self.rebalance_timeout_s * 1000),
            "request_timeout_ms": 40_000,
            "max_poll_interval_ms": int(self.max_poll_interval_s * 1000),
            "metadata_max_age_ms": 30_000,
            # a question for offsets waits behind a fetch on the same connection; taking a partition up asks five in a row
            "fetch_max_wait_ms": 100,
            "max_partition_fetch_bytes": 1024 * 1024,
            "fetch_max_bytes": 16 * 1024 * 1024,
        }


@asynccontextmanager
async def open_consumer(connection: KafkaConnection, config: SourceConfig) -> AsyncIterator[AIOKafkaConsumer]:
    """Start a consumer that has joined no group yet; leave the group and stop at the end, within a bound.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: not allowed, or there is no such topic.
    """
    await partition_count(connection, config.topic)
    async with reaching(connection):
        consumer = GroupConsumer(**connection.client_options(), **config.client_options())
    try:
        async with reaching(connection):
            await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


class GroupConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka's base is untyped
    """A consumer that closes its connections however long its group takes to let it go."""

    async def stop(self) -> None:
        """Leave the group and stop, within a bound."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await super().stop()
        except TimeoutError:
            log.warning("the consumer did not leave group %s within %g s", self._group_id, STOP_TIMEOUT_S)
            await self._close()

    async def _close(self) -> None:
        """Do what aiokafka 0.14 leaves undone where its stop is cancelled: all that comes after the coordinator's."""
        if self._coordinator is not None and self._fetcher is not None:  # it was started
            await self._coordinator._stop_heartbeat_task()  # noqa: SLF001  (it has no other way)
            await self._coordinator._stop_commit_offsets_refresh_task()  # noqa: SLF001
            await self._fetcher.close()
        await self._client.close()
