"""From records to frames: opens one poll's records in the ledgers, then reads, decodes and samples them, portion by portion.

A portion's cameras are decoded side by side, a camera's records one after the other: its clock decides picture by picture what is
sampled. The next portion is decoded when the last one's frames were taken, so pictures never wait but those of one portion.
A record that was done before is passed by; one that may have killed a worker is tried elsewhere first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from stream import wire
from stream.access_units import AccessUnits, DecoderLimits
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.counts import Counts
from stream.decode import SEGMENT_TYPES, DecodeLimits, DecodeRequest, decode
from stream.decode_threads import DecodeThreads, Threads
from stream.errors import UnusableRecord
from stream.partition import Partition, PartitionKey, Standing, Step
from stream.ports import Poll, Proof
from stream.sampling import Sampler
from stream.state_records import Cursor, Place, mark_of
from stream.types import DeadLetter, Frame, FramePacket, Record

TOO_MANY_CAMERAS = "too_many_cameras"
"""Reason of dead letters of cameras beyond a partition's bound."""
MAX_SIDE_BY_SIDE = 8
"""Segments, and cameras that send access units, in one portion: two for each decoder thread that a worker has. So the pictures of
eight segments (`DecodeLimits`) are held, and one of every still and access unit of a poll."""


class Trial(Protocol):
    """Where records are tried that may have killed a worker."""

    async def attempt(self, packet: FramePacket, request: DecodeRequest) -> None:
        """Decode a packet where it can do no harm.

        Raises:
            UnusableRecord: it killed its decoder, or took too long.
        """
        ...


