"""How partitions are taken up: after a look at the topics, and keeping nothing of an opening that is over."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.errors import SourceLost
from stream.kafka.background import Background
from stream.kafka.commits import Commits
from stream.kafka.gates import CHECKS, Gates
from stream.kafka.partition_client import Group
from stream.kafka.taking_up import Opened

FRAMES = TopicPartition("frames", 0)


class Connection:
    """What an opening has in hand when it is cancelled."""


class Waiting:
    """Takes partitions up for ever, with a connection in its hands."""

    def __init__(self, failing: int = 0) -> None:
        """Fail so many looks at the topics first."""
        self.failing = failing
        self.looks = 0
        self.closed = asyncio.Event()
        self.began = asyncio.Event()
        self.connection: weakref.ref[Connection] | None = None

    async def check(self) -> None:
        """All is as it must be, once it is answered."""
        self.looks += 1
        if self.looks <= self.failing:
            message = "a broker has just died"
            raise SourceLost(message)

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


@asynccontextmanager
async def assigned(delivery: Waiting) -> AsyncIterator[tuple[Gates, Background]]:
    """Gates with one partition that is assigned; nothing is left of them at the end."""
    consumer, background = AIOKafkaConsumer(), Background()
    gates = Gates(Group(consumer, Commits(consumer.commit)), delivery, background, revoke_budget_s=1.0)
    gates.on_partitions_assigned([FRAMES])
    yield gates, background
    await background.stop()
    await consumer.stop()


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_four_looks_that_fail_end_nobody() -> None:
    """A broker that just died is asked by all members at once; they would all end."""
    delivery = Waiting(failing=CHECKS - 1)
    async with assigned(delivery) as (gates, background):
        await asyncio.wait_for(delivery.began.wait(), 60.0)
        background.check()
        assert gates.get(FRAMES) is not None
        assert delivery.looks == CHECKS


@pytest.mark.looptime
@pytest.mark.asyncio
async def test_the_fifth_ends_the_worker() -> None:
    """With what the last one said."""
    delivery = Waiting(failing=CHECKS)
    async with assigned(delivery) as (gates, background):
        await asyncio.sleep(60.0)
        with pytest.raises(SourceLost, match="a broker has just died"):
            background.check()
        assert gates.get(FRAMES) is None


@pytest.mark.asyncio
async def test_an_opening_that_was_cancelled_holds_no_connection() -> None:
    """At the end of a source its gates are still there; their cancelled tasks, with the frames that they kept, are not."""
    delivery = Waiting()
    async with assigned(delivery) as (gates, _):
        await asyncio.wait_for(delivery.began.wait(), 5.0)
    await asyncio.sleep(0)  # the step that saw the openings end is over
    gc.collect()
    assert gates.get(FRAMES) is not None
    assert delivery.connection is not None
    assert delivery.connection() is None
