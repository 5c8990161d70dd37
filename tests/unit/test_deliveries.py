"""Ticks on their way to the sink, in virtual time: one at a time per partition, none waiting for another partition's."""

import asyncio
from dataclasses import dataclass, field

import pytest

from stream.counts import Counts
from stream.deliveries import MAX_BACKLOG, MAX_BACKLOG_BYTES, Deliveries
from stream.errors import DeliveryFailed
from stream.partition import Partition
from stream.ports import Assigned, Tick
from stream.state_records import QuestionRevision, RecordMark
from tests.unit.partition_books import letter
from tests.unit.partition_world import TOPIC

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@dataclass
class Sink:
    """Takes its time for a tick, per partition; remembers how many were under way at once."""

    seconds: dict[int, float] = field(default_factory=dict)
    refuses: frozenset[int] = frozenset()
    ticks: list[tuple[float, Tick]] = field(default_factory=list)
    under_way: dict[int, int] = field(default_factory=dict)
    most: int = 0

    async def deliver(self, tick: Tick) -> bool:
        """Note when a tick begins."""
        self.ticks.append((asyncio.get_running_loop().time(), tick))
        self.under_way[tick.partition] = self.under_way.get(tick.partition, 0) + 1
        self.most = max(self.most, *self.under_way.values())
        await asyncio.sleep(self.seconds.get(tick.partition, 0.0))
        self.under_way[tick.partition] -= 1
        return tick.partition not in self.refuses

    def letters(self, number: int) -> list[tuple[float, int]]:
        """When each dead letter of a partition was on its way."""
        return [(at, each.record.offset) for at, tick in self.ticks if tick.partition == number for each in tick.dead_letters]


def partition(number: int) -> Partition:
    """The books of a partition of which nothing is known."""
    return Partition(Assigned(TOPIC, number, 1), {})


def reject(books: Partition, *offsets: int, size: int = 0) -> None:
    """Give a partition dead letters to deliver."""
    for offset in offsets:
        books.ledger.open(RecordMark(offset, 0, 0))
        books.reject(letter(offset, size))


async def test_one_tick_of_a_partition_at_a_time_with_all_that_came_meanwhile() -> None:
    """What comes during a delivery waits for its end, and then goes as one tick, at once."""
    sink, books = Sink({0: 2.0}), partition(0)
    async with Deliveries(sink, Counts()) as deliveries:
        for offset in range(4):
            reject(books, offset)
            deliveries.begin([books], everything=False)
            await asyncio.sleep(0.5)
    assert sink.most == 1
    assert sink.letters(0) == [(0.0, 0), (2.0, 1), (2.0, 2), (2.0, 3)]
    assert len(sink.ticks) == 2


async def test_much_at_once_goes_part_after_part() -> None:
    """No part waits for the beat; the place moves with the last one; the last tick of all comes after them."""
    sink, books = Sink({0: 2.0}), partition(0)
    async with Deliveries(sink, Counts()) as deliveries:
        reject(books, *range(250))
        deliveries.begin([books], everything=False)
        await asyncio.sleep(1.0)
        deliveries.finish(books)
    assert sink.most == 1
    assert [(at, len(tick.dead_letters), tick.resume_offset, tick.final) for at, tick in sink.ticks] == [
        (0.0, 100, None, False),
        (2.0, 100, None, False),
        (4.0, 50, 250, False),
        (6.0, 0, 250, True),
    ]


async def test_slow_partition_holds_nobody_up() -> None:
    """While one partition's delivery takes a minute another one delivers as soon as it has something."""
    sink, slow, quick = Sink({0: 60.0}), partition(0), partition(1)
    async with Deliveries(sink, Counts()) as deliveries:
        reject(slow, 0)
        for offset in range(3):
            reject(quick, offset)
            deliveries.begin([slow, quick], everything=False)
            await asyncio.sleep(1.0)
    assert sink.letters(1) == [(0.0, 0), (1.0, 1), (2.0, 2)]


async def test_progress_alone_waits_for_the_beat() -> None:
    """A partition that only moved on is delivered when everything is due, and not if nothing changed since."""
    sink, books = Sink(), partition(0)
    async with Deliveries(sink, Counts()) as deliveries:
        books.ledger.open(RecordMark(0, 0, 0))
        books.ledger.settle(0)
        deliveries.begin([books], everything=False)
        await asyncio.sleep(1.0)
        assert sink.ticks == []
        for _ in range(2):
            deliveries.begin([books], everything=True)
            await asyncio.sleep(1.0)
    assert [tick.resume_offset for _, tick in sink.ticks] == [1]


