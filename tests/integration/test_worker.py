"""The worker's promises, in virtual time: what is accepted is answered once, in order, delivered, and never more is taken in."""

import asyncio
from dataclasses import replace

import pytest

from pipeline.errors import DeviceLost
from stream.cameras import CameraRegistry
from stream.errors import DeliveryFailed, StreamError
from stream.ports import Assigned, Poll, Proof, Revoked, Tick
from stream.types import BehaviorEvent, DeadLetter
from tests.integration.worker_world import ASSIGNED, BLACK, CONFIG, T0_S, TOPIC, WHITE, record, scene, world

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_a_scene_becomes_events_and_every_picture_is_accounted_for() -> None:
    """Dark, bright for two seconds, dark again: seen, started, ended; nothing is lost between the counters."""
    stage = world(Poll(records=scene([BLACK] * 2 + [WHITE] * 4 + [BLACK] * 4)))
    worker = stage.worker()
    await worker.run()
    assert stage.sink.kinds == ["seen", "started", "ended", "lost"]
    started = stage.sink.events[1]
    assert isinstance(started, BehaviorEvent)
    assert (started.started_at_s - T0_S, started.at_s - T0_S) == (1.0, 2.0)
    counts = worker.counts
    assert (counts.received, counts.used, counts.decoded, counts.answered) == (10, 10, 10, 10)
    assert stage.sink.ticks[-1].resume_offset == 10


