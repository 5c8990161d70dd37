"""Runs decoders off the event loop, and notices one that never comes back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from stream.errors import StreamError
from stream.types import FramePacket

T = TypeVar("T")


class Threads(Protocol):
    """Where blocking work runs."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run it off the event loop and give what it returns."""
        ...


@dataclass(frozen=True, slots=True)
class DecodeThreads:
    """Decoder threads with a bound on one decoder's time."""

    threads: Threads
    timeout_s: float
    """A decoder that takes longer stands still: the worker ends, and its successor tries the record in a child process."""

    async def run(self, packet: FramePacket | None, work: Callable[[], T]) -> T:
        """Run a decoder's work on a packet; None where it is on none in particular.

        Raises:
            StreamError: it did not come back.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.threads(work)
        except TimeoutError as error:
            what = "a decoder" if packet is None else f"the decoder of {packet.content_type} at {packet.position}"
            msg = f"{what} did not come back within {self.timeout_s:g} s: restart the worker, it will try the record aside"
            raise StreamError(msg) from error
