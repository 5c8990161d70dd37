"""What `stress` concludes from what it measured: percentiles, whole batches, saturation, and the search for a rate."""

from math import inf, isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.stress.figures import BestBucket, Cell, Measured, OpenLoop, Search, holds, nearest_rank, saturation, span

TIMES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=300)


def cell(servers: int, clients: int, throughput_fps: float, *, errors: int = 0) -> Cell:
    """A place of a grid."""
    return Cell(servers, clients, throughput_fps, p50_ms=10.0, p99_ms=20.0, errors=errors, cores_busy=1.5)


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(100, 99, 99), (100, 50, 50), (101, 99, 100), (20, 99, 20), (1, 50, 1), (300, 99, 297)]
)
def test_percentile_is_a_value_that_occurred(count: int, percent: int, expected: int) -> None:
    """The nearest rank of 1, 2, ... count, in any order."""
    assert nearest_rank([float(each) for each in range(count, 0, -1)], percent) == expected


@given(TIMES, st.sampled_from([50, 99]))
def test_percentile_is_the_least_that_enough_values_do_not_exceed(values: list[float], percent: int) -> None:
    """At least so many are at or below it; below it are fewer."""
    found = nearest_rank(values, percent)
    assert found in values
    assert sum(each <= found for each in values) * 100 >= percent * len(values)
    assert sum(each < found for each in values) * 100 < percent * len(values)


def test_percentile_of_nothing_is_no_number() -> None:
    """Rather than a comfortable zero."""
    assert isnan(nearest_rank([], 99))


def test_window_is_moved_to_whole_batches() -> None:
    """Batches of eight every 0.7 s: any window gives their rate, where counting in it would be off by up to a batch."""
    answered_s = [0.7 * batch for batch in range(20) for _ in range(8)]
    for begun_s, ended_s in [(0.1, 2.9), (0.69, 3.4), (0.71, 2.81), (2.0, 4.0)]:
        first_s, last_s = span(answered_s, begun_s, ended_s)
        counted = sum(first_s < each <= last_s for each in answered_s)
        assert counted / (last_s - first_s) == pytest.approx(8 / 0.7)


def test_a_stall_at_the_end_of_a_window_is_in_it() -> None:
    """The window ends with the answer that ended the stall, not before it."""
    assert span([0.0, 1.0, 2.0, 9.0], 0.5, 3.0) == (1.0, 9.0)


def test_saturated_is_the_cell_with_the_fewest_clients_then_servers() -> None:
    """At 95 % of the best throughput or over; a cell with more clients that is a little better is not it."""
    grid = [cell(1, 1, 20.0), cell(1, 16, 93.0), cell(4, 8, 95.0), cell(2, 8, 96.0), cell(1, 8, 94.9), cell(8, 32, 100.0)]
    assert saturation(grid) == grid[3]
    assert saturation([]) is None


@given(st.lists(st.builds(cell, st.integers(1, 8), st.integers(1, 32), st.floats(0.1, 1e4)), min_size=1, max_size=24))
def test_no_cell_that_is_as_good_has_fewer_clients(grid: list[Cell]) -> None:
    """Whatever was measured."""
    found = saturation(grid)
    assert found is not None
    best_fps = max(each.throughput_fps for each in grid)
    assert found.throughput_fps >= 0.95 * best_fps
    for each in grid:
        if (each.clients, each.servers) < (found.clients, found.servers):
            assert each.throughput_fps < 0.95 * best_fps


@given(st.floats(0.5, 1e4), st.floats(0.03, 40.0))
def test_search_ends_within_three_percent_of_a_systems_limit(start: float, factor: float) -> None:
    """A system that holds every rate up to its limit and none above it, wherever the ramp begins."""
    limit, tried = start * factor, 0
    search = Search(start)
    while (rate := search.next()) is not None:
        search.tell(rate, is_held=rate <= limit)
        tried += 1
    assert search.held is not None
    assert search.held <= limit <= search.held * 1.03
    assert tried < 20


