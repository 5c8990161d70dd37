"""Several batches on the device at once, in virtual time: never more than told, and everything handed on in its order."""

import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.ports import Draining, Poll, Proof
from tests.integration.worker_world import (
    ASSIGNED,
    BLACK,
    CONFIG,
    T0_S,
    TOPIC,
    WHITE,
    BrightnessDevice,
    World,
    record,
    scene,
    world,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@dataclass
class UnevenDevice(BrightnessDevice):
    """Takes another time for every batch; a batch without one never comes back, and a negative one fails after it."""

    times_s: list[float] = field(default_factory=list)
    began_s: list[float] = field(default_factory=list)
    on_it: int = 0
    most: int = 0

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer after the batch's own time."""
        mine_s = self.times_s[len(self.began_s)] if len(self.began_s) < len(self.times_s) else 1e6
        self.began_s.append(asyncio.get_running_loop().time())
        self.on_it += 1
        self.most = max(self.most, self.on_it)
        await asyncio.sleep(abs(mine_s))
        self.on_it -= 1
        if mine_s < 0:
            msg = f"failed after {-mine_s:g} s"
            raise DeviceLost(msg)
        return await super().__call__(pixels, n)


def uneven(
    *polls: Poll, times_s: list[float], submitters: int, bounded: bool = True, **config: object
) -> tuple[World, UnevenDevice]:
    """A world whose device takes these times, and has so many submitters."""
    stage = world(*polls, bounded=bounded, submitters=submitters, **config)
    device = UnevenDevice(times_s=times_s)
    stage.device = device
    return stage, device


def batches(count: int, *, first: int = 0) -> list[Poll]:
    """So many full batches, a poll each: bright and dark in turn."""
    flashes = [WHITE if (first + n) % 2 == 0 else BLACK for n in range(count)]
    return [Poll(records=scene([level] * 4, first_offset=4 * (first + n))) for n, level in enumerate(flashes)]


@pytest.mark.parametrize("submitters", [1, 2, 3])
async def test_device_holds_as_many_batches_as_told(submitters: int) -> None:
    """It is kept that busy and no busier, and the whole takes that much less time."""
    stage, device = uneven(*batches(6), times_s=[6.0] * 6, submitters=submitters)
    worker = stage.worker()
    await worker.run()
    assert device.most == submitters
    assert asyncio.get_running_loop().time() == pytest.approx(6.0 * 6 / submitters, abs=0.5)
    assert (worker.counts.batches, worker.counts.answered) == (6, 24)


async def test_answers_keep_their_order_behind_a_slow_batch() -> None:
    """The second batch is through nine seconds before the first: its answers wait, and the events are those of one at a time."""
    one, _ = uneven(*batches(4), times_s=[1.0] * 4, submitters=1)
    await one.worker().run()
    stage, device = uneven(*batches(4), times_s=[10.0, 1.0, 1.0, 1.0], submitters=2)
    await stage.worker().run()
    assert stage.sink.events == one.sink.events
    assert stage.sink.kinds == ["seen", *["started", "ended"] * 2, "lost"]
    assert [at_s - device.began_s[0] for at_s in device.began_s] == pytest.approx([0, 0, 10, 10], abs=0.5)


async def test_busy_submitters_stop_the_polling() -> None:
    """Two batches on the device, one queued, one waits: then nothing more is polled."""
    stage, _ = uneven(*batches(20), times_s=[30.0] * 20, submitters=2, bounded=False)
    running = asyncio.ensure_future(stage.worker().run())
    await asyncio.sleep(29.0)
    assert stage.source.polled - 1 == 4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_dead_letters_do_not_overtake_the_batches_before_them() -> None:
    """A bad record behind a slow batch leaves with it or after it, although the device has room for another batch."""
    bad = Poll(records=(record(4, 2.0, b"no picture"),))
    stage, _ = uneven(*batches(1), bad, times_s=[10.0, 1.0], submitters=2, tick_s=100.0)
    await stage.worker().run()
    told = [(bool(tick.events), [letter.record.offset for letter in tick.dead_letters]) for tick in stage.sink.ticks]
    assert told[0] == (True, [4])
    assert stage.sink.ticks[-1].resume_offset == 5


async def test_proof_does_not_overtake_the_batches_before_it() -> None:
    """A camera whose answers are still on the device is not lost by a proof that came behind them."""
    silence_s = CONFIG.debounce.lost_after_s
    proof = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 3.5 + silence_s, live_since_s=T0_S)
    stage, _ = uneven(*batches(2), Poll(), Poll(proofs=(proof,)), times_s=[10.0, 5.0], submitters=3, bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(30.0, worker.stop)
    await worker.run()
    assert stage.sink.kinds == ["seen", "started", "ended", "lost"]


async def test_draining_waits_for_every_batch_before_it() -> None:
    """Two batches of a partition that is taken away are on the device: both are in its last tick, or before it."""
    stage, _ = uneven(*batches(2), Poll(draining=(Draining(TOPIC, 0, 1),)), times_s=[9.0, 4.0], submitters=2, bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(60.0, worker.stop)
    await worker.run()
    assert (stage.sink.ticks[-1].final, stage.sink.ticks[-1].resume_offset) == (True, 8)
    assert [tick.final for tick in stage.sink.ticks].count(True) == 1


async def test_stop_drains_every_batch() -> None:
    """A stop while two batches are on the device and two more wait: all four are delivered."""
    stage, _ = uneven(*batches(4), times_s=[9.0, 4.0, 4.0, 4.0], submitters=2, bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(1.0, worker.stop)
    await worker.run()
    assert (worker.counts.answered, stage.sink.ticks[-1].resume_offset) == (16, 16)


@pytest.mark.parametrize(
    ("times_s", "ended_after_s", "delivered", "said"),
    [
        pytest.param([1e6, 5.0, 5.0], 60.0, 0, "60 s", id="the first of two hangs"),
        pytest.param([5.0, 1e6, 5.0], 60.0, 4, "60 s", id="the second of two hangs"),
        pytest.param([1e6, -3.0], 3.0, 0, "failed after 3 s", id="the second fails while the first is on the device"),
        pytest.param([-3.0, 1e6], 3.0, 0, "failed after 3 s", id="the first fails while the second is on the device"),
    ],
)
async def test_one_lost_batch_ends_the_worker(times_s: list[float], ended_after_s: float, delivered: int, said: str) -> None:
    """Whichever it is; the others are given up, and nothing is delivered past an unanswered picture."""
    stage, _ = uneven(*batches(8), times_s=times_s, submitters=2, bounded=False, device_timeout_s=60.0)
    with pytest.raises(DeviceLost, match=said):
        await stage.worker().run()
    assert asyncio.get_running_loop().time() == pytest.approx(ended_after_s, abs=0.5)
    assert max((tick.resume_offset or 0 for tick in stage.sink.ticks), default=0) == delivered
    assert len(asyncio.all_tasks()) == 1


async def test_books_of_a_reassigned_partition_drop_what_is_on_the_device() -> None:
    """Taken away with two batches on the device: neither touches the books of the next assignment."""
    polls = [*batches(2), Poll(assigned=(replace(ASSIGNED, incarnation=2),))]
    stage, _ = uneven(*polls, times_s=[5.0, 4.0], submitters=2, bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(20.0, worker.stop)
    await worker.run()
    assert (worker.counts.stale_frames, worker.counts.answered) == (8, 0)