@pytest.mark.parametrize(
    ("count", "size", "is_held"),
    [
        pytest.param(MAX_BACKLOG, 0, True, id="as many as may wait"),
        pytest.param(MAX_BACKLOG - 1, 0, False, id="one fewer"),
        pytest.param(2, MAX_BACKLOG_BYTES // 2, True, id="as many bytes as may wait"),
        pytest.param(1, MAX_BACKLOG_BYTES - 11, False, id="fewer bytes"),
    ],
)
async def test_partition_whose_delivery_lags_is_held(count: int, size: int, is_held: bool) -> None:  # noqa: FBT001
    """With so much waiting behind a delivery nothing more of its partition is read, of that one alone, until it is through."""
    sink, slow, other = Sink({0: 60.0}), partition(0), partition(1)
    async with Deliveries(sink, Counts()) as deliveries:
        assert deliveries.held() == frozenset()
        reject(slow, 0)
        deliveries.begin([slow, other], everything=False)
        await asyncio.sleep(1.0)
        reject(slow, *range(1, 1 + count), size=size)
        reject(other, *range(count), size=size)
        assert deliveries.held() == (frozenset({(TOPIC, 0)}) if is_held else frozenset())
        await asyncio.sleep(60.0)
        assert deliveries.held() == frozenset()


async def test_last_tick_comes_after_what_is_under_way() -> None:
    """Finishing a partition waits for its delivery, takes all that is left, and lets nothing follow."""
    sink, books = Sink({0: 2.0}), partition(0)
    async with Deliveries(sink, Counts()) as deliveries:
        reject(books, 0)
        deliveries.begin([books], everything=False)
        await asyncio.sleep(1.0)
        deliveries.finish(books)
        reject(books, 1)
        deliveries.begin([books], everything=True)
        await asyncio.sleep(3.5)
        reject(books, 2)
        deliveries.begin([books], everything=True)
        deliveries.finish(books)
    assert sink.most == 1
    assert sink.letters(0) == [(0.0, 0), (2.0, 1)]
    assert [tick.final for _, tick in sink.ticks] == [False, False, True]


async def test_partition_whose_assignment_is_over_delivers_nothing_more() -> None:
    """After a refused tick the books are void: no tick follows, not even the last one; events of it do not count."""
    sink, books, counts = Sink(refuses=frozenset({0})), partition(0), Counts()
    async with Deliveries(sink, counts) as deliveries:
        reject(books, 0)
        deliveries.begin([books], everything=False)
        await asyncio.sleep(1.0)
        reject(books, 1)
        deliveries.begin([books], everything=True)
        deliveries.finish(books)
    assert sink.letters(0) == [(0.0, 0)]


async def test_new_books_of_a_partition_do_not_wait_for_the_old_ones() -> None:
    """After a reassignment the partition's new books deliver although a delivery of the old ones hangs."""
    sink, old, new = Sink({0: 60.0}), partition(0), partition(0)
    async with Deliveries(sink, Counts()) as deliveries:
        reject(old, 0)
        deliveries.begin([old], everything=False)
        await asyncio.sleep(1.0)
        reject(new, 1)
        deliveries.begin([new], everything=False)
    assert sink.letters(0) == [(0.0, 0), (1.0, 1)]


async def test_failure_of_a_delivery_ends_the_block() -> None:
    """What no restart of a partition mends ends everything."""

    class Refusing(Sink):
        async def deliver(self, tick: Tick) -> bool:
            raise DeliveryFailed(str(tick.partition))

    async def deliver_one() -> None:
        async with Deliveries(Refusing(), Counts()) as deliveries:
            books = partition(0)
            reject(books, 0)
            deliveries.begin([books], everything=False)
            await asyncio.sleep(60.0)

    with pytest.raises(ExceptionGroup) as failure:
        await deliver_one()
    assert failure.group_contains(DeliveryFailed)
    assert asyncio.get_running_loop().time() < 1.0


async def test_last_tick_comes_after_what_is_left_of_earlier_questions() -> None:
    """A partition that is given up right after a reload delivers both parts, and only the last one is the last."""
    sink, books = Sink(), partition(0)
    reject(books, 0)
    books.ask({}, QuestionRevision(2, "two"))
    reject(books, 1)
    async with Deliveries(sink, Counts()) as deliveries:
        deliveries.finish(books)
    assert [offset for _, offset in sink.letters(0)] == [0, 1]
    assert [tick.final for _, tick in sink.ticks] == [False, True]
