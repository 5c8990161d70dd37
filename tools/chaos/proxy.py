"""A proxy between Kafka clients and brokers that reads every request and can cut, delay, swallow or hold it by API and client.

One listener for each broker; what brokers answer passes as it is. All state belongs to the event loop in which it was opened.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tools.broker.ports import HOST
from tools.chaos.applied import Applied, Delivered, Held
from tools.chaos.frames import MAX_REQUEST_BYTES, Request, error_code
from tools.chaos.rules import Cut, Delay, Hold, Rule, Swallow

ANSWER_TIMEOUT_S = 5.0
"""How long the answer to a late request is awaited before what it was to precede is passed on."""
LINGER_S = 2.0
"""How long a broker's end stays open after its client was cut, so that what was sent is surely read."""
_PIECE_BYTES = 2**18


class Proxy:
    """The listeners of a cluster, as an asynchronous context manager."""

    def __init__(self, size: int = 1) -> None:
        """Prepare one listener for each of `size` brokers."""
        self.passed: Counter[str] = Counter()
        """Requests that were passed on, by API name."""
        self.passed_of: Counter[tuple[str | None, str]] = Counter()
        """The same by client id and API name."""
        self.ports: list[int] = []
        """Where clients connect; what the brokers must advertise."""
        self._size = size
        self._upstream: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._rules: list[Applied] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen on free ports; connections are refused again until `lead_to`."""
        for _ in range(self._size):
            server = await asyncio.start_server(self._serve, HOST, 0, limit=_PIECE_BYTES)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close every listener and every connection."""
        self.clear()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lead_to(self, ports: Sequence[int]) -> None:
        """Say on which port of loopback each broker listens, in the order of `ports`."""
        self._upstream = dict(zip(self.ports, ports, strict=True))

    def apply(self, rule: Rule) -> Applied:
        """Put a rule into force, until its count is used up, its time is over, or `clear`."""
        applied = Applied(rule)
        self._rules.append(applied)
        if isinstance(rule, Delay | Swallow):
            applied.end_after(rule.lasts_s)
        return applied

    def clear(self) -> None:
        """End every rule; what is still held is never delivered."""
        for applied in self._rules:
            applied.end()
        self._rules.clear()

    async def deliver(self, applied: Applied) -> None:
        """Deliver what a rule still holds, now."""
        for held in applied.take_all():
            await self._deliver(applied, held)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            port = self._upstream.get(to_client.get_extra_info("sockname")[1])
            if port is not None:
                await self._connect(port, client, to_client)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # an end that closed, a broker that is down, no Kafka, or our own end: the connection ends, the others go on
        finally:
            self._tasks.discard(task)
            to_client.transport.abort()

    async def _connect(self, port: int, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        broker, to_broker = await asyncio.open_connection(HOST, port, limit=_PIECE_BYTES)
        answers = asyncio.create_task(_pump(broker, to_client))
        try:
            while (request := await _read(client)) is not None and await self._pass(request, port, to_client, to_broker):
                pass
            to_client.transport.abort()
            if to_broker.can_write_eof():
                to_broker.write_eof()
            await asyncio.wait([answers], timeout=LINGER_S)
        finally:
            answers.cancel()
            to_broker.transport.abort()

    async def _pass(self, request: Request, port: int, to_client: asyncio.StreamWriter, to_broker: asyncio.StreamWriter) -> bool:
        """Do with a request what the rules say; False ends its connection."""
        applied = next((each for each in self._rules if each.fits(request)), None)
        rule = None if applied is None else applied.rule
        if applied is not None:
            applied.count(request)
        match rule:
            case Hold():
                assert applied is not None
                applied.hold(Held(request, port))
                return False
            case Swallow():
                assert applied is not None
                applied.stall(to_client)
                return True
            case Cut(is_delivered=False):
                return False
            case Delay():
                await asyncio.sleep(rule.delay_s)
        await self._deliver_due(request)
        self.passed[request.name] += 1
        self.passed_of[request.client, request.name] += 1
        to_broker.write(request.frame)
        await to_broker.drain()
        return not isinstance(rule, Cut)

    async def _deliver_due(self, request: Request) -> None:
        """Deliver what was held for the moment before this request."""
        for applied in tuple(self._rules):
            for held in applied.take_due(request):
                await self._deliver(applied, held)

    async def _deliver(self, applied: Applied, held: Held) -> None:
        """Send a held request on a connection of its own: its client's is gone, and no order binds it any more."""
        code = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                broker, to_broker = await asyncio.open_connection(HOST, held.port)
                try:
                    to_broker.write(held.request.frame)
                    head = await broker.readexactly(4)
                    code = error_code(held.request.api, head + await broker.readexactly(int.from_bytes(head, "big")))
                finally:
                    to_broker.transport.abort()
        applied.note(Delivered(held.request, code))


async def _read(client: asyncio.StreamReader) -> Request | None:
    """One whole request; None when the client has closed."""
    head = await client.read(4)
    if not head:
        return None
    head += await client.readexactly(4 - len(head))
    length = int.from_bytes(head, "big", signed=True)
    if not 0 < length <= MAX_REQUEST_BYTES:
        msg = f"no Kafka request: length {length}"
        raise ValueError(msg)
    return Request.parse(head + await client.readexactly(length))


async def _pump(broker: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    """Pass on what a broker answers, and its end."""
    with contextlib.suppress(OSError):
        while piece := await broker.read(_PIECE_BYTES):
            to_client.write(piece)
            await to_client.drain()
    to_client.transport.abort()
