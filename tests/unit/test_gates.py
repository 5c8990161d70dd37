"""What a gate keeps of its opening: nothing, once that is over."""

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka.background import Background
from stream.kafka.commits import Commits
from stream.kafka.gates import Gates
from stream.kafka.partition_client import Group
from stream.kafka.taking_up import Opened

FRAMES = TopicPartition("frames", 0)


class Connection:
    """What an opening has in hand when it is cancelled."""


class Waiting:
    """Takes partitions up for ever, with a connection in its hands."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.began = asyncio.Event()
        self.connection: weakref.ref[Connection] | None = None

    async def check(self) -> None:
        """All is as it must be."""

    def keep(self, tp: TopicPartition, group: Group, void: Callable[[], None]) -> "Waiting":  # noqa: ARG002
        """Keep it."""
        return self

    async def open(self, incarnation: int) -> Opened | None:  # noqa: ARG002
        """Wait with a connection of its own."""
        connection = Connection()
        self.connection = weakref.ref(connection)
        self.began.set()
        await asyncio.Event().wait()
        return None

    def discard(self) -> None:
        """It is over."""


@pytest.mark.asyncio
async def test_an_opening_that_was_cancelled_holds_no_connection() -> None:
    """At the end of a source its gates are still there; their cancelled tasks, with the frames that they kept, are not."""
    consumer, delivery, background = AIOKafkaConsumer(), Waiting(), Background()
    gates = Gates(Group(consumer, Commits(consumer.commit)), delivery, background, revoke_budget_s=1.0)
    gates.on_partitions_assigned([FRAMES])
    await asyncio.wait_for(delivery.began.wait(), 5.0)
    await background.stop()
    await consumer.stop()
    await asyncio.sleep(0)  # the step that saw the openings end is over
    gc.collect()
    assert gates.get(FRAMES) is not None
    assert delivery.connection is not None
    assert delivery.connection() is None
