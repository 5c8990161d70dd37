"""From records to frames: reads, decodes and samples one poll's records, camera by camera, and opens them in the ledgers.

Cameras are decoded side by side, a camera's records one after the other: its clock decides picture by picture what is sampled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from stream import wire
from stream.cameras import CameraRegistry
from stream.clock import Admission, ClockRules, ClockState, admit
from stream.counts import Counts
from stream.decode import Decoded
from stream.errors import UnusableRecord
from stream.partition import Partition
from stream.ports import Poll
from stream.types import DeadLetter, Frame, FramePacket, Record

PartitionKey: TypeAlias = tuple[str, int]
Admit: TypeAlias = Callable[[float], bool]


class Decode(Protocol):
    """Decodes one packet off the event loop (`stream.decode.decode` in a thread)."""

    def __call__(self, packet: FramePacket, interval_s: float, admit: Admit) -> Awaitable[Decoded]:
        """Decode; `admit` is called once per picture in presentation order with its capture time, from another thread."""
        ...


@dataclass(slots=True)
class _Sampler:
    """Runs a camera's clock over one record's pictures, aside: a record that turns out bad leaves no trace."""

    state: ClockState | None
    stream: str | None
    rules: ClockRules
    outcomes: list[Admission] = field(default_factory=list)
    accepted: list[ClockState] = field(default_factory=list)

    def admit(self, captured_at_s: float) -> bool:
        self.state, admission = admit(self.state, captured_at_s, self.stream, self.rules)
        self.outcomes.append(admission)
        if admission is not Admission.ACCEPTED:
            return False
        assert self.state is not None
        self.accepted.append(self.state)
        return True


class Intake:
    """Turns polled records into frames for the batcher and dead letters for the next tick."""

    def __init__(self, decode: Decode, registry: CameraRegistry, clock: ClockRules, counts: Counts) -> None:
        """Join the decoder with the cameras' sampling; `clock` holds for cameras without settings of their own."""
        self._decode = decode
        self._registry = registry
        self._clock = clock
        self._counts = counts

    async def take(self, poll: Poll, partitions: Mapping[PartitionKey, Partition]) -> tuple[list[Frame], list[DeadLetter]]:
        """Decode one poll's records; every one of them is open in its ledger afterwards.

        Returns:
            The sampled frames in the order of the records, and the records that cannot be used.
        """
        by_camera: dict[tuple[PartitionKey, str], list[FramePacket]] = {}
        poison = [letter for letter in poll.poison if self._receive(letter.record, partitions)]
        current = [record for record in poll.records if self._receive(record, partitions)]
        letters: dict[tuple[PartitionKey, int], DeadLetter] = {}
        for record in current:
            partition = partitions[record.topic, record.partition]
            try:
                packet = wire.read(record)
            except UnusableRecord as error:
                letters[(record.topic, record.partition), record.offset] = _letter(record, error)
                continue
            partition.arrivals_s[packet.camera_id] = record.arrived_at_s
            by_camera.setdefault(((record.topic, record.partition), packet.camera_id), []).append(packet)
        originals = {((record.topic, record.partition), record.offset): record for record in current}
        decoded = await asyncio.gather(
            *(self._take_camera(partitions[key], key, packets, originals) for (key, _), packets in by_camera.items())
        )
        frames: dict[tuple[PartitionKey, int], tuple[Frame, ...]] = {}
        for camera_frames, camera_letters in decoded:
            frames.update(camera_frames)
            letters.update(camera_letters)
        for record in current:
            place = ((record.topic, record.partition), record.offset)
            sampled = frames.get(place, ())
            camera = sampled[0].camera_id if sampled else None
            partitions[place[0]].open(record.offset, camera, len(sampled), held=place in letters)
        for letter in poison:
            partitions[letter.record.topic, letter.record.partition].open(letter.record.offset, None, 0, held=True)
        self._counts.used += len(current) - len(letters)
        rejected = [*letters.values(), *poison]
        self._counts.dead_lettered += len(rejected)
        return [frame for place in originals for frame in frames.get(place, ())], rejected

    def _receive(self, record: Record, partitions: Mapping[PartitionKey, Partition]) -> bool:
        """Count a record and tell whether its partition is still ours under the assignment that read it."""
        self._counts.received += 1
        partition = partitions.get((record.topic, record.partition))
        if partition is not None and partition.incarnation == record.incarnation:
            return True
        self._counts.stale += 1
        return False

    async def _take_camera(
        self,
        partition: Partition,
        key: PartitionKey,
        packets: Sequence[FramePacket],
        originals: Mapping[tuple[PartitionKey, int], Record],
    ) -> tuple[dict[tuple[PartitionKey, int], tuple[Frame, ...]], dict[tuple[PartitionKey, int], DeadLetter]]:
        frames: dict[tuple[PartitionKey, int], tuple[Frame, ...]] = {}
        letters: dict[tuple[PartitionKey, int], DeadLetter] = {}
        for packet in packets:
            place = (key, packet.position.offset)
            try:
                frames[place] = await self._take_packet(partition, packet)
            except UnusableRecord as error:
                letters[place] = _letter(originals[place], error)
        return frames, letters

    async def _take_packet(self, partition: Partition, packet: FramePacket) -> tuple[Frame, ...]:
        camera = packet.camera_id
        if not self._registry.enabled(camera):
            return ()
        rules = self._registry.clock_for(camera, self._clock)
        sampler = _Sampler(partition.clocks.get(camera), packet.stream, rules)
        decoded = await self._decode(packet, 1 / rules.sample_fps, sampler.admit)
        partition.clocks[camera] = sampler.state
        self._count(sampler.outcomes, decoded)
        return tuple(
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
        )

    def _count(self, outcomes: Sequence[Admission], decoded: Decoded) -> None:
        self._counts.decoded += decoded.decoded
        self._counts.skipped += decoded.skipped
        self._counts.sampled_out += outcomes.count(Admission.SAMPLED_OUT)
        self._counts.late += outcomes.count(Admission.LATE)
        self._counts.clock += outcomes.count(Admission.CLOCK)


def _letter(record: Record, error: UnusableRecord) -> DeadLetter:
    return DeadLetter(record, error.stage, error.reason, str(error))