@dataclass(frozen=True, slots=True)
class IntakeConfig:
    """What is sampled, and what is refused."""

    clock: ClockRules
    """For cameras without settings of their own."""
    cameras: CameraRegistry
    image_size: int
    """Side of the model's square input, pixels."""
    lost_after_s: float
    """Silence after which a decoder is emptied: its camera is about to be lost."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    decoders: DecoderLimits = field(default_factory=DecoderLimits)
    max_cameras: int = 10_000
    """Of one partition: what its memory, its state and its transactions are bounded by. Records of more are dead-lettered."""
    decode_timeout_s: float = 300.0
    """A decoder that takes longer stands still."""


_Place: TypeAlias = tuple[PartitionKey, int]


@dataclass(frozen=True, slots=True)
class _Read:
    """A record that is open in its ledger and waits to be decoded."""

    partition: Partition
    record: Record
    packet: FramePacket


@dataclass(slots=True)
class _Taken:
    """What came of one portion."""

    frames: dict[_Place, list[Frame]] = field(default_factory=dict)
    """By the record that brought them out."""
    letters: list[DeadLetter] = field(default_factory=list)


class Intake:
    """Turns polled records into frames for the batcher and dead letters for the next tick."""

    def __init__(self, threads: Threads, trial: Trial, config: IntakeConfig, counts: Counts) -> None:
        """Join the decoder threads with the cameras' sampling."""
        self._threads = DecodeThreads(threads, config.decode_timeout_s)
        self._trial = trial
        self._config = config
        self._counts = counts
        self._units = AccessUnits(
            self._threads, config.clock, config.cameras, config.image_size, config.limits, config.decoders, counts
        )

    async def take(self, poll: Poll, partitions: Mapping[PartitionKey, Partition]) -> AsyncIterator[Frame | DeadLetter]:
        """Decode one poll's records, a portion at a time; before the first, every one of them is open in its ledger, or done.

        Nothing may be reassigned before the end.

        Yields:
            Within a portion the records that cannot be used, then what lay in decoders that were closed for it, then the sampled
            frames in the order of the records that brought them out.
        """
        opened = _Taken()
        waiting = deque(self._open(poll, partitions, opened))
        for letter in opened.letters:
            yield letter
        while waiting:
            taken = await self._take_portion(self._next_portion(waiting), partitions)
            while taken:
                yield taken.popleft()  # not held while the next ones are decoded

    async def close_silent(self, proof: Proof, partition: Partition) -> list[Frame]:
        """Empty the decoders of cameras that are about to be lost; what comes out is to be asked before."""
        return await self._units.close_silent(proof, partition, self._config.lost_after_s)

    async def close_all(self, partitions: Mapping[PartitionKey, Partition]) -> list[Frame]:
        """Empty every decoder: the source has ended."""
        return await self._units.close_all(partitions)

    def forget(self, key: PartitionKey) -> None:
        """Drop what lies in the decoders of a partition that is no longer ours."""
        self._units.forget(key)

    def _open(self, poll: Poll, partitions: Mapping[PartitionKey, Partition], taken: _Taken) -> list[_Read]:
        """Open all records of a poll before any is decoded: no tick may pass one of them by."""
        reads = []
        for record in poll.records:
            partition = self._receive(record, partitions)
            if partition is None:
                continue
            try:
                reads.append(_Read(partition, record, self._read(partition, record)))
            except UnusableRecord as error:
                self._reject(partition, _letter(record, error), taken)
        for letter in poll.poison:
            partition = self._receive(letter.record, partitions)
            if partition is not None:
                self._reject(partition, letter, taken)
        return reads

    def _next_portion(self, waiting: deque[_Read]) -> list[_Read]:
        """Take off as many records as may be decoded before their frames are handed on, at least one."""
        portion: list[_Read] = []
        segments: set[_Place] = set()
        cameras: set[tuple[PartitionKey, str]] = set()
        while waiting:
            packet, key = waiting[0].packet, waiting[0].partition.key
            if _is_unit(packet):
                cameras.add((key, packet.camera_id))
            elif packet.content_type in SEGMENT_TYPES:
                segments.add((key, packet.position.offset))
            is_full = len(segments) + len(cameras) > MAX_SIDE_BY_SIDE or not self._units.have_room(cameras)
            if portion and is_full:
                break
            portion.append(waiting.popleft())
        return portion

    async def _take_portion(
        self, portion: Sequence[_Read], partitions: Mapping[PartitionKey, Partition]
    ) -> deque[Frame | DeadLetter]:
        by_camera: dict[tuple[PartitionKey, str], list[_Read]] = {}
        for read in portion:
            by_camera.setdefault((read.partition.key, read.packet.camera_id), []).append(read)
        drained = await self._units.make_room((read.packet for read in portion if _is_unit(read.packet)), partitions)
        taken = _Taken()
        await asyncio.gather(*(self._take_camera(reads, taken) for reads in by_camera.values()))
        taken.letters.sort(key=lambda letter: letter.record.offset)
        places = [(read.partition.key, read.record.offset) for read in portion]
        return deque([*taken.letters, *drained, *(frame for place in places for frame in taken.frames[place])])

    def _receive(self, record: Record, partitions: Mapping[PartitionKey, Partition]) -> Partition | None:
        """Count a record and open it, if its partition is still ours under the assignment that read it."""
        self._counts.received += 1
        partition = partitions.get((record.topic, record.partition))
        if partition is None or partition.incarnation != record.incarnation:
            self._counts.stale += 1
            return None
        partition.ledger.open(mark_of(record.offset, record.timestamp_ms, record.key, record.value))
        return partition

    def _read(self, partition: Partition, record: Record) -> FramePacket:
        packet = wire.read(record)
        camera, limit = packet.camera_id, self._config.max_cameras
        if not partition.has_room_for(camera, limit):
            msg = f"{partition.topic}[{partition.number}] has {limit} cameras already, {camera!r} is one more: add partitions"
            raise UnusableRecord(stage="wire", reason=TOO_MANY_CAMERAS, message=msg)
        partition.clocks.setdefault(camera, None)
        standing = partition.standing(camera, record.offset, is_unit=_is_unit(packet))
        if standing is not Standing.DONE:
            # what is fed again at every restore must not make a dead camera look alive
            is_again = standing is Standing.FED and record.offset < partition.restored.read_below
            published_at_s = min(record.arrived_at_s, record.timestamp_ms / 1000)
            partition.arrivals_s[camera] = published_at_s if is_again else record.arrived_at_s
        return packet

    def _reject(self, partition: Partition, letter: DeadLetter, taken: _Taken) -> None:
        """Have a record dead-lettered, unless it was before."""
        if partition.standing(None, letter.record.offset) is Standing.DONE:
            self._pass_by(partition, letter.record.offset)
        else:
            self._counts.dead_lettered += 1
            partition.reject(letter)  # at once: no tick may say that its camera is past it, and not hold the letter
            taken.letters.append(letter)

    def _pass_by(self, partition: Partition, offset: int) -> None:
        self._counts.repeated += 1
        partition.ledger.settle(offset)

    async def _take_camera(self, reads: Sequence[_Read], taken: _Taken) -> None:
        for read in reads:
            partition, packet = read.partition, read.packet
            frames = taken.frames.setdefault((partition.key, read.record.offset), [])
            try:
                await self._take_packet(partition, packet, frames)
            except UnusableRecord as error:
                frames += await self._units.close(partition, packet.camera_id)
                self._reject(partition, _letter(read.record, error), taken)

    async def _take_packet(self, partition: Partition, packet: FramePacket, frames: list[Frame]) -> None:
        camera, offset = packet.camera_id, packet.position.offset
        is_unit = _is_unit(packet)
        standing = partition.standing(camera, offset, is_unit=is_unit)
        again = standing is Standing.FED and offset in partition.restored.dead_lettered
        if again or not is_unit:  # a decoder that broke at this record breaks again; a still belongs to none
            frames += await self._units.close(partition, camera)
        if again or standing is Standing.DONE:
            self._pass_by(partition, offset)
        elif not self._config.cameras.enabled(camera):
            self._counts.used += 1
            partition.ledger.settle(offset)
        else:
            if partition.restored.suspect and offset < partition.restored.read_below:
                await self._trial.attempt(packet, self._request(camera))
            if is_unit:
                frames += await self._units.take(partition, packet)
            else:
                frames += await self._decode(partition, packet)

    async def _decode(self, partition: Partition, packet: FramePacket) -> list[Frame]:
        """Decode a still or a segment, whose pictures all belong to the record."""
        camera, offset = packet.camera_id, packet.position.offset
        sampler = Sampler(partition.clocks.get(camera), packet.stream, self._clock(camera))
        known = partition.restored.cameras.get(camera)
        if known is not None and known.cursor.offset == offset and known.cursor.index:
            sampler.done_to_s = known.state.clock.last_s
        request = self._request(camera)
        decoded = await self._threads.run(packet, lambda: decode(packet, request, sampler.admit))
        partition.clocks[camera] = sampler.state
        self._counts.used += 1
        self._counts.decoded += decoded.decoded
        self._counts.skipped += decoded.skipped
        self._counts.decode_only += sampler.repeated
        self._counts.sampled(sampler.outcomes)
        frames = [
            Frame(
                position=packet.position.at(picture.index),
                camera_id=camera,
                captured_at_s=picture.captured_at_s,
                pixels=picture.pixels,
                clock=clock,
                traceparent=packet.traceparent,
                arrived_at_s=packet.arrived_at_s,
            )
            for picture, clock in zip(decoded.pictures, sampler.accepted, strict=True)
        ]
        steps = [Step(Place(Cursor(offset, each.position.index + 1), each.clock), each.position) for each in frames]
        assert sampler.state is not None, packet.position
        partition.enqueue(camera, [*steps, Step(Place(Cursor(offset + 1), sampler.state), settles=(offset,))])
        return frames

    def _clock(self, camera: str) -> ClockRules:
        return self._config.cameras.clock_for(camera, self._config.clock)

    def _request(self, camera: str) -> DecodeRequest:
        return DecodeRequest(self._config.image_size, 1 / self._clock(camera).sample_fps, self._config.limits)


def _is_unit(packet: FramePacket) -> bool:
    return packet.content_type in wire.ACCESS_UNIT_TYPES


def _letter(record: Record, error: UnusableRecord) -> DeadLetter:
    return DeadLetter(record, error.stage, error.reason, str(error))
