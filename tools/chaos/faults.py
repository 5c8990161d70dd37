"""Which faults come when: drawn from a seed, so that a run can be repeated and resumed.

Pure: knows no process and no clock. `tools.chaos.inject` does what is drawn here.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Generic, TypeVar

from tools.chaos.frames import EVERYTHING, GROUP, TRANSACTION, Api
from tools.chaos.rules import AFTER_ALERTS, BEFORE_STATE, BETWEEN, Cut, Delay, Hold, Rule, Swallow
from tools.chaos.status import CrashPoint, How, Order, Side

T = TypeVar("T")


class Kind(StrEnum):
    """What is done."""

    KILL = "kill"
    """kill -9 of a worker, started again."""
    STOP = "stop"
    """SIGSTOP of a worker for a time."""
    TERM = "term"
    """SIGTERM of a worker, started again."""
    JOIN = "join"
    """One worker more."""
    LEAVE = "leave"
    """One worker fewer, by SIGTERM."""
    BROKER_KILL = "broker_kill"
    """kill -9 of the broker (of all nodes at once), started again."""
    BROKER_RESTART = "broker_restart"
    """Clean restart of the broker (of the nodes one after the other)."""
    BROKER_STOP = "broker_stop"
    """SIGSTOP of the broker (of one node) for a time."""
    NODE_KILL = "node_kill"
    """kill -9 of one node of a cluster, started again."""
    PUBLISHER_KILL = "publisher_kill"
    """kill -9 of the publisher, started again."""
    NETWORK = "network"
    """A rule for the proxy."""
    CRASH_POINT = "crash_point"
    """An order to crash at a named point."""


_WEIGHTS = {kind: 40 if kind is Kind.CRASH_POINT else 10 for kind in Kind}
"""In tenths of an equal share: 60 faults order each of the 16 crash points once and have every other kind at least four times."""
_NODES_FOR_NODE_KILL = 3
_AIMED = 0.75
"""Share of the faults that wait for a busy moment; the others come when they come."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The bounds of the delivery protocol that a standstill is measured against."""

    deadline_s: float
    """Of a transaction."""
    session_s: float
    """Of a member of the group."""
    transaction_s: float
    """After which the broker aborts a transaction."""

    @property
    def standstills_s(self) -> list[float]:
        """0.5, 1 and 3 times each bound: shorter, about as long, and surely longer."""
        return [
            factor * bound for factor, bound in product((0.5, 1.0, 3.0), (self.deadline_s, self.session_s, self.transaction_s))
        ]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault with its parameters."""

    number: int
    """Its place in the run, from 0."""
    kind: Kind
    after_s: float
    """Quiet time before it."""
    target: int
    """Whom it hits: this number modulo how many workers or nodes there are."""
    lasts_s: float
    """How long who was hit stands still or stays away."""
    is_aimed: bool
    """Whether it waits for a moment when the workers are busy."""
    rule: Rule | None = None
    """Of a network fault; its client is set to the target's, unless it hits everybody."""
    hits_everybody: bool = False
    """Whether a network fault hits all clients instead of one worker."""
    order: Order | None = None
    """Of a crash point."""


class _Deck(Generic[T]):
    """Choices in random order, each once before any comes again."""

    def __init__(self, draw: random.Random, choices: Iterable[T]) -> None:
        self._draw, self._choices = draw, list(choices)
        self._left: list[T] = []

    def next(self) -> T:
        if not self._left:
            self._left = self._draw.sample(self._choices, len(self._choices))
        return self._left.pop()


def schedule(seed: int, count: int, *, nodes: int, timing: Timing) -> tuple[Fault, ...]:
    """Draw the faults of a run. The same arguments give the same faults.

    Args:
        seed: of the draw.
        count: number of faults; from 15 on every kind comes, from 60 on each at least three times.
        nodes: brokers in the cluster; only three or more can lose one.
        timing: bounds by which standstills and outages are measured.
    """
    draw = random.Random(f"faults {seed}")
    kinds = [kind for kind in Kind if kind is not Kind.NODE_KILL or nodes >= _NODES_FOR_NODE_KILL]
    parameters = _Parameters(draw, timing)
    return tuple(parameters.fault(number, kind) for number, kind in enumerate(_order(draw, _shares(kinds, count))))


