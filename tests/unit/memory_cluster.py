"""A partition's cluster in memory: what is committed, who may write, and at which call something goes wrong."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from stream.alerts import AlertRecord
from stream.kafka.dead_letters import DeadLetterRecord
from stream.kafka.port import Log, Published
from stream.state_records import RecordMark

TAKING_UP = (
    "group_offset", "prove", "clear", "init", "state_end", "state_records", "log", "found", "published", "begin", "send_state",
    "commit", "seek",
)  # fmt: skip
"""Calls of a partition that is taken up and has a past."""
DELIVERING = ("begin", "send_alerts", "send_dead_letter", "send_state", "commit")


class Fenced(Exception):
    """Somebody else became the writer."""


@dataclass
class MemoryCluster:
    """What outlives every port."""

    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    """Ids."""
    asked_with: list[str] = field(default_factory=list)
    """Fingerprint of the questions that each of our own follows from."""
    letters: list[DeadLetterRecord] = field(default_factory=list)
    group_offset: int | None = None
    log: Log = field(default_factory=lambda: Log(0, 100, 0))
    mark: RecordMark | None = None
    writer: "MemoryPort | None" = None
    ports: list["MemoryPort"] = field(default_factory=list)
    faults: dict[str, list[Callable[[], Awaitable[None]]]] = field(default_factory=dict)
    """By call: what happens at it, the next times; at the front the next one."""

    def new_port(self) -> "MemoryPort":
        """Make a port."""
        self.ports.append(MemoryPort(self))
        return self.ports[-1]


@dataclass(eq=False)
class MemoryPort:
    """`stream.kafka.port.Port` on a cluster in memory."""

    cluster: MemoryCluster
    calls: list[str] = field(default_factory=list)
    is_discarded: bool = False
    _open: list[Callable[[], None]] | None = None

    async def _call(self, name: str) -> None:
        assert not self.is_discarded, f"{name} after discard"
        self.calls.append(name)
        faults = self.cluster.faults.get(name)
        if faults:
            await faults.pop(0)()

    async def prove(self, offset: int) -> None:
        """See `Port`."""
        await self._call("prove")
        self.cluster.group_offset = offset

    async def group_offset(self) -> int | None:
        """See `Port`."""
        await self._call("group_offset")
        return self.cluster.group_offset

    async def clear(self) -> None:
        """See `Port`."""
        await self._call("clear")

    async def init(self) -> None:
        """See `Port`."""
        await self._call("init")
        self.cluster.writer = self

    async def state_end(self) -> int:
        """See `Port`."""
        await self._call("state_end")
        return len(self.cluster.state)

    async def state_records(self, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
        """See `Port`."""
        await self._call("state_records")
        for each in self.cluster.state[:end]:
            yield each

    async def log(self) -> Log:
        """See `Port`."""
        await self._call("log")
        return self.cluster.log

    async def found(self, offset: int) -> RecordMark | None:
        """See `Port`."""
        await self._call("found")
        return self.cluster.mark if self.cluster.mark and self.cluster.mark.offset == offset else None

    async def published(self, offset: int) -> Published:
        """See `Port`."""
        await self._call("published")
        return Published(tuple(self.cluster.alerts[offset:]), len(self.cluster.alerts))

    def seek(self, offset: int) -> None:
        """See `Port`."""
        del offset
        self.calls.append("seek")
        if self.cluster.faults.get("seek"):
            self.cluster.faults["seek"].pop(0)
            msg = "not assigned"
            raise ValueError(msg)

    async def begin(self) -> None:
        """See `Port`."""
        await self._call("begin")
        assert self._open is None
        self._open = []

    async def send_alerts(self, alerts: tuple[AlertRecord, ...]) -> int | None:
        """See `Port`."""
        await self._call("send_alerts")
        ids = [dict(each.headers)["ce_id"].decode() for each in alerts]
        self._later(lambda: self.cluster.alerts.extend(ids))
        self._later(lambda: self.cluster.asked_with.extend(json.loads(each.value)["questions"] for each in alerts))
        return len(self.cluster.alerts) + len(ids) - 1 if ids else None

    async def send_dead_letter(self, record: DeadLetterRecord) -> None:
        """See `Port`."""
        await self._call("send_dead_letter")
        self._later(lambda: self.cluster.letters.append(record))

    async def send_state(self, records: tuple[tuple[bytes, bytes | None], ...]) -> None:
        """See `Port`."""
        await self._call("send_state")
        self._later(lambda: self.cluster.state.extend(records))

    async def commit(self) -> None:
        """See `Port`."""
        await self._call("commit")
        if self.cluster.writer is not self:
            raise Fenced
        assert self._open is not None
        for apply in self._open:
            apply()
        self._open = None

    def commit_group(self, offset: int) -> None:
        """See `Port`."""
        self.cluster.group_offset = offset

    def discard(self) -> None:
        """See `Port`."""
        self.is_discarded = True

    def _later(self, apply: Callable[[], None]) -> None:
        assert self._open is not None, "no transaction is open"
        self._open.append(apply)
