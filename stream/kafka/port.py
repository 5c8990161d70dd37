"""All that one assignment of one partition does at the cluster, step by step: the seam between what is decided and what is done.

Every step is a method of its own: whoever wants to know what happens if a worker dies between two of them can stand there.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from stream.alerts import AlertRecord
from stream.kafka.dead_letters import DeadLetterRecord
from stream.state_records import RecordMark


@dataclass(frozen=True, slots=True)
class Log:
    """A partition of the frames topic as it lies there."""

    first: int
    """Lowest offset."""
    end: int
    """Offset after the last record."""
    start: int
    """Where a partition begins of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Published:
    """What lies in the partition of the alerts topic."""

    ids: tuple[str, ...]
    """Ids of our own events from the asked offset on."""
    end: int
    """Offset after the last record."""


class Port(Protocol):
    """One partition's connections. Any method may raise anything, or be cancelled: then `discard` it and make another."""

    async def prove(self, offset: int) -> None:
        """Commit the group's offset: only a member of the current generation can."""
        ...

    async def group_offset(self) -> int | None:
        """Give the group's committed offset."""
        ...

    async def clear(self) -> None:
        """End what the last writer left open."""
        ...

    async def init(self) -> None:
        """Become the only writer."""
        ...

    async def state_end(self) -> int:
        """Give the high watermark of the state.

        Raises:
            TopicMissing: it has no such partition, which no further try mends.
        """
        ...

    def state_records(self, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
        """Give key and value of every committed record of the state below `end`, waiting until all of it is decided."""
        ...

    async def log(self) -> Log:
        """Look at the frames."""
        ...

    async def found(self, offset: int) -> RecordMark | None:
        """Look at one frame."""
        ...

    async def published(self, offset: int) -> Published:
        """Look at the alerts from `offset` on."""
        ...

    def seek(self, offset: int) -> None:
        """Read the frames on from here."""
        ...

    async def begin(self) -> None:
        """Begin a transaction."""
        ...

    async def send_alerts(self, alerts: tuple[AlertRecord, ...]) -> int | None:
        """Send events in order and wait for them; give the offset of the last one."""
        ...

    async def send_dead_letter(self, record: DeadLetterRecord) -> None:
        """Send a dead letter and wait for it."""
        ...

    async def send_state(self, records: tuple[tuple[bytes, bytes | None], ...]) -> None:
        """Send records of the state, None to delete one, and wait for them."""
        ...

    async def commit(self) -> None:
        """Commit the transaction. Returning is the only success."""
        ...

    def commit_group(self, offset: int) -> None:
        """Have the group's offset committed in the background, for those who watch the lag."""
        ...

    def discard(self) -> None:
        """Drop everything; what must be stopped is stopped behind our back."""
        ...
