"""What goes on behind a source's back: its tasks, the first failure of any of them, and the bell that ends a wait."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from stream.errors import SourceLost, StreamError


class Background:
    """Tasks that report by side effect. Made inside a running event loop."""

    def __init__(self) -> None:
        """Begin with no task and no failure."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: StreamError | None = None
        self._is_stopped = False
        self._bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; what it raises ends the source."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        if self._is_stopped:
            task.cancel()  # a rebalance may come while the consumer leaves
        return task

    def fail(self, error: StreamError) -> None:
        """Keep the first failure for `check`."""
        self._failure = self._failure or error
        self.ring()

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure

    def ring(self) -> None:
        """Something happened: end the wait of `listen`."""
        if not self._bell.done():
            self._bell.set_result(None)

    async def listen(self, tasks: Iterable[asyncio.Task[None]], timeout_s: float) -> None:
        """Wait for the bell or for one of these tasks, which goes on if neither comes in time."""
        await asyncio.wait({*tasks, self._bell}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._bell.done():
            self._bell = asyncio.get_running_loop().create_future()

    async def stop(self) -> None:
        """Cancel every task and wait for its end; what is spawned afterwards is cancelled at once."""
        self._is_stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error if isinstance(error, StreamError) else SourceLost(f"the Kafka source failed: {error!r}"))
