"""Carries out the protocol for one partition: takes it up through its port, then delivers its ticks, one transaction each.

Whatever fails, or whose outcome is unknown, ends here: the port is dropped, the worker is told that its books are void, and the
partition is taken up again from what is committed.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from stream.alerts import AlertContext, binary
from stream.errors import SourceLost, StateRefused, TopicMissing
from stream.kafka.connection import KafkaConnection
from stream.kafka.dead_letters import dead_letter_record, reference
from stream.kafka.faults import as_stream_error, refusal
from stream.kafka.port import Port
from stream.kafka.steady import as_stored
from stream.kafka.taking_up import Opened, TakingUp
from stream.ports import Tick
from stream.protocol import End, Opening, Parked, Policy, Protocol, Rest, Run, Step, Wait, Work
from stream.state_codec import PARTITION_KEY, encode_camera, encode_partition
from stream.state_records import PartitionRecord, QuestionRevision, StateOwner
from stream.types import DeadLetter

log = logging.getLogger(__name__)

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


@dataclass(slots=True)
class Keeping:
    """What all partitions of a worker have in common."""

    connection: KafkaConnection
    context: AlertContext
    policy: Policy
    writer: str
    """This worker's name in the partition records."""
    deadline_s: float
    asking: QuestionRevision
    """What this worker asks; changes when it reloads its questions."""
    owner: StateOwner
    """Its group and its frames topic."""