def network_rules(timing: Timing) -> list[Rule]:
    """Every network fault that is in the deck, before a client is chosen."""
    session_s, deadline_s = timing.session_s, timing.deadline_s
    produce, fetch = frozenset({Api.PRODUCE}), frozenset({Api.FETCH})
    rules: list[Rule] = []
    for api, moment in product(sorted(TRANSACTION), (BETWEEN, AFTER_ALERTS, BEFORE_STATE)):
        rules.append(Hold(frozenset({api}), moment))
    for apis, is_delivered in product((produce, TRANSACTION, GROUP, EVERYTHING), (False, True)):
        rules.append(Cut(apis, count=3, is_delivered=is_delivered))
    rules += [Swallow(apis, session_s * factor) for apis, factor in ((GROUP, 3.0), (TRANSACTION, 1.0), (produce, 1.0))]
    rules += [Swallow(EVERYTHING, session_s * factor) for factor in (0.5, 3.0)]
    rules += [Delay(deadline_s * 0.3, session_s, apis) for apis in (TRANSACTION, produce, fetch)]
    rules += [Delay(deadline_s * 1.5, session_s, TRANSACTION), Delay(0.05, session_s, EVERYTHING)]
    return rules


class _Parameters:
    """Draws what belongs to a fault; every choice of a kind comes before any comes again."""

    def __init__(self, draw: random.Random, timing: Timing) -> None:
        self._draw, self._timing = draw, timing
        self._standstills = {kind: _Deck(draw, timing.standstills_s) for kind in (Kind.STOP, Kind.BROKER_STOP, Kind.CRASH_POINT)}
        self._rules = _Deck(draw, network_rules(timing))
        self._orders = _orders(draw)

    def fault(self, number: int, kind: Kind) -> Fault:
        draw = self._draw
        after_s, target, is_aimed = draw.uniform(0.5, 2.5), draw.randrange(1000), draw.random() < _AIMED
        lasts_s = self._lasts_s(kind)
        rule = self._rules.next() if kind is Kind.NETWORK else None
        order = next(self._orders) if kind is Kind.CRASH_POINT else None
        hits_everybody = rule is not None and draw.random() < 0.3  # noqa: PLR2004  (a third hit all clients, the publisher too)
        return Fault(number, kind, round(after_s, 2), target, lasts_s, is_aimed, rule, hits_everybody, order)

    def _lasts_s(self, kind: Kind) -> float:
        if kind in self._standstills:
            return self._standstills[kind].next()
        return round(self._draw.uniform(0.0, 1.5) * self._timing.session_s, 2)


def _orders(draw: random.Random) -> Iterator[Order]:
    """Every crash point, before and after it, in every manner, once before any comes again.

    Drawn in rounds: each has every point once, in all manners about equally often, and in six rounds a point has all of them.
    """
    points, manners = list(CrashPoint), list(product(Side, How))
    while True:
        draw.shuffle(points)
        draw.shuffle(manners)
        for turn in range(len(manners)):
            orders = [Order(point, *manners[(place + turn) % len(manners)]) for place, point in enumerate(points)]
            yield from draw.sample(orders, len(orders))


def _shares(kinds: Sequence[Kind], count: int) -> list[Kind]:
    """That many kinds in proportion to their weights, by largest remainder."""
    weight = sum(_WEIGHTS[kind] for kind in kinds)
    whole = {kind: count * _WEIGHTS[kind] // weight for kind in kinds}
    by_remainder = sorted(kinds, key=lambda kind: count * _WEIGHTS[kind] % weight, reverse=True)
    for kind in by_remainder[: count - sum(whole.values())]:
        whole[kind] += 1
    return [kind for kind in kinds for _ in range(whole[kind])]


def _order(draw: random.Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    """Shuffle, and let workers come and go in turns, so that there is always at most one more or one fewer."""
    turns = (Kind.JOIN, Kind.LEAVE)
    shuffled = draw.sample(kinds, len(kinds))
    first = turns[kinds.count(Kind.LEAVE) > kinds.count(Kind.JOIN)]
    came = turns.index(first)
    for kind in shuffled:
        if kind in turns:
            yield turns[came % 2]
            came += 1
        else:
            yield kind
