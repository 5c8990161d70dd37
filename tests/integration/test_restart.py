"""Workers that follow each other on a real broker: what was done is not done again, and what was not is."""

import asyncio
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.answers import Answers
from stream.kafka.topology import TopicNames, create_topics
from stream.state_records import Cursor
from tests.integration.gray_video import segment
from tests.integration.restart_world import QUICK, Group
from tests.integration.worker_world import BLACK, WHITE, BrightnessDevice
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

BROKEN = b"\x89PNG\r\n\x1a\n broken"
ONE_BY_ONE = replace(QUICK, buckets=(1,))


@dataclass
class TiringDevice(BrightnessDevice):
    """Answers so many pictures, then never comes back."""

    strength: int = 0

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer while it can."""
        if sum(self.batches) >= self.strength:
            await asyncio.sleep(1e6)
        return await super().__call__(pixels, n)


async def made(broker: FoundBroker, names: TopicNames, partitions: int = 1) -> Group:
    """A group with its topics."""
    await create_topics(broker.connection, names, partitions=partitions)
    return Group(broker, names)


@pytest.mark.parametrize("is_killed", [pytest.param(False, id="stopped"), pytest.param(True, id="killed")])
async def test_successor_asks_no_answered_picture_again(broker: FoundBroker, names: TopicNames, *, is_killed: bool) -> None:
    """After a stop or a kill the successor asks the new pictures only, and the open episode goes on to its end."""
    group = await made(broker, names)
    await group.publish([BLACK] * 2 + [WHITE] * 4)
    async with group.worker() as first:
        await first.answered(6)
        if not is_killed:
            await first.stop()
    own = await group.record()
    assert (own.resume_offset, own.clean, own.attempt) == (6, not is_killed, 0)
    async with group.worker() as second:
        await group.publish([BLACK] * 4, 6)
        await second.answered(4)
        counts = second.worker.counts
        assert (counts.answered, counts.repeated, sum(second.device.batches)) == (4, 0, 4)
    assert await group.kinds() == ["seen", "started", "ended"]


async def test_pictures_that_were_answered_but_not_delivered_are_asked_again(broker: FoundBroker, names: TopicNames) -> None:
    """A camera that stands ahead of its partition is passed by record by record; only what nobody delivered is asked."""
    group = await made(broker, names)
    await group.publish([BLACK], camera="attic")
    await group.publish([WHITE] * 5)
    async with group.worker(config=ONE_BY_ONE, device=TiringDevice(strength=4)) as first:
        await first.until(lambda: first.worker.counts.answered == 4)
        await first.quiet()
    _, cameras = await group.state()
    assert {camera: each.cursor for camera, each in cameras.items()} == {"attic": Cursor(1), "den": Cursor(4)}
    async with group.worker() as second:
        await second.answered(2)
        assert sum(second.device.batches) == 2
    assert await group.kinds() == ["seen", "seen", "started"]
    assert (await group.record()).resume_offset == 6


async def test_half_answered_segment_goes_on_at_its_next_picture(broker: FoundBroker, names: TopicNames) -> None:
    """Killed in the middle of a record that spans more than a gap: the successor decodes all of it, and asks the rest."""
    group = await made(broker, names)
    await group.publish([segment((10,) * 14 + (250, 240, 245, 30), Fraction(2))])
    async with group.worker(config=ONE_BY_ONE, device=TiringDevice(strength=15)) as first:
        await first.until(lambda: first.worker.counts.answered == 15)
        await first.quiet()
    own, cameras = await group.state()
    assert own is not None
    assert (own.resume_offset, cameras["den"].cursor) == (0, Cursor(0, 15))
    async with group.worker() as second:
        await second.answered(3)
        counts = second.worker.counts
        assert (counts.decoded, counts.decode_only, counts.answered, counts.used) == (18, 15, 3, 1)
    assert await group.kinds() == ["seen", "started"]
    own, cameras = await group.state()
    assert own is not None
    assert (own.resume_offset, cameras["den"].cursor) == (1, Cursor(1))


async def test_dead_letters_are_not_repeated(broker: FoundBroker, names: TopicNames) -> None:
    """Two unusable records behind an open one: told once, although the place never passed them before the kill."""
    group = await made(broker, names)
    await group.publish([WHITE], camera="attic")
    await group.publish([BROKEN, b"nothing that anybody knows"])
    async with group.worker(device=TiringDevice()) as first:
        await first.until(lambda: first.worker.counts.dead_lettered == 2)
        await first.quiet()
    own = await group.record()
    assert (own.resume_offset, own.dead_lettered) == (0, (1, 2))
    async with group.worker() as second:
        await second.answered(1)
        assert (second.worker.counts.repeated, second.worker.counts.dead_lettered) == (2, 0)
    assert len(await group.read(names.dead_letters)) == 2
    assert (await group.record()).dead_lettered == ()


async def test_workers_change_places_under_load(broker: FoundBroker, names: TopicNames) -> None:
    """One joins, the other is stopped, while pictures keep coming: every picture is answered once, every event told once."""
    group = await made(broker, names, partitions=2)
    scene = ([BLACK] * 4 + [WHITE] * 4) * 4
    cameras = {0: "den", 1: "attic"}

    async def film() -> None:
        for number, picture in enumerate(scene):
            await asyncio.gather(*(group.publish([picture], number, partition=p, camera=each) for p, each in cameras.items()))
            await asyncio.sleep(0.02)

    async with group.worker(device=BrightnessDevice(0.05)) as first:
        await first.until(lambda: first.ready(2))
        filming = asyncio.create_task(film())
        await first.until(lambda: first.worker.counts.answered >= 6)
        async with group.worker(device=BrightnessDevice(0.05)) as second:
            await second.until(lambda: second.worker.counts.answered >= 4)
            await first.stop()
            first_answered = first.worker.counts.answered
            await filming
            await second.until(lambda: second.worker.counts.answered + first_answered >= 2 * len(scene))
            await second.stop()
            assert second.worker.counts.answered + first_answered == 2 * len(scene)
    for partition in cameras:
        assert await group.kinds(partition) == ["seen", *["started", "ended"] * 3, "started"]
        own = await group.record(partition)
        assert (own.resume_offset, own.clean) == (len(scene), True)


async def test_record_that_may_have_killed_is_tried_aside(broker: FoundBroker, names: TopicNames) -> None:
    """A worker that died without progress leaves an attempt: the next one tries what lay there at its start, and that only."""
    group = await made(broker, names)
    await group.publish([WHITE, BLACK])
    async with group.worker(device=TiringDevice()) as first:
        await first.until(lambda: first.worker.counts.decoded == 2)
        assert first.trial.tried == []
    assert (await group.record()).attempt == 1
    async with group.worker(device=TiringDevice()) as second:
        await second.until(lambda: second.worker.counts.decoded == 2)
        assert second.trial.tried == [0, 1]
    assert (await group.record()).attempt == 2
    async with group.worker() as third:
        await third.answered(2)
        await group.publish([BLACK] * 2, 2)
        await third.answered(4)
        assert third.trial.tried == [0, 1]
    assert (await group.record()).attempt == 0
    async with group.worker() as fourth:
        await fourth.until(fourth.ready)
        await group.publish([BLACK], 4)
        await fourth.answered(1)
        assert fourth.trial.tried == []


async def test_clean_stop_leaves_no_suspicion(broker: FoundBroker, names: TopicNames) -> None:
    """Stopped in order without any progress: whatever lies there killed nobody."""
    group = await made(broker, names)
    async with group.worker() as first:
        await first.until(first.ready)
        assert (await group.record()).attempt == 1
        await first.stop()
    own = await group.record()
    assert (own.attempt, own.clean) == (0, True)
    async with group.worker() as second:
        await group.publish([BLACK])
        await second.answered(1)
        assert second.trial.tried == []