async def test_a_stop_drains_and_ends_no_episode() -> None:
    """SIGTERM answers and delivers what was taken in; an open episode stays open for the next owner."""
    stage = world(Poll(records=scene([WHITE] * 6)), bounded=False, device_s=3.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(1.0, worker.stop)
    await worker.run()
    assert stage.sink.kinds == ["seen", "started"]
    assert worker.counts.answered == 6
    assert stage.sink.ticks[-1].resume_offset == 6


async def test_a_busy_device_stops_the_polling() -> None:
    """With the device busy for 30 s, one batch is on it, one queued, one waits: then nothing more is polled."""
    polls = [Poll(records=scene([BLACK] * 4, first_offset=4 * index)) for index in range(20)]
    stage = world(*polls, bounded=False, device_s=30.0)
    running = asyncio.ensure_future(stage.worker().run())
    await asyncio.sleep(29.0)
    assert stage.source.polled - 1 == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_frame_waits_for_company_no_longer_than_told() -> None:
    """One frame alone goes to the device after max_wait_s, and its event follows at once."""
    stage = world(Poll(records=scene([BLACK])), bounded=False, max_wait_s=0.25, tick_s=100.0)
    running = asyncio.ensure_future(stage.worker().run())
    await asyncio.sleep(0.2)
    assert stage.device.batches == []
    await asyncio.sleep(0.1)
    assert stage.device.batches == [1]
    assert stage.sink.kinds == ["seen"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_bad_record_is_dead_lettered_and_its_neighbours_go_on() -> None:
    """Bytes that are no picture, between two good ones: one dead letter, two answers, and the offset passes it."""
    good = scene([BLACK] * 3)
    bad = record(1, 0.5, b"not an image at all")
    stage = world(Poll(records=(good[0], bad, good[2])))
    worker = stage.worker()
    await worker.run()
    letters = [letter for tick in stage.sink.ticks for letter in tick.dead_letters]
    assert [(letter.record.offset, letter.reason) for letter in letters] == [(1, "unknown_content_type")]
    assert (worker.counts.used, worker.counts.dead_lettered, worker.counts.answered) == (2, 1, 2)
    assert stage.sink.ticks[-1].resume_offset == 3


async def test_what_the_source_cannot_read_is_dead_lettered_too() -> None:
    """A poisoned record reaches the dead letters and the offset passes it."""
    letter = DeadLetter(record(1, 0.5, b"?"), "wire", "bad_header", "a header key is not UTF-8")
    stage = world(Poll(records=scene([BLACK]), poison=(letter,)), Poll(records=scene([BLACK], first_offset=2)))
    worker = stage.worker()
    await worker.run()
    assert [letter for tick in stage.sink.ticks for letter in tick.dead_letters] == [letter]
    assert worker.counts.received == worker.counts.used + worker.counts.dead_lettered == 3
    assert stage.sink.ticks[-1].resume_offset == 3


async def test_frames_of_a_revoked_partition_are_dropped_even_on_the_device() -> None:
    """Revoked and assigned again while a batch is on the device: the old answers touch nothing, the new ones count once."""
    again = Assigned(TOPIC, 0, 2)
    stage = world(
        Poll(records=scene([WHITE] * 4)),
        Poll(revoked=(Revoked(TOPIC, 0),), assigned=(again,)),
        Poll(records=tuple(record(n, n / 2, WHITE, incarnation=2) for n in range(4))),
        device_s=5.0,
    )
    worker = stage.worker()
    await worker.run()
    assert (worker.counts.stale_frames, worker.counts.answered) == (4, 4)
    assert stage.sink.kinds == ["seen", "started", "ended", "lost"]
    assert {tick.incarnation for tick in stage.sink.ticks} == {2}


async def test_records_of_an_ended_assignment_are_not_decoded() -> None:
    """A record that carries another incarnation than the partition's is stale."""
    stage = world(Poll(records=(record(0, 0, WHITE, incarnation=7),)))
    worker = stage.worker()
    await worker.run()
    assert (worker.counts.stale, worker.counts.decoded) == (1, 0)
    assert [(tick.resume_offset, tick.final) for tick in stage.sink.ticks] == [(None, True)]


async def test_a_silent_camera_is_lost_once_when_its_partition_is_proven_live() -> None:
    """Proofs before lost_after_s, within the grace, and again after the loss change nothing."""
    silence_s = CONFIG.debounce.lost_after_s
    too_early = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 2.5 + silence_s - 1, live_since_s=T0_S)
    in_grace = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 2.5 + silence_s + 5, live_since_s=T0_S + 2.5 + silence_s)
    proven = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 2.5 + silence_s, live_since_s=T0_S)
    polls = [Poll(proofs=(proof,)) for proof in (too_early, in_grace, proven, proven)]
    stage = world(Poll(records=scene([WHITE] * 6)), Poll(), *[poll for proof in polls for poll in (Poll(), proof)], bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(10.0, worker.stop)
    await worker.run()
    assert stage.sink.kinds == ["seen", "started", "ended", "lost"]
    ended = stage.sink.events[2]
    assert isinstance(ended, BehaviorEvent)
    assert (ended.at_s - T0_S, ended.stopped_at_s) == (2.5 + silence_s, T0_S + 2.5)


async def test_a_camera_with_frames_in_flight_is_not_silent() -> None:
    """A proof that overtakes the answers of a slow device loses nobody."""
    silence_s = CONFIG.debounce.lost_after_s
    proof = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 100 + silence_s, live_since_s=T0_S)
    late = tuple(record(n, 100 + n / 2, WHITE) for n in range(4, 8))
    stage = world(Poll(records=scene([WHITE] * 4)), Poll(records=late, proofs=(proof,)), bounded=False, device_s=1.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(10.0, worker.stop)
    await worker.run()
    assert stage.sink.kinds == ["seen", "started", "ended", "lost", "seen", "started"]


async def test_a_dead_camera_is_lost_beside_a_busy_one() -> None:
    """What another camera of the partition has in flight does not keep a silent one alive."""
    busy = tuple(record(n, 50 + n / 2, BLACK, camera="attic") for n in range(4, 6))
    proof = Proof(TOPIC, 0, 1, asked_at_s=T0_S + 53.0, live_since_s=T0_S)
    idle = [Poll()] * 4
    stage = world(Poll(records=scene([WHITE] * 4)), *idle, Poll(records=busy), Poll(proofs=(proof,)), bounded=False)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(10.0, worker.stop)
    await worker.run()
    told = [(event.camera_id, event.kind.value) for event in stage.sink.events]
    assert told == [("den", "seen"), ("den", "started"), ("den", "ended"), ("den", "lost"), ("attic", "seen")]


async def test_a_disabled_camera_is_not_asked() -> None:
    """Its records are used up without decoding, so they never come again."""
    registry = CameraRegistry.parse({"camera": [{"id": "den", "enabled": False}]})
    stage = world(Poll(records=scene([WHITE] * 4)), intake=replace(CONFIG.intake, cameras=registry))
    worker = stage.worker()
    await worker.run()
    assert (worker.counts.used, worker.counts.decoded, stage.device.batches) == (4, 0, [])
    assert stage.sink.ticks[-1].resume_offset == 4


async def test_a_device_that_hangs_ends_the_worker() -> None:
    """After device_timeout_s the worker says device lost instead of waiting for ever."""
    stage = world(Poll(records=scene([WHITE])), device_s=1e6, device_timeout_s=600.0)
    with pytest.raises(DeviceLost, match="600 s"):
        await stage.worker().run()
    assert asyncio.get_running_loop().time() == pytest.approx(600.0, abs=1.0)


async def test_a_failed_delivery_ends_the_worker() -> None:
    """Nothing may be committed past events that nobody acknowledged."""
    stage = world(Poll(records=scene([WHITE] * 6)))

    async def refuse(tick: Tick) -> bool:
        raise DeliveryFailed(str(tick.partition))

    stage.sink.deliver = refuse  # type: ignore[method-assign]
    with pytest.raises(DeliveryFailed):
        await stage.worker().run()


async def test_a_drain_that_takes_too_long_is_given_up() -> None:
    """The stop is bounded: past drain_timeout_s the worker says so and ends."""
    stage = world(Poll(records=scene([WHITE] * 4)), bounded=False, device_s=100.0, drain_timeout_s=20.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(1.0, worker.stop)
    with pytest.raises(StreamError, match="20 s"):
        await worker.run()
    assert asyncio.get_running_loop().time() == pytest.approx(21.0, abs=0.6)


async def test_a_quiet_partition_commits_its_progress_once_a_tick() -> None:
    """Without events the offset still moves on, once per tick and not per batch."""
    polls = [Poll(records=scene([BLACK], first_offset=n)) for n in range(8)]
    stage = world(*polls, bounded=False, tick_s=1.0, max_wait_s=0.0)
    worker = stage.worker()
    asyncio.get_running_loop().call_later(5.0, worker.stop)
    await worker.run()
    assert [(tick.resume_offset, tick.final) for tick in stage.sink.ticks] == [(1, False), (8, False), (8, True)]
    assert ASSIGNED.incarnation == 1
