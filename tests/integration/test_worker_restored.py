"""A worker that takes over, in virtual time: what it passes by, what it tries aside first, and what it refuses."""

import asyncio
from dataclasses import replace

import pytest

from stream.errors import StreamError
from stream.ports import Assigned, Draining, Poll, Proof, Tick
from stream.types import Record
from tests.integration.worker_world import BLACK, CONFIG, T0_S, TOPIC, WHITE, World, record, scene, world

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

BROKEN = b"\x89PNG\r\n\x1a\n broken"


def successor(tick: Tick, *polls: Poll, read_below: int = 0, suspect: bool = False) -> World:
    """A worker that takes over where a tick left the partition."""
    assigned = Assigned(
        topic=TOPIC,
        partition=0,
        incarnation=1,
        resume_offset=tick.resume_offset,
        cameras=tick.cameras,
        dead_lettered=frozenset(tick.dead_lettered),
        last_record=tick.last_record,
        read_below=read_below,
        suspect=suspect,
    )
    stage = world(*polls)
    stage.source.polls[0] = Poll(assigned=(assigned,))
    return stage


async def test_no_tick_says_that_a_camera_is_past_a_dead_letter_that_it_does_not_hold() -> None:
    """With the device busy a bad record waits; its camera must not move past it in the state before the letter is told."""
    busy = [tuple(record(n + i, (n + i) / 2, BLACK, camera="attic") for i in range(4)) for n in (1, 5)]
    bad, sampled_out = record(9, 4.5, BROKEN), record(10, 0.1, BLACK)
    polls = [Poll(records=records) for records in ((record(0, 0, BLACK),), (), (), *busy, (bad, sampled_out))]
    stage = world(*polls, bounded=False, device_s=10.0)
    running = asyncio.ensure_future(stage.worker().run())
    await asyncio.sleep(30.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    told = False
    for tick in stage.sink.ticks:
        told = told or bool(tick.dead_letters)
        assert told or "den" not in tick.cameras or tick.cameras["den"].cursor.offset <= bad.offset, tick
    assert told


async def test_what_was_done_is_passed_by() -> None:
    """Answered records and dead letters above the place are counted as repeated; nobody is asked or told of them again."""
    first = world(Poll(records=(*scene([WHITE] * 3), record(3, 1.5, BROKEN))), bounded=False, device_s=1.0)
    running = asyncio.ensure_future(first.worker().run())
    await asyncio.sleep(20.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    done = first.sink.ticks[-1]
    held_back = replace(done, resume_offset=0, dead_lettered=(3,), cameras=_merged(first.sink.ticks))
    again = (*scene([WHITE] * 3), record(3, 1.5, BROKEN), *scene([WHITE] * 2, first_offset=4))
    stage = successor(held_back, Poll(records=again))
    worker = stage.worker()
    await worker.run()
    counts = worker.counts
    assert (counts.received, counts.repeated, counts.used, counts.answered, counts.dead_lettered) == (6, 4, 2, 2, 0)
    assert [letter for tick in stage.sink.ticks for letter in tick.dead_letters] == []
    assert stage.sink.ticks[-1].resume_offset == 6


async def test_only_suspect_records_are_tried_aside() -> None:
    """Below the end at the restore every record is tried in a child first; one that kills it is dead-lettered, no other."""
    stage = successor(Tick(TOPIC, 0, 1, 0), Poll(records=scene([BLACK, WHITE, BLACK, BLACK])), read_below=3, suspect=True)
    stage.trial.deadly = WHITE
    worker = stage.worker()
    await worker.run()
    assert stage.trial.tried == [0, 1, 2]
    letters = [letter for tick in stage.sink.ticks for letter in tick.dead_letters]
    assert [(letter.record.offset, letter.reason) for letter in letters] == [(1, "kills_decoder")]
    assert worker.counts.answered == 3


async def test_what_is_done_is_not_tried() -> None:
    """A record that is passed by kills nobody."""
    stage = successor(Tick(TOPIC, 0, 1, 2), Poll(records=scene([BLACK, WHITE, BLACK])), read_below=3, suspect=True)
    worker = stage.worker()
    await worker.run()
    assert (stage.trial.tried, worker.counts.repeated) == ([2], 2)


async def test_healthy_partition_tries_nothing() -> None:
    """Without a suspicion no child is asked, although an earlier owner may have read as far."""
    stage = successor(Tick(TOPIC, 0, 1, 0), Poll(records=scene([BLACK] * 4)), read_below=3)
    await stage.worker().run()
    assert stage.trial.tried == []


async def test_cameras_beyond_the_bound_are_dead_lettered() -> None:
    """A partition's memory, state and transactions are bounded: the cameras that it knows go on, one more is refused."""
    polls = [
        Poll(records=(record(0, 0, BLACK, camera="a"), record(1, 0, BLACK, camera="b"), record(2, 0, BLACK, camera="c"))),
        Poll(records=(record(3, 1, BLACK, camera="c"), record(4, 1, BLACK, camera="a"))),
    ]
    stage = world(*polls, intake=replace(CONFIG.intake, max_cameras=2))
    worker = stage.worker()
    await worker.run()
    letters = [letter for tick in stage.sink.ticks for letter in tick.dead_letters]
    assert [(letter.record.key, letter.record.offset, letter.reason) for letter in letters] == [
        (b"c", 2, "too_many_cameras"),
        (b"c", 3, "too_many_cameras"),
    ]
    assert "has 2 cameras already, 'c' is one more" in letters[0].message
    assert (worker.counts.answered, worker.counts.dead_lettered) == (3, 2)
    assert stage.sink.ticks[-1].resume_offset == 5


async def test_keys_of_which_no_picture_comes_take_nobodys_place_for_good() -> None:
    """A publisher sends rubbish under ever new keys: once they are silent for as long as loses a camera, a new one is let in."""
    rubbish = tuple(record(number, 0, b"\xff\xd8\xff no picture", camera=f"job {number}") for number in range(2))
    silence_s = CONFIG.intake.lost_after_s
    early, late = (Proof(TOPIC, 0, 1, asked_at_s=T0_S + after_s, live_since_s=T0_S) for after_s in (silence_s - 1, silence_s))
    stage = world(
        Poll(records=rubbish), Poll(proofs=(early,)), Poll(), Poll(records=(record(2, silence_s, BLACK, camera="den"),)),
        Poll(proofs=(late,)), Poll(), Poll(records=(record(3, silence_s + 1, BLACK, camera="den"),)),
        intake=replace(CONFIG.intake, max_cameras=2),
    )  # fmt: skip
    worker = stage.worker()
    await worker.run()
    reasons = [letter.reason for tick in stage.sink.ticks for letter in tick.dead_letters]
    assert (reasons[2:], worker.counts.answered) == (["too_many_cameras"], 1)


async def test_restored_cameras_count_towards_the_bound() -> None:
    """A successor refuses the same cameras as its predecessor."""
    first = world(Poll(records=(record(0, 0, BLACK, camera="a"), record(1, 0, BLACK, camera="b"))))
    await first.worker().run()
    restored = replace(first.sink.ticks[-1], resume_offset=2, cameras=_merged(first.sink.ticks))
    stage = successor(restored, Poll(records=(record(2, 0, BLACK, camera="c"), record(3, 1, BLACK, camera="a"))))
    stage.config = replace(CONFIG, intake=replace(CONFIG.intake, max_cameras=2))
    worker = stage.worker()
    await worker.run()
    assert (worker.counts.answered, worker.counts.dead_lettered) == (1, 1)


async def test_draining_partition_delivers_what_is_in_flight_and_then_its_last_tick() -> None:
    """Taken from us while a batch is on the device: its answers are delivered, the last tick says so, and nothing follows."""
    stage = world(Poll(records=scene([WHITE] * 6)), Poll(draining=(Draining(TOPIC, 0, 1),)), Poll(), bounded=False, device_s=5.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(60.0, worker.stop)
    await worker.run()
    assert stage.sink.kinds == ["seen", "started"]
    assert [tick.final for tick in stage.sink.ticks].count(True) == 1
    assert (stage.sink.ticks[-1].final, stage.sink.ticks[-1].resume_offset) == (True, 6)


async def test_refused_tick_voids_the_books_until_the_next_assignment() -> None:
    """A sink that says no gets nothing more of that assignment; the next one begins where the source says."""
    records = scene([WHITE] * 6)
    again = tuple(replace(each, incarnation=2) for each in records)
    stage = world(Poll(records=records), Poll(), Poll(), Poll(), Poll(assigned=(Assigned(TOPIC, 0, 2),)), Poll(records=again))
    asked: list[Tick] = []

    async def refuse_the_first(tick: Tick) -> bool:
        asked.append(tick)
        if tick.incarnation == 1:
            return False
        stage.sink.ticks.append(tick)
        return True

    stage.sink.deliver = refuse_the_first  # type: ignore[method-assign]
    worker = stage.worker()
    await worker.run()
    assert [tick.incarnation for tick in asked].count(1) == 1
    assert stage.sink.kinds == ["seen", "started", "ended", "lost"]
    assert worker.counts.events == 4


async def test_worker_reads_nothing_more_of_a_partition_whose_delivery_lags() -> None:
    """The source is told which partition to leave alone; the other one goes on."""
    bad: list[Record] = [record(n, n, b"x" * 2**20, partition=number) for n in range(40) for number in (0, 1)]
    assigned = tuple(Assigned(TOPIC, number, 1) for number in (0, 1))
    stage = world(*[Poll(records=tuple(bad[n : n + 10])) for n in range(0, 80, 10)], bounded=False)
    stage.source.polls[0] = Poll(assigned=assigned)

    async def slow(tick: Tick) -> bool:
        await asyncio.sleep(50.0 if tick.partition == 0 else 0.0)
        return True

    stage.sink.deliver = slow  # type: ignore[method-assign]
    stage.config = replace(CONFIG, drain_timeout_s=300.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(300.0, worker.stop)
    await worker.run()
    assert set(stage.source.held) == {frozenset(), frozenset({(TOPIC, 0)})}
    assert stage.source.held[-1] == frozenset()


async def test_decoder_that_never_comes_back_ends_the_worker() -> None:
    """The sentence names the record's place; the successor finds it suspect."""
    stage = world(Poll(records=scene([WHITE])), intake=replace(CONFIG.intake, decode_timeout_s=30.0))

    async def hang(_: object) -> None:
        await asyncio.sleep(1e6)

    worker = stage.worker()
    worker._intake._threads = replace(worker._intake._threads, threads=hang)  # type: ignore[arg-type]
    with pytest.raises(StreamError, match=r"image/png .*offset=0.* 30 s"):
        await worker.run()


def _merged(ticks: list[Tick]) -> dict[str, object]:
    cameras: dict[str, object] = {}
    for tick in ticks:
        cameras |= tick.cameras
    return cameras
