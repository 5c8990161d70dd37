"""Whole workers that die, are fenced and are stopped, in virtual time: as if one of them had done all of it."""

import random
from collections import Counter

import pytest

from stream.counts import Counts
from tests.integration.handover_world import Fate, Kept, drawn_log, live

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

SEEDS = 40


def drawn_fate(chance: random.Random) -> Fate:
    """Killed, or stopped in order, soon; and perhaps taken to be fenced now and then."""
    void_rate = chance.choice([0.0, 0.2])
    if chance.random() < 0.3:
        return Fate(stops_after_s=chance.uniform(0.1, 8.0), void_rate=void_rate)
    return Fate(dies_at=chance.randrange(1, 12), void_rate=void_rate)


def conserves(counts: Counts) -> None:
    """Every record and picture of a worker that came to the end has one outcome."""
    assert counts.received == counts.used + counts.dead_lettered + counts.repeated + counts.stale, counts
    dropped = counts.sampled_out + counts.late + counts.clock + counts.no_keyframe + counts.duplicate + counts.undecodable
    assert counts.decoded == counts.answered + dropped + counts.decode_only + counts.stale_frames, counts


async def test_workers_that_die_leave_no_trace() -> None:
    """Stills, segments and access units: events with their scores, letters and states are those of an undisturbed worker."""
    met: Counter[str] = Counter()
    for seed in range(SEEDS):
        chance = random.Random(seed)
        log = drawn_log(chance)
        whole, kept = Kept(log), Kept(log, met=met)
        worker = await live(whole, random.Random(0), Fate())
        assert worker is not None
        assert worker.counts.received == len(log)
        conserves(worker.counts)
        while (worker := await live(kept, chance, drawn_fate(chance))) is None:
            pass
        conserves(worker.counts)
        assert kept.told() == whole.told(), seed
        assert sorted(kept.letters) == sorted(whole.letters), seed
        assert kept.camera_records() == whole.camera_records(), seed
        assert kept.partitions == whole.partitions, seed
    assert min(met.values()) >= 15, met
