"""The load of `stress`, closed and open, on an engine whose speed is known: batching, windows, and what latency counts from."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import DeviceLost
from tests.integration.stress_world import Watched, bench, idle
from tools.errors import CommandError
from tools.stress import open_loop
from tools.stress.load import closed_loop
from tools.stress.open_loop import Load, trial
from tools.stress.pictures import choose


def test_model_that_says_the_same_of_all_pictures_is_refused() -> None:
    """Nothing could be proved with it. Where only the negatives differ, they are taken."""
    gray = np.full((4, 8, 8, 3), 127, np.uint8)
    with pytest.raises(CommandError, match="answers all 8 pictures alike"):
        choose(Watched(), gray, tolerance=0.1)
    assert len(choose(Watched(), gray // 2, tolerance=0.1).frames) == 2


def test_servers_batch_what_waits_and_share_the_device() -> None:
    """Full batches from many clients however many servers, one frame from one; no more calls at once than submitters."""
    for submitters, servers in [(1, 4), (2, 4)]:
        watched = Watched(submitters=submitters, takes_s=0.01)
        measured = bench(watched)
        watched.calls.clear()
        closed_loop(measured, servers, 16 * submitters)
        assert watched.most == submitters
        assert sum(frames == 8 for _, frames in watched.calls) > 0.7 * len(watched.calls)
        assert all(bucket == min(each for each in (1, 2, 4, 8) if each >= frames) for bucket, frames in watched.calls)
    alone = Watched(takes_s=0.01)
    measured = bench(alone)
    closed_loop(measured, 4, 1)
    assert set(alone.calls) == {(1, 1)}


def test_rate_and_latency_are_a_devices_own() -> None:
    """20 ms a call and one client: 50 a second at most, 20 ms each at least; four requests a frame make a quarter of it."""
    found = closed_loop(bench(Watched(takes_s=0.02)), 1, 1)
    assert 10 < found.throughput_fps < 50
    assert 20 <= found.p50_ms < 100
    quarter = closed_loop(bench(Watched(takes_s=0.02), requests_a_frame=4), 1, 1)
    assert 2.5 < quarter.throughput_fps < 12.5


def test_warm_up_is_kept_out() -> None:
    """First calls that take 0.4 s, as a device's may, are in no percentile."""
    watched = Watched(takes_s=0.005)
    measured = replace(bench(watched), warm_s=1.0)
    before = len(watched.calls)
    watched.stalls = {before: 0.4, before + 1: 0.4}
    found = closed_loop(measured, 1, 1)
    assert len(watched.calls) > before + 3
    assert found.p99_ms < 400


@pytest.mark.parametrize("is_open", [False, True])
def test_lost_device_ends_the_load(*, is_open: bool) -> None:
    """Its error is raised, no client waits for ever, and no thread is left."""
    watched = Watched(takes_s=0.005)
    measured = bench(watched)
    watched.fails_at = len(watched.calls) + 5
    load = Load(100.0, 0.1, 0.2, 0.1, seed=(1, 1))
    with pytest.raises(DeviceLost, match="the chip is gone"):
        trial(measured, 2, load) if is_open else closed_loop(measured, 2, 4)
    assert idle()


def test_open_loop_is_poisson() -> None:
    """So many arrivals as the rate says, with gaps that spread as an exponential's do; the seed decides."""
    load = Load(500.0, 0.5, 10.0, 1.0, seed=(3, 1))
    offsets_s = load.schedule()
    gaps_s = np.diff(offsets_s)
    assert len(offsets_s) == pytest.approx(500 * 31.5, rel=0.03)
    assert 0 <= offsets_s[0] <= offsets_s[-1] <= 31.5
    assert gaps_s.min() >= 0
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)
    assert np.array_equal(offsets_s, load.schedule())


def test_arrivals_go_on_while_the_device_is_slow() -> None:
    """A stall of 0.8 s: all that should have come meanwhile waited, not only the one batch that was in the device."""
    watched = Watched(takes_s=0.002)
    measured = bench(watched)
    load = Load(200.0, 1.0, 0.5, 0.1, seed=(1, 1))
    assert trial(measured, 1, load).p99_s < 0.4
    watched.stalls = {len(watched.calls) + 40: 0.8}
    assert trial(measured, 1, load).p99_s > 0.6


def test_latency_counts_from_the_scheduled_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that oversleeps by 0.3 s has its requests wait for so long, and says how late it was."""

    class Drowsy(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout is not None:
                time.sleep(0.3)
            return super().wait(timeout)

    monkeypatch.setattr(open_loop, "Event", Drowsy)
    found = trial(bench(Watched()), 1, Load(100.0, 1.0, 0.2, 0.1, seed=(1, 1)))
    assert found.p99_s > 0.2
    assert found.lag_p99_s > 0.2


def test_rate_beyond_the_device_does_not_hold_and_is_given_up() -> None:
    """100 frames a second is what it can: 30 hold; 1,000 do not, and the trial ends long before its window."""
    watched = Watched(buckets=(1, 2), takes_s=0.02)
    measured = bench(watched)
    held = trial(measured, 1, Load(30.0, 0.5, 0.5, 0.1, seed=(1, 1)))
    assert held.is_held
    assert held.errors == 0
    begun_s, before = time.perf_counter(), len(watched.calls)
    drowned = trial(measured, 1, Load(1000.0, 0.2, 4.0, 0.1, seed=(1, 2)))
    assert not drowned.is_held
    assert time.perf_counter() - begun_s < 6.0
    assert len(watched.calls) - before < 100  # what waits is not worked off for nobody
    assert idle()


def test_open_loop_finds_foreign_answers() -> None:
    """There, too."""
    measured = bench(Watched(takes_s=0.02))
    assert isinstance(measured.engine, Watched)
    measured.engine.shift = 1
    found = trial(measured, 1, Load(200.0, 1.0, 0.2, 0.1, seed=(1, 1)))
    assert found.errors > 0
