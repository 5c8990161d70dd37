"""One partition's keeper on a cluster in memory, whose partition has a past."""

import asyncio
from dataclasses import dataclass, replace

from stream.camera_state import CameraState
from stream.clock import ClockState
from stream.kafka.connection import KafkaConnection
from stream.kafka.keeper import Keeper, Keeping
from stream.kafka.taking_up import Opened
from stream.ports import Tick
from stream.protocol import Policy
from stream.state_codec import PARTITION_KEY, decode_partition, encode_partition
from stream.state_records import CameraRecord, Cursor, PartitionRecord, QuestionRevision, RecordMark, StateOwner
from tests.unit.alert_samples import CONTEXT, sample_events
from tests.unit.memory_cluster import MemoryCluster
from tests.unit.partition_books import letter

DEADLINE_S = 8.0
MARK = RecordMark(11, 5, 7)
ASKING = QuestionRevision(2, "two")
OWNER = StateOwner("cats", "frames")
PAST = PartitionRecord(12, 0, "before", MARK)
DEN = CameraRecord(CameraState("den", 1, ClockState(1.0, 2.0, None), 3.0, lost=False, sightings=1), Cursor(14))
EVENTS = tuple(sample_events()[:3])


@dataclass
class Kept:
    """A keeper and its cluster; the partition has a past."""

    cluster: MemoryCluster
    keeper: Keeper
    voided: list[float]
    keeping: Keeping

    async def opened(self, incarnation: int = 1) -> Opened:
        """Take the partition up."""
        opened = await self.keeper.open(incarnation)
        assert opened is not None
        return opened

    @property
    def record(self) -> PartitionRecord:
        """The partition's own record, as committed."""
        return decode_partition(next(value for key, value in reversed(self.cluster.state) if key == PARTITION_KEY and value))


def kept(cluster: MemoryCluster | None = None) -> Kept:
    """A new process's keeper of a partition that is done up to 12, in a log of 100 records; or of what another left behind."""
    cluster = cluster or MemoryCluster(state=[(PARTITION_KEY, encode_partition(PAST))], group_offset=12, mark=MARK)
    voided: list[float] = []
    keeping = Keeping(KafkaConnection("nowhere:1"), CONTEXT, Policy(), "test", DEADLINE_S, ASKING, OWNER)
    keeper = Keeper(("frames", 3), cluster.new_port, keeping, lambda: voided.append(asyncio.get_running_loop().time()))
    return Kept(cluster, keeper, voided, keeping)


def tick(**more: object) -> Tick:
    """Some events, a dead letter and a camera, of the first incarnation."""
    content = Tick("frames", 3, 1, 14, MARK, EVENTS, (letter(13),), (), {"den": DEN}, ("attic",))
    return replace(content, **more)  # type: ignore[arg-type]
