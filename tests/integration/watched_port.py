"""A partition's port that writes down what is asked of it, and commits when a test lets it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from stream.alerts import AlertRecord
from stream.kafka.dead_letters import DeadLetterRecord
from stream.kafka.port import Log, Port, Published
from stream.state_records import RecordMark


@dataclass
class Watched:
    """What the ports of a worker were asked, in order."""

    calls: list[str] = field(default_factory=list)
    may_commit: asyncio.Event = field(default_factory=asyncio.Event)
    """Commits wait for it; set unless a test clears it."""

    def __post_init__(self) -> None:
        """Let commits pass."""
        self.may_commit.set()

    def port(self, port: Port) -> Port:
        """Wrap a port."""
        return WatchedPort(port, self)

    async def note(self, call: str) -> None:
        """Write a call down, and wait if it is one to wait with."""
        self.calls.append(call)
        if call == "commit":
            await self.may_commit.wait()


@dataclass
class WatchedPort:
    """`stream.kafka.port.Port` around another one."""

    port: Port
    watched: Watched

    async def prove(self, offset: int) -> None:
        """See `Port`."""
        await self.watched.note("prove")
        await self.port.prove(offset)

    async def group_offset(self) -> int | None:
        """See `Port`."""
        return await self.port.group_offset()

    async def clear(self) -> None:
        """See `Port`."""
        await self.watched.note("clear")
        await self.port.clear()

    async def init(self) -> None:
        """See `Port`."""
        await self.watched.note("init")
        await self.port.init()

    async def state_end(self) -> int:
        """See `Port`."""
        await self.watched.note("state_end")
        return await self.port.state_end()

    async def state_records(self, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
        """See `Port`."""
        await self.watched.note("state_records")
        async for each in self.port.state_records(end):
            yield each

    async def log(self) -> Log:
        """See `Port`."""
        await self.watched.note("log")
        return await self.port.log()

    async def found(self, offset: int) -> RecordMark | None:
        """See `Port`."""
        await self.watched.note("found")
        return await self.port.found(offset)

    async def published(self, offset: int) -> Published:
        """See `Port`."""
        await self.watched.note("published")
        return await self.port.published(offset)

    def seek(self, offset: int) -> None:
        """See `Port`."""
        self.watched.calls.append("seek")
        self.port.seek(offset)

    async def begin(self) -> None:
        """See `Port`."""
        await self.watched.note("begin")
        await self.port.begin()

    async def send_alerts(self, alerts: tuple[AlertRecord, ...]) -> int | None:
        """See `Port`."""
        await self.watched.note(f"alerts {len(alerts)}")
        return await self.port.send_alerts(alerts)

    async def send_dead_letter(self, record: DeadLetterRecord) -> None:
        """See `Port`."""
        await self.watched.note("dead letter")
        await self.port.send_dead_letter(record)

    async def send_state(self, records: tuple[tuple[bytes, bytes | None], ...]) -> None:
        """See `Port`."""
        await self.watched.note(f"state {len(records)}")
        await self.port.send_state(records)

    async def commit(self) -> None:
        """See `Port`."""
        await self.watched.note("commit")
        await self.port.commit()

    def commit_group(self, offset: int) -> None:
        """See `Port`."""
        self.watched.calls.append("commit group")
        self.port.commit_group(offset)

    def discard(self) -> None:
        """See `Port`."""
        self.watched.calls.append("discard")
        self.port.discard()
