"""A trial's child process: asked, signalled and looked at through /proc."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from stream.decode import DecodeLimits, DecodeRequest
from stream.decode.trial import Trial
from stream.types import FramePacket

REQUEST = DecodeRequest(size=32, interval_s=0.01, limits=DecodeLimits())
PATIENCE_S = 30.0
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def trial(time_limit_s: float = 20.0) -> AsyncIterator[Trial]:
    """A trial that is closed in the end."""
    one = Trial(time_limit_s)
    try:
        yield one
    finally:
        await one.close()


async def attempt_under(tried: Trial, what: FramePacket, *signals: signal.Signals) -> int:
    """Attempt a record; each child that is asked gets the next signal at once, a stopped one goes on when it is ended.

    Returns:
        How many children were asked.
    """
    attempt = asyncio.ensure_future(tried.attempt(what, REQUEST))
    asked: list[int] = []
    while not attempt.done():
        await asyncio.sleep(0.001)
        if tried.pid is not None and tried.pid not in asked:
            asked.append(tried.pid)
            if len(asked) <= len(signals):
                os.kill(tried.pid, signals[len(asked) - 1])
    await attempt
    return len(asked)


async def until(done: Callable[[], object]) -> None:
    """Wait for something that comes by itself."""
    until_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


def about(pid: int, what: str) -> str:
    """What the kernel says of a process."""
    return Path(f"/proc/{pid}/{what}").read_text()


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        status = about(pid, "stat")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
