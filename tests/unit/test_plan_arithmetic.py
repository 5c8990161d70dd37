"""The arithmetic of `tools/run plan`, by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.plan_world import DEMAND, RATES, assumed, speed
from tools.plan import arithmetic
from tools.plan.arithmetic import Basis, plain


def test_capacity_by_hand() -> None:
    """1,000 asked/s over 100 x 0.7 is 14.3 workers, so 15 and 8 instances of two, which could do 1,600/s: 60 % headroom."""
    taken = arithmetic.capacity(DEMAND, speed(100), assumed(2))
    assert (taken.workers.value, taken.instances.value, taken.partitions.value) == (15, 8, 30)
    assert taken.headroom_percent.value == pytest.approx(60)
    assert taken.cameras_per_worker.value == 70
    assert taken.keeps_up


def test_a_camera_is_never_divided_between_workers() -> None:
    """At 1.5 cameras a worker every one has a single camera; at 0.7 nothing keeps up, and the count is of frames alone."""
    one = arithmetic.capacity(DEMAND, speed(1.5 / 0.7), assumed(1))
    assert (one.cameras_per_worker.value, one.workers.value, one.keeps_up) == (1, 1000, True)
    none = arithmetic.capacity(DEMAND, speed(1.0), assumed(1))
    assert (none.cameras_per_worker.value, none.workers.value, none.keeps_up) == (0, 1429, False)


def test_the_last_digits_of_a_float_buy_no_worker() -> None:
    """1,000 x 1.1 x 0.7 / (1.1 x 0.7) is a hair over 1,000 in floats; a whole number of cameras is not a hair under."""
    demand = replace(DEMAND, fps=assumed(1.1), asked_share=assumed(1.0), cameras=assumed(3000))
    taken = arithmetic.capacity(demand, speed(3.3 / 0.7), assumed(1))
    assert (taken.workers.value, taken.cameras_per_worker.value) == (1000, 3)


@pytest.mark.parametrize(
    ("workers", "cameras", "wanted"),
    [(1, 1, 2), (15, 1000, 30), (3, 57_000, 6), (3, 57_001, 9), (1, 95_000, 10)],
)
def test_partitions_by_hand(workers: int, cameras: int, wanted: int) -> None:
    """Two a worker, as many for each, and at most 10,000 cameras in one."""
    assert arithmetic.partitions(workers, cameras) == wanted


def test_cost_by_hand() -> None:
    """8 instances at 0.7582 for 730 hours are 4,427.89 USD: 4.42789 a camera, and 2 % of that for one more question."""
    price = arithmetic.cost(DEMAND, speed(100), assumed(8), plain(0.7582, Basis.PUBLISHED))
    assert price.usd_per_month.value == pytest.approx(4427.888)
    assert price.usd_per_camera_month.value == pytest.approx(4.427888)
    assert price.usd_per_extra_question is not None
    assert price.usd_per_extra_question.value == pytest.approx(0.08855776)
    assert arithmetic.cost(DEMAND, speed(100, None), assumed(8), assumed(1)).usd_per_extra_question is None


def test_kafka_by_hand() -> None:
    """1,000 cameras x 10 published/s x 40 kB are 400 MB/s; 24 h of it in three copies are 103,680 GB."""
    taken = arithmetic.kafka(DEMAND)
    assert (taken.in_mb_per_s.value, taken.out_mb_per_s.value, taken.replication_mb_per_s.value) == pytest.approx((400, 400, 800))
    assert taken.retention_gb.value == pytest.approx(103_680)


def test_more_questions_slow_a_worker_linearly() -> None:
    """At 25 % of a frame each, 12 questions instead of 8 take twice as long, and one more is 12.5 % of such a frame."""
    scaled = arithmetic.at_questions(speed(100, 25.0), 8, plain(12, Basis.GIVEN))
    assert scaled is not None
    assert scaled.extra_question_percent is not None
    assert (scaled.throughput_fps.value, scaled.extra_question_percent.value) == pytest.approx((50, 12.5))
    assert Basis.ASSUMED in scaled.throughput_fps.bases


def test_questions_that_cannot_be_scaled() -> None:
    """None without a percentage, or where a frame would take no time; the same number needs none."""
    assert arithmetic.at_questions(speed(100, None), 8, assumed(9)) is None
    assert arithmetic.at_questions(speed(100, 20.0), 8, assumed(3)) is None
    assert arithmetic.at_questions(speed(100, None), 8, assumed(8)) == speed(100, None)


def test_break_even_by_hand() -> None:
    """At twice the price an instance must answer twice the frames."""
    level = arithmetic.break_even_fps(plain(1.0, Basis.PUBLISHED), plain(0.5, Basis.PUBLISHED), plain(200, Basis.MEASURED))
    assert level.value == pytest.approx(400)
    assert level.letters == "mp"


@given(RATES, st.integers(1, 100_000), st.integers(1, 50_000), st.integers(1, 8))
def test_more_cameras_never_cost_less(fps: float, cameras: int, more: int, workers_per_instance: int) -> None:
    """Nor take fewer workers, whatever is rounded up on the way."""

    def month(count: int) -> tuple[float, float]:
        demand = replace(DEMAND, cameras=assumed(count))
        taken = arithmetic.capacity(demand, speed(fps), assumed(workers_per_instance))
        return taken.workers.value, arithmetic.cost(demand, speed(fps), taken.instances, assumed(1)).usd_per_month.value

    few, many = month(cameras), month(cameras + more)
    assert few[0] <= many[0]
    assert few[1] <= many[1]


@given(RATES, st.integers(1, 300_000), st.integers(1, 8), st.floats(0.05, 1.0))
def test_what_is_bought_carries_the_load(fps: float, cameras: int, workers_per_instance: int, utilisation: float) -> None:
    """The workers answer everything at the planned utilisation, each has as many partitions, none with too many cameras."""
    demand = replace(DEMAND, cameras=assumed(cameras), utilisation=assumed(utilisation))
    taken = arithmetic.capacity(demand, speed(fps), assumed(workers_per_instance))
    assert taken.workers.value * fps * utilisation >= demand.asked_fps.value * (1 - 1e-9)
    assert taken.instances.value * workers_per_instance >= taken.workers.value
    assert taken.headroom_percent.value >= (1 / utilisation - 1) * 100 - 1e-6
    assert taken.partitions.value % taken.workers.value == 0
    assert cameras / taken.partitions.value <= 10_000
