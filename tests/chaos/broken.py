"""Rules of the worker taken out by a patch, for workers that the suite must catch. No product code knows of it."""

import asyncio
from typing import Any

from stream.answering import Asked
from stream.kafka import partition_client
from stream.kafka.taking_up import TakingUp
from stream.protocol import Protocol, Step
from stream.worker import Worker


def without_back_off() -> None:
    """Let the producer send a request again that is still under way."""
    plain = partition_client.Writer.__init__

    def impatient(self: partition_client.Writer, *, retry_backoff_ms: int, **options: Any) -> None:
        del retry_backoff_ms
        plain(self, retry_backoff_ms=100, **options)

    partition_client.Writer.__init__ = impatient


def without_adoption() -> None:
    """Forget what is published and not in the state."""

    async def forget(self: TakingUp) -> None:
        self.alerts_offset = (await self.port.published(2**62)).end

    TakingUp._adopt = forget  # type: ignore[method-assign]


def without_membership() -> None:
    """Fence the last writer without being a member of the group."""

    def rest(self: Protocol) -> None:
        self._steps = [step for step in Step if step not in (Step.PROVE, Step.PROVE_AGAIN)]

    plain = Protocol.__init__
    again = Protocol.waited

    def begin(self: Protocol) -> None:
        plain(self)
        rest(self)

    def waited(self: Protocol) -> None:
        again(self)
        rest(self)

    Protocol.__init__ = begin  # type: ignore[method-assign]
    Protocol.waited = waited  # type: ignore[method-assign]


def without_backpressure() -> None:
    """Go on polling while the device does nothing."""
    plain = Worker._ingest

    async def ingest(self: Worker, asked: asyncio.Queue[Asked]) -> None:
        asked._maxsize = 0  # type: ignore[attr-defined]  # never full
        await plain(self, asked)

    Worker._ingest = ingest  # type: ignore[method-assign]
