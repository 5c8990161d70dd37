"""The schedule of faults: the same seed gives the same run, and every kind, length, crash point and rule has its turn."""

from collections import Counter
from itertools import product, starmap
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.chaos.faults import Kind, Timing, network_rules, schedule
from tools.chaos.rules import Rule
from tools.chaos.status import CrashPoint, How, Order, Side

TIMING = Timing(deadline_s=4.0, session_s=3.0, transaction_s=6.0)
SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS, count=st.integers(0, 300), nodes=st.sampled_from([1, 3]))
def test_same_seed_gives_the_same_faults(seed: int, count: int, nodes: int) -> None:
    """Two draws are equal, have the wanted number, and are numbered."""
    faults = schedule(seed, count, nodes=nodes, timing=TIMING)
    assert faults == schedule(seed, count, nodes=nodes, timing=TIMING)
    assert [fault.number for fault in faults] == list(range(count))


def test_other_seed_gives_other_faults() -> None:
    """A seed changes order and parameters."""
    assert schedule(1, 60, nodes=1, timing=TIMING) != schedule(2, 60, nodes=1, timing=TIMING)


@given(seed=SEEDS, nodes=st.sampled_from([1, 2, 3]))
def test_sixty_faults_have_every_kind_and_every_crash_point(seed: int, nodes: int) -> None:
    """At least four of each kind, so at least eight over three runs; a node is killed only where there are three.

    The crash points come before and after, and in each manner at least twice.
    """
    faults = schedule(seed, 60, nodes=nodes, timing=TIMING)
    kinds = Counter(fault.kind for fault in faults)
    assert min(kinds.values()) >= 4
    assert set(Kind) - set(kinds) == (set() if nodes == 3 else {Kind.NODE_KILL})
    orders = [fault.order for fault in faults if fault.order]
    assert {order.point for order in orders} == set(CrashPoint)
    manners = Counter((order.side, order.how) for order in orders)
    assert manners.keys() == set(product(Side, How))
    assert min(manners.values()) >= 2


@given(seed=SEEDS)
def test_long_run_has_every_crash_point_on_both_sides_in_every_manner(seed: int) -> None:
    """One deck of them all: none comes again before each has come, and each point has come in each sixth of the deck."""
    orders = [fault.order for fault in schedule(seed, 340, nodes=1, timing=TIMING) if fault.order]
    deck = set(starmap(Order, product(CrashPoint, Side, How)))
    assert set(orders[: len(deck)]) == deck
    for begin in range(0, len(deck), len(CrashPoint)):
        assert {order.point for order in orders[begin : begin + len(CrashPoint)]} == set(CrashPoint)


@given(seed=SEEDS, nodes=st.sampled_from([1, 3]))
def test_fifteen_faults_have_every_kind(seed: int, nodes: int) -> None:
    """The short run leaves no kind out."""
    kinds = {fault.kind for fault in schedule(seed, 15, nodes=nodes, timing=TIMING)}
    assert set(Kind) - kinds <= {Kind.NODE_KILL}
    assert (Kind.NODE_KILL in kinds) == (nodes == 3)


@given(seed=SEEDS)
def test_long_run_has_every_length_and_rule(seed: int) -> None:
    """In 300 faults every standstill and every network rule come."""
    faults = schedule(seed, 300, nodes=1, timing=TIMING)
    for kind in (Kind.STOP, Kind.BROKER_STOP):
        assert {fault.lasts_s for fault in faults if fault.kind is kind} == set(TIMING.standstills_s)
    assert {type(fault.rule) for fault in faults if fault.rule} == set(get_args(Rule))
    assert all((fault.rule is not None) == (fault.kind is Kind.NETWORK) for fault in faults)
    assert 0.6 < sum(fault.is_aimed for fault in faults) / len(faults) < 0.9


@given(seed=SEEDS, count=st.integers(1, 300), start=st.integers(0, 299))
def test_fleet_changes_by_one_wherever_a_run_is_resumed(seed: int, count: int, start: int) -> None:
    """Workers come and go in turns: from any fault on there is at most one more or one fewer than at that point."""
    steps = {Kind.JOIN: 1, Kind.LEAVE: -1}
    size = 0
    for fault in schedule(seed, count, nodes=1, timing=TIMING)[start:]:
        size += steps.get(fault.kind, 0)
        assert -1 <= size <= 1


@pytest.mark.parametrize("nodes", [1, 3])
def test_network_rules_are_all_different(nodes: int) -> None:
    """No rule stands in the deck twice, and the deck fits into a long run's network faults."""
    rules = network_rules(TIMING)
    assert len(set(rules)) == len(rules)
    drawn = [fault.rule for fault in schedule(7, 500, nodes=nodes, timing=TIMING) if fault.rule is not None]
    assert set(rules) == set(drawn)


def test_standstills_are_shorter_than_as_long_as_and_longer_than_each_bound() -> None:
    """0.5, 1 and 3 times deadline, session and transaction timeout."""
    assert sorted(TIMING.standstills_s) == [1.5, 2.0, 3.0, 3.0, 4.0, 6.0, 9.0, 12.0, 18.0]
