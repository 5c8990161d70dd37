"""Reloads of the questions that were asked for: passed on in their order, and reported to whoever waits for them."""

import asyncio
from collections import deque

from stream.answering import Reload


class Reloads:
    """Those of one worker."""

    def __init__(self) -> None:
        """Begin with none."""
        self._asked_for: deque[Reload] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_over = False

    async def taken(self, reload: Reload) -> None:
        """Ask for one, and wait until it is in force; cancelled if the worker ends before."""
        taken = asyncio.get_running_loop().create_future()
        if self._is_over:
            taken.cancel()
        self._asked_for.append(reload)
        self._waiting.append(taken)
        await taken

    def pop(self) -> Reload | None:
        """Give the next one, to be passed on; None: there is none."""
        return self._asked_for.popleft() if self._asked_for else None

    def in_force(self) -> None:
        """The first one that was passed on is in force."""
        taken = self._waiting.popleft()
        if not taken.done():
            taken.set_result(None)

    def close(self) -> None:
        """The worker is over."""
        self._is_over = True
        for taken in self._waiting:
            taken.cancel()
