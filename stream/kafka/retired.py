"""Clients that are not used any more: each is stopped in a task of its own that is never cancelled.

Stopping may wait for a broker that does not answer, and a client whose stop was cancelled lives on for ever. So does the first
connection of a client whose bootstrap was cancelled.
"""

import asyncio
import logging
from typing import Protocol

from aiokafka.client import AIOKafkaClient

log = logging.getLogger(__name__)

BOOTSTRAP_S = 5.0
"""A bootstrap that was given up is waited for so long: at a broker that does not answer it would end only with its timeouts."""


class Client(Protocol):
    """A consumer or producer."""

    async def stop(self) -> None:
        """Close every connection."""
        ...


class Retired:
    """The clients that are being stopped."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stopping: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._stopping)

    def add(self, client: Client) -> None:
        """Stop a client, whenever that will be through."""
        task = asyncio.create_task(_stop(client))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def gone(self, timeout_s: float) -> None:
        """Wait until all are stopped, within a bound."""
        if self._stopping:
            _, left = await asyncio.wait(self._stopping, timeout=timeout_s)
            if left:
                log.warning("%d Kafka clients were not stopped within %g s", len(left), timeout_s)


async def _stop(client: Client) -> None:
    try:
        await client.stop()
    except Exception as error:  # noqa: BLE001  (a client that failed may fail again at its end, in any way)
        log.info("a Kafka client stopped with %r", error)


def bootstrap_whole(client: AIOKafkaClient) -> None:
    """Have a client bootstrap to the end where whoever waits for it is cancelled, and close after that, cancelled or not.

    aiokafka 0.14 forgets the connection that it bootstraps with where that is cancelled: nobody closes it before it is collected.
    """
    bootstrap, close = client.bootstrap, client.close
    begun: list[asyncio.Task[None]] = []
    closing: list[asyncio.Task[None]] = []

    async def whole() -> None:
        begun.append(asyncio.create_task(bootstrap()))
        await asyncio.shield(begun[-1])

    async def end() -> None:
        if begun:
            _, late = await asyncio.wait(begun, timeout=BOOTSTRAP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
        await close()

    async def close_after() -> None:
        closing.append(asyncio.create_task(end()))
        await asyncio.shield(closing[-1])

    client.bootstrap, client.close = whole, close_after