class Keeper:
    """One partition under one assignment to this worker; its incarnations follow each other."""

    def __init__(self, place: tuple[str, int], new_port: Callable[[], Port], keeping: Keeping, void: Callable[[], None]) -> None:
        """Begin with nothing taken up.

        Args:
            place: topic and partition.
            new_port: makes a port, once per try.
            keeping: what all partitions have in common.
            void: called when a delivery failed: the books of this incarnation are void, `open` is to be called again.
        """
        self._place = place
        self._new_port = new_port
        self._keeping = keeping
        self._void = void
        self._protocol = Protocol()
        self._taking: TakingUp | None = None
        self._port: Port | None = None
        self._opened_at = 0
        self._record: PartitionRecord | None = None
        """The last one that is committed."""
        self._suspect: bool | None = None
        """Whether a record may have killed an earlier owner; None until the first try has found out."""
        self._too_large: set[int] = set()
        """Offsets whose dead letters the topic did not take whole."""
        self.incarnation = 0
        self.parked: str | None = None
        """Why it is left alone."""
        self.is_writing = False
        """A transaction is open."""
        self.closed = asyncio.Event()
        """Nothing of it will be delivered any more."""

    async def open(self, incarnation: int) -> Opened | None:
        """Take the partition up, however long it takes; None: it is left alone.

        Raises:
            SourceLost: it failed too often.
            TopicMissing: the state is not there.
            StreamRefused: not allowed.
        """
        self.incarnation = incarnation
        self.parked = None
        self.closed.clear()
        while True:
            match self._protocol.next(random.random()):  # noqa: S311  (spreads retries, keeps no secret)
                case Run(step):
                    await self._run(step)
                case Wait(seconds):
                    self._drop()
                    await asyncio.sleep(seconds)
                    self._protocol.waited()
                case Work(opening):
                    opened = self._begin(opening)
                    if opened is not None:
                        return opened
                case Rest(reason):
                    self._drop()
                    self.parked = reason
                    log.error("%s[%d] is left alone: %s", *self._place, reason)
                    return None
                case End(reason):
                    msg = f"{self._place[0]}[{self._place[1]}] cannot be taken up: {reason}"
                    raise SourceLost(msg)

    async def deliver(self, tick: Tick) -> bool:
        """Carry a tick out as one transaction; False: its incarnation is over, nothing of it counts.

        Raises:
            StreamRefused: not allowed.
        """
        port = self._port
        if port is None or tick.incarnation != self.incarnation or self.closed.is_set():
            return False
        self.is_writing = True
        try:
            async with asyncio.timeout(self._keeping.deadline_s):
                record = await self._transact(port, tick)
        except Exception as error:  # noqa: BLE001  (aiokafka raises what it likes, assertions among it; all but a refusal mean the same)
            self._end_if_refused(error)
            self._fail(f"a transaction: {error!r}")
            return False
        finally:
            self.is_writing = False
        if self._port is not port:
            return False  # taken from us meanwhile
        self._record = record
        self._suspect = self._suspect and record.attempt > 0
        self._protocol.committed()
        try:
            port.commit_group(record.resume_offset)
        except Exception as error:  # noqa: BLE001  (as above)
            self._fail(f"the group's offset: {error!r}")
            return False
        if tick.final:
            self.discard()
        return True

    def reloaded(self) -> None:
        """The worker asks something else: take the partition up if it was left alone for want of it."""
        if self._protocol.asks(self._keeping.asking):
            self._void()

    def discard(self) -> None:
        """Drop the writer: nothing more is delivered, and `open` begins with the first step."""
        self.closed.set()
        self._protocol.dropped()
        self._drop()

    def _drop(self) -> None:
        port = self._port if self._taking is None else self._taking.port
        self._port = self._taking = None
        if port is not None:
            port.discard()

    # ---------------------------------------------------------------- taking up

    async def _run(self, step: Step) -> None:
        if self._taking is None:
            self._drop()
            keeping = self._keeping
            self._taking = TakingUp(
                self._place, self._new_port(), keeping.writer, keeping.asking, keeping.owner, suspect=self._suspect
            )
        taking, decided = self._taking, self._protocol.decided
        try:
            async with asyncio.timeout(self._bound_s(step)):
                await taking.take(step, decided if isinstance(decided, Opening) else None)
        except StateRefused as error:
            self._protocol.refused(str(error))
        except Exception as error:  # noqa: BLE001  (as in `deliver`)
            self._end_if_refused(error)
            log.warning("%s[%d]: %s failed: %r", *self._place, step.name.lower(), error)
            self._protocol.failed(f"{step.name.lower()}: {error!r}")
        else:
            if taking.facts is not None and step is Step.CHECK:
                taking.asking = self._keeping.asking  # as of now: a reload looks only at what was decided before it
                self._protocol.checked(taking.facts, self._keeping.policy, taking.asking)
                self._warn(self._protocol.decided)
            else:
                self._protocol.done(step)

    def _warn(self, decided: Opening | Parked | None) -> None:
        if isinstance(decided, Opening) and decided.warning is not None:
            log.warning("%s[%d]: %s", *self._place, decided.warning)

    def _bound_s(self, step: Step) -> float | None:
        """Longest time that a step may take.

        READ and ADOPT have none: as long as transactions of others are open nobody can say what is committed, of the state or,
        where groups share an alerts topic, of the alerts. MARK is a transaction: like any other it must be over before its
        producer's back-off, or a retry behind our back could leave a request on its way that ends the next one.
        """
        if step in (Step.READ, Step.ADOPT):
            return None
        return self._keeping.deadline_s + (0 if step is Step.MARK else 2)

    def _begin(self, opening: Opening) -> Opened | None:
        """Hand the partition over to the worker; None if even that failed."""
        taking = self._taking
        assert taking is not None
        try:
            opened = taking.opened(opening, self.incarnation)
        except Exception as error:  # noqa: BLE001  (as in `deliver`)
            self._protocol.failed(f"seek: {error!r}")
            return None
        self._port, self._taking = taking.port, None
        self._record, self._suspect = taking.record, taking.suspect
        self._opened_at = opening.resume_offset
        return opened

    # ---------------------------------------------------------------- delivering

    async def _transact(self, port: Port, tick: Tick) -> PartitionRecord:
        """Events, then dead letters, then state: what is published is never behind what the state says of it."""
        before = self._record
        assert before is not None
        adopted, known = set(before.adopted), {event.event_id for event in tick.events}
        events = [event for event in tick.events if event.event_id not in adopted]
        asking = tick.questions or self._keeping.asking
        context = replace(self._keeping.context, questions=asking.fingerprint)
        await port.begin()
        last = await port.send_alerts(tuple(binary(event, context) for event in events))
        for letter in tick.dead_letters:
            await self._send_letter(port, letter)
        resume_offset = before.resume_offset if tick.resume_offset is None else tick.resume_offset
        record = PartitionRecord(
            resume_offset=resume_offset,
            alerts_offset=before.alerts_offset if last is None else last + 1,
            writer=self._keeping.writer,
            last_record=tick.last_record,
            dead_lettered=tick.dead_lettered,
            adopted=tuple(each for each in before.adopted if each not in known),
            attempt=0 if tick.final or resume_offset > self._opened_at else before.attempt,
            clean=tick.final,
            questions=asking,
            owner=self._keeping.owner,
        )
        cameras = [(camera.encode(), encode_camera(as_stored(each))) for camera, each in tick.cameras.items()]
        gone = [(camera.encode(), None) for camera in tick.forgotten]
        await port.send_state((*cameras, *gone, (PARTITION_KEY, encode_partition(record))))
        await port.commit()
        return record

    async def _send_letter(self, port: Port, letter: DeadLetter) -> None:
        offset = letter.record.offset
        try:
            await port.send_dead_letter(reference(letter) if offset in self._too_large else dead_letter_record(letter))
        except _TOO_LARGE:  # the topic takes less than it should: next time as a reference
            self._too_large.add(offset)
            raise

    def _end_if_refused(self, error: Exception) -> None:
        if isinstance(error, TopicMissing):
            self.discard()
            raise error
        if refusal(error) is not None:
            self.discard()
            raise as_stream_error(error, self._keeping.connection) from error

    def _fail(self, cause: str) -> None:
        if self._port is not None:  # else it was taken from us meanwhile
            log.warning("%s[%d]: %s; taking it up again", *self._place, cause)
            self.discard()
            self._protocol.failed(cause)
            self._void()
