"""What a proxy is told to do to requests, as values. The first rule that was applied and fits a request decides about it."""

from dataclasses import dataclass
from typing import TypeAlias

from tools.chaos.frames import EVERYTHING, TRANSACTION, Api


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection on which such a request comes, `count` times."""

    apis: frozenset[Api] = EVERYTHING
    count: int = 1
    is_delivered: bool = False
    """Whether the broker still gets the request, so that its outcome is unknown to the client."""
    client: str | None = None
    """Client id that is meant; None is every client. So in all rules."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Let each such request wait, and with it all that follows on its connection, as on a slow line."""

    delay_s: float
    lasts_s: float
    apis: frozenset[Api] = EVERYTHING
    client: str | None = None
    transactional_id: str | None = None
    """Whose requests are meant, of those that name a transaction; None is every request."""


@dataclass(frozen=True, slots=True)
class Swallow:
    """Never deliver such a request; its connection stays open and is cut when the rule ends.

    What follows on the connection passes. Its answer comes out of turn, for which aiokafka closes the connection and makes a new
    one: so a client that has one connection for its group and another for its records loses the one and keeps the other.
    """

    apis: frozenset[Api]
    lasts_s: float
    client: str | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A place within a transaction: before its `nth` request of that kind is passed on, one sent again not counted."""

    api: Api
    nth: int


BETWEEN = Moment(Api.ADD_PARTITIONS_TO_TXN, 1)
"""Before the transaction does anything."""
AFTER_ALERTS = Moment(Api.ADD_PARTITIONS_TO_TXN, 2)
"""After the first topic's records are written, before the next topic is part of the transaction."""
BEFORE_STATE = Moment(Api.PRODUCE, 2)
"""After both topics are part of the transaction, before the second one's records are written."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep such a request back, cut its client, and deliver it late, `count` times.

    It is delivered at `moment` of the next transaction of its transactional id, whoever runs that: the next is what follows the
    first InitProducerId or EndTxn which passes after the hold. (notes/exactly-once.md 2, KAFKA-17754.)

    Raises:
        ValueError: an API that names no transaction.
    """

    apis: frozenset[Api]
    moment: Moment
    count: int = 1
    client: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be delivered."""
        if not self.apis <= TRANSACTION:
            msg = f"only transactional requests can be held, not {sorted(api.name for api in self.apis - TRANSACTION)}"
            raise ValueError(msg)


Rule: TypeAlias = Cut | Delay | Swallow | Hold
