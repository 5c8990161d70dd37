"""One try at taking a partition up: each step of the protocol, and what it found out.

Knows no order and no failure: the keeper runs the steps as `stream.protocol` says, and begins a new try where one fails.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace

from stream.kafka.port import Port
from stream.kafka.steady import as_known, as_stored
from stream.ports import Assigned
from stream.protocol import Facts, Opening, Step, rewound_to
from stream.state_codec import PARTITION_KEY, check_owner, decode_camera, decode_partition, encode_camera, encode_partition
from stream.state_records import CameraRecord, Cursor, PartitionRecord, QuestionRevision, StateOwner

log = logging.getLogger(__name__)

_YIELD_EVERY = 500
"""Records of the state that are read before the event loop has its turn."""
_END = 2**62
"""Beyond every offset."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A partition that is taken up."""

    read_from: int
    assigned: Assigned
    skipped: int = 0
    """Offsets that retention deleted before they were read."""


@dataclass(slots=True)
class TakingUp:
    """A try, with a port of its own."""

    place: tuple[str, int]
    """Topic and partition."""
    port: Port
    writer: str
    """This worker's name in the partition's record."""
    asking: QuestionRevision
    """What this worker asks, as of CHECK."""
    owner: StateOwner
    """Whose state the partition's record must be."""
    facts: Facts | None = None
    """What CHECK found out."""
    record: PartitionRecord | None = None
    """The partition's own record: what READ found, then what MARK wrote."""
    adopted: tuple[str, ...] = ()
    alerts_offset: int = 0
    suspect: bool | None = None
    """Whether one of the records may have killed a worker; None: to be told from the partition's record, by MARK."""
    _cameras: dict[str, CameraRecord] = field(default_factory=dict)

    async def take(self, step: Step, opening: Opening | None) -> None:
        """Take one step; `opening` is what CHECK led to, None before it.

        Raises:
            StateRefused: the state is of another version, damaged, or another group's.
            Exception: anything that aiokafka raises.
        """
        plain = {
            Step.CLEAR: self.port.clear,
            Step.INIT: self.port.init,
            Step.READ: self._read,
            Step.CHECK: self._check,
            Step.ADOPT: self._adopt,
        }
        if step in plain:
            await plain[step]()
        elif step is Step.PROVE:
            offset = await self.port.group_offset()
            if offset is not None:
                await self.port.prove(offset)
        else:
            assert opening is not None, step
            await (self._mark(opening) if step is Step.MARK else self.port.prove(opening.resume_offset))

    def opened(self, opening: Opening, incarnation: int) -> Opened:
        """Go to where reading begins, and hand over what is known. The try is over."""
        assert self.record is not None
        assert self.facts is not None
        keyframes = {camera: each.decoder.keyframe_offset for camera, each in self._cameras.items() if each.decoder}
        read_from, stranded = rewound_to(keyframes, opening, self.facts.first)
        for camera in stranded:
            self._cameras[camera] = replace(self._cameras[camera], decoder=None)
        if opening.skipped:
            log.warning("%s[%d]: retention deleted %d records before they were read", *self.place, opening.skipped)
        assigned = Assigned(
            topic=self.place[0],
            partition=self.place[1],
            incarnation=incarnation,
            resume_offset=opening.resume_offset,
            cameras=self._cameras,
            dead_lettered=frozenset(self.record.dead_lettered),
            last_record=self.record.last_record,
            read_below=self.facts.end,
            suspect=bool(self.suspect),
        )
        self.port.seek(read_from)
        return Opened(read_from, assigned, opening.skipped)

    async def _read(self) -> None:
        end = await self.port.state_end()
        latest: dict[bytes, bytes | None] = {}
        count = 0
        async for key, value in self.port.state_records(end):
            latest[key] = value
            count += 1
            if count % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        partition = latest.pop(PARTITION_KEY, None)
        self.record = None if partition is None else decode_partition(partition)
        if self.record is not None:
            check_owner(self.record, self.owner)
        for number, (key, value) in enumerate(latest.items()):
            if value is not None:
                self._cameras[key.decode()] = as_known(decode_camera(value))
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _check(self) -> None:
        log_ = await self.port.log()
        mark = None if self.record is None else self.record.last_record
        found = None
        if mark is not None and log_.first <= mark.offset < log_.end:
            found = await self.port.found(mark.offset)
        self.facts = Facts(self.record, await self.port.group_offset(), log_.first, log_.end, log_.start, found)

    async def _adopt(self) -> None:
        record = self.record
        published = await self.port.published(_END if record is None else record.alerts_offset)
        known = () if record is None else record.adopted
        new = [each for each in published.ids if each not in known]
        if new:
            log.warning("%s[%d]: %d events are published that the state does not know: adopted", *self.place, len(new))
        self.adopted, self.alerts_offset = (*known, *new), published.end

    async def _mark(self, opening: Opening) -> None:
        """The first transaction: from now on it is known that the partition was taken up, should nothing come after.

        Not cut into parts: the states of as many cameras as a partition may have (10,000) take 0.4 s on two busy cores.
        """
        before = None if opening.is_new else self.record
        moved: list[tuple[bytes, bytes]] = []
        if opening.is_new:  # what was done lies in another log; episodes and their numbers go on
            begin = Cursor(opening.resume_offset)
            self._cameras = {camera: replace(each, cursor=begin, decoder=None) for camera, each in self._cameras.items()}
            moved = [(camera.encode(), encode_camera(as_stored(each))) for camera, each in self._cameras.items()]
        attempt = 0 if self.record is None else self.record.attempt
        if self.suspect is None:
            self.suspect, attempt = attempt > 0, attempt + 1
        else:  # taken up again in the same process: nobody died since
            attempt = max(attempt, 1)
        self.record = PartitionRecord(
            resume_offset=opening.resume_offset,
            alerts_offset=self.alerts_offset,
            writer=self.writer,
            last_record=None if before is None else before.last_record,
            dead_lettered=() if before is None else before.dead_lettered,
            adopted=self.adopted,
            attempt=attempt,
            questions=self.asking,
            owner=self.owner,
        )
        await self.port.begin()
        await self.port.send_state((*moved, (PARTITION_KEY, encode_partition(self.record))))
        await self.port.commit()
