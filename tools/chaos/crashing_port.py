"""Stands between the steps of a partition's delivery, so that a worker can be made to end between any two of them.

Nothing in `stream` knows of it. Events and states are sent one by one here, so that there is a place between each two.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiokafka import TopicPartition

from stream.alerts import AlertRecord
from stream.kafka.commits import Commit
from stream.kafka.dead_letters import DeadLetterRecord
from stream.kafka.partition_client import PartitionClient
from stream.kafka.port import Log, Port, Published
from stream.state_records import RecordMark
from tools.chaos.status import CrashPoint, Files, crash_point

RESTORED_EVERY = 50
"""Restored records from one crash point to the next: a partition of a chaos run has as many after some seconds."""


@dataclass(frozen=True, slots=True)
class _CrashingCommit:
    """The commit of group offsets in the background, for all partitions of a worker."""

    commit: Commit
    files: Files

    async def __call__(self, offsets: dict[TopicPartition, int]) -> None:
        with crash_point(self.files, CrashPoint.GROUP_COMMIT):
            await self.commit(offsets)


class CrashingPort:
    """`stream.kafka.port.Port` around another one."""

    def __init__(self, port: Port, files: Files) -> None:
        """Obey the orders in `files` at the steps of `port`."""
        self._port = port
        self._files = files
        self._is_marked = False
        if isinstance(port, PartitionClient):
            _stand_around_commits(port, files)

    async def prove(self, offset: int) -> None:
        """See `Port`. The one after the partition was marked comes before the seek."""
        with crash_point(self._files, CrashPoint.MEMBERSHIP_AGAIN if self._is_marked else CrashPoint.MEMBERSHIP):
            await self._port.prove(offset)

    async def group_offset(self) -> int | None:
        """See `Port`."""
        return await self._port.group_offset()

    async def clear(self) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.CLEAR):
            await self._port.clear()

    async def init(self) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.INIT):
            await self._port.init()

    async def state_end(self) -> int:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.HIGH_WATERMARK):
            return await self._port.state_end()

    async def state_records(self, end: int) -> AsyncIterator[tuple[bytes, bytes | None]]:
        """See `Port`."""
        count = 0
        async for record in self._port.state_records(end):
            count += 1
            if count % RESTORED_EVERY:
                yield record
                continue
            with crash_point(self._files, CrashPoint.RESTORED):
                yield record

    async def log(self) -> Log:
        """See `Port`."""
        return await self._port.log()

    async def found(self, offset: int) -> RecordMark | None:
        """See `Port`."""
        return await self._port.found(offset)

    async def published(self, offset: int) -> Published:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.ADOPT):
            return await self._port.published(offset)

    def seek(self, offset: int) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.SEEK):
            self._port.seek(offset)

    async def begin(self) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.BEGIN):
            await self._port.begin()

    async def send_alerts(self, alerts: tuple[AlertRecord, ...]) -> int | None:
        """See `Port`."""
        last = None
        for alert in alerts:
            with crash_point(self._files, CrashPoint.ALERT):
                last = await self._port.send_alerts((alert,))
        return last

    async def send_dead_letter(self, record: DeadLetterRecord) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.DEAD_LETTER):
            await self._port.send_dead_letter(record)

    async def send_state(self, records: tuple[tuple[bytes, bytes | None], ...]) -> None:
        """See `Port`. The first one of a port is the mark that the partition was taken up."""
        for key, value in records:
            with crash_point(self._files, self._point(value)):
                await self._port.send_state(((key, value),))
        self._is_marked = True

    def _point(self, value: bytes | None) -> CrashPoint:
        if value is None:
            return CrashPoint.TOMBSTONE
        return CrashPoint.STATE if self._is_marked else CrashPoint.QUARANTINE

    async def commit(self) -> None:
        """See `Port`."""
        with crash_point(self._files, CrashPoint.COMMIT):
            await self._port.commit()

    def commit_group(self, offset: int) -> None:
        """See `Port`. Only offers the offset: `_CrashingCommit` stands where it is committed."""
        self._port.commit_group(offset)

    def discard(self) -> None:
        """See `Port`."""
        self._port.discard()


def _stand_around_commits(port: PartitionClient, files: Files) -> None:
    """No step of a partition's delivery waits for the commit in the background, so no port comes by it: it is found here."""
    commits = port._commits  # noqa: SLF001
    if not isinstance(commits._commit, _CrashingCommit):  # noqa: SLF001  (that of all partitions is the same)
        commits._commit = _CrashingCommit(commits._commit, files)  # noqa: SLF001
