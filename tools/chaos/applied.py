"""A rule in force: what it hit, what it holds, and when it is over."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from tools.chaos.frames import Api, Request
from tools.chaos.rules import Cut, Delay, Hold, Moment, Rule


@dataclass(frozen=True, slots=True)
class Delivered:
    """A held request that was delivered late."""

    request: Request
    error_code: int | None
    """What the broker answered (0 = done); None if it did not."""


@dataclass(slots=True, eq=False)
class Held:
    """A request that is kept back until its moment."""

    request: Request
    port: int
    """The broker that it was sent to."""
    is_next: bool = False
    """Whether the transaction that it was part of is over."""
    passed: list[Request] = field(default_factory=list)
    """Requests of the moment's kind in the transaction that runs; one that was sent again stands once."""

    def is_due(self, request: Request, moment: Moment) -> bool:
        """Whether its moment is just before this request of the same transactional id; keeps count."""
        if request.transactional_id != self.request.transactional_id:
            return False
        if request.api in (Api.INIT_PRODUCER_ID, Api.END_TXN):
            self.is_next, self.passed = True, []
        elif self.is_next and request.api == moment.api and not any(map(request.repeats, self.passed)):
            self.passed.append(request)
            return len(self.passed) == moment.nth
        return False


@dataclass(slots=True, eq=False)
class Applied:
    """What a proxy knows of one rule. Made inside a running event loop."""

    rule: Rule
    hits: Counter[str] = field(default_factory=Counter)
    """Requests that it took hold of, by API name."""
    delivered: list[Delivered] = field(default_factory=list)
    """Held requests that reached the broker late."""
    _held: list[Held] = field(default_factory=list)
    _stalled: set[asyncio.StreamWriter] = field(default_factory=set)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether it takes hold of nothing more and holds nothing."""
        return self._over.is_set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until it is over; whether that came in time."""
        try:
            await asyncio.wait_for(self._over.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def fits(self, request: Request) -> bool:
        """Whether it takes hold of this request."""
        if self.is_over or self._is_used_up or request.api not in self.rule.apis:
            return False
        if isinstance(self.rule, Delay) and self.rule.transactional_id not in (None, request.transactional_id):
            return False
        return self.rule.client is None or self.rule.client == request.client

    def count(self, request: Request) -> None:
        """Note a hit; a cut is over with its last one."""
        self.hits[request.name] += 1
        if isinstance(self.rule, Cut) and self._is_used_up:
            self.end()

    def hold(self, held: Held) -> None:
        """Keep a request back."""
        self._held.append(held)

    def take_due(self, request: Request) -> list[Held]:
        """Take what must be delivered before this request."""
        if not isinstance(self.rule, Hold):
            return []
        moment = self.rule.moment
        due = [held for held in self._held if held.is_due(request, moment)]
        self._held = [held for held in self._held if held not in due]
        return due

    def take_all(self) -> list[Held]:
        """Take everything that is still held."""
        held, self._held = self._held, []
        return held

    def note(self, delivered: Delivered) -> None:
        """Note a late delivery; a hold is over with its last one."""
        self.delivered.append(delivered)
        if isinstance(self.rule, Hold) and len(self.delivered) >= self.rule.count:
            self.end()

    def stall(self, to_client: asyncio.StreamWriter) -> None:
        """Remember a connection on which a request was swallowed."""
        self._stalled.add(to_client)

    def end_after(self, lasts_s: float) -> None:
        """Set its end."""
        self._timer = asyncio.get_running_loop().call_later(lasts_s, self.end)

    def end(self) -> None:
        """Take hold of nothing more; cut the connections on which an answer is awaited that cannot come."""
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()
        for to_client in self._stalled:
            to_client.transport.abort()
        self._stalled.clear()
        self._over.set()

    @property
    def _is_used_up(self) -> bool:
        return isinstance(self.rule, Cut | Hold) and self.hits.total() >= self.rule.count