def test_search_first_ramps() -> None:
    """From below the limit upwards by half as much again, so that most trials do not drown the device."""
    search, tried = Search(30.0), []
    while (rate := search.next()) is not None:
        tried.append(rate)
        search.tell(rate, is_held=rate <= 97.0)
    assert tried[:4] == pytest.approx([30.0, 45.0, 67.5, 101.25])
    assert all(67.5 < rate < 101.25 for rate in tried[4:])


@pytest.mark.parametrize("is_held", [True, False])
def test_search_gives_up(*, is_held: bool) -> None:
    """On a system that holds every rate, or none."""
    search = Search(10.0)
    for _ in range(30):
        if (rate := search.next()) is None:
            break
        search.tell(rate, is_held=is_held)
    assert search.next() is None
    assert (search.held is not None) is is_held


@pytest.mark.parametrize(
    ("slow", "outstanding", "expected"),
    [
        pytest.param([], 10, True, id="all in time"),
        pytest.param([0.3], 10, True, id="one of a hundred is slow: p99 does not see it"),
        pytest.param([0.3, 0.3], 10, False, id="two of a hundred in one part"),
        pytest.param([inf, inf], 10, False, id="two never answered"),
        pytest.param([], 11, False, id="more outstanding than could be answered within the bound"),
    ],
)
def test_a_rate_holds_in_every_part_and_leaves_no_backlog(slow: list[float], outstanding: int, *, expected: bool) -> None:
    """100 arrivals a second, p99 within 0.1 s: two slow ones of 300 are 0.7 %, and yet too many for their part."""
    parts = [[0.05] * 100, [*slow, *[0.05] * (100 - len(slow))], [0.1] * 100]
    assert holds(parts, outstanding, rate_s=100.0, bound_s=0.1) is expected


def test_document_has_the_promised_fields() -> None:
    """As the JSON of the command."""
    measured = Measured(BestBucket(8, 0.02, 400.0), grid=[cell(1, 1, 50.0), cell(1, 8, 380.0, errors=2)])
    measured.open_loop = OpenLoop(350.0, 99.0, bound_ms=200.0, errors=1, lag_p99_ms=0.2)
    said = measured.document("0123456789abcdef", {"processor": "p", "cores": 2, "instance": None})
    assert said["artifact"] == "0123456789abcdef"
    assert said["machine"] == {"processor": "p", "cores": 2, "instance": None}
    assert said["grid"][1] == {
        "servers": 1, "clients": 8, "throughput_fps": 380.0, "p50_ms": 10.0, "p99_ms": 20.0, "errors": 2,
    }  # fmt: skip
    assert said["saturation"] == {"servers": 1, "clients": 8, "throughput_fps": 380.0}
    assert (said["open_loop"]["rate_fps"], said["open_loop"]["p99_ms"]) == (350.0, 99.0)
    assert said["kafka"] is None
    assert measured.errors == 3
    assert any("3 answers did not belong" in each for each in said["warnings"])


def test_document_of_nothing_is_empty() -> None:
    """An interruption before the first cell's end leaves no figures, and says so."""
    said = Measured(BestBucket(8, 0.02, 400.0), is_interrupted=True).document("0", {})
    assert (said["grid"], said["saturation"], said["open_loop"]) == ([], None, None)
    assert "interrupted" in said["warnings"][0]


@pytest.mark.parametrize(("lag_ms", "is_told"), [(4.9, False), (5.1, True), (None, False)])
def test_late_arrivals_are_told(lag_ms: float | None, *, is_told: bool) -> None:
    """Over 5 ms at p99 the figure is the load generator's as much as the device's."""
    rate = OpenLoop(350.0, 99.0, bound_ms=200.0, errors=0, lag_p99_ms=lag_ms)
    assert (rate.warning is not None) is is_told


def test_a_frames_processor_time_follows_from_the_cores_that_were_busy() -> None:
    """1.5 cores over 50 frames a second are 30 s for 1,000 frames."""
    assert cell(1, 1, 50.0).cpu_s_per_1000_frames == pytest.approx(30.0)
