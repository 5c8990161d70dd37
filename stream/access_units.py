"""The cameras that send access units: which decoder each record goes to, and when one is emptied, closed or begun anew.

A bounded number of decoders, the least recently used closed first. A decoder is emptied, and its pictures asked, before anything
that does not continue them: another stream, a gap, a still, a record that cannot be used, the camera's loss.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from stream.camera_decoder import CameraDecoder, Pictures, Turn
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.counts import Counts
from stream.decode import DecodeLimits
from stream.decode_threads import DecodeThreads
from stream.partition import Partition, PartitionKey, Step
from stream.ports import Proof
from stream.state_records import Cursor, Place
from stream.types import Frame, FramePacket

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DecoderLimits:
    """How many decoders are kept."""

    max_decoders: int = 256
    """Of more cameras the least recently used is closed, and asked again from its next keyframe on."""
    max_bytes: int = 2 * 1024**3
    """What they may hold together, by their pictures' sizes, when a portion of records is begun. The portion's own may outgrow it
    until the next: those that it opens or whose pictures grow, at most `stream.intake.MAX_SIDE_BY_SIDE`; and one alone."""
    max_behind: int = 200_000
    """A decoder with a picture in it is closed when its camera's last record lies so many behind the partition's. Whatever
    is read behind a record that is not done is remembered, some 150 bytes each, and while a backlog is read no proof says that
    the camera is silent."""


@dataclass(slots=True)
class AccessUnits:
    """The decoders of one worker."""

    threads: DecodeThreads
    clock: ClockRules
    """For cameras without settings of their own."""
    cameras: CameraRegistry
    image_size: int
    """Side of the model's square input, pixels."""
    limits: DecodeLimits
    bounds: DecoderLimits
    counts: Counts
    _decoders: dict[tuple[PartitionKey, str], CameraDecoder] = field(default_factory=dict)
    """Least recently used first."""

    async def take(self, partition: Partition, packet: FramePacket) -> list[Frame]:
        """Feed one record that is open in its ledger, new or to be fed again; give the frames that came out.

        Raises:
            UnusableRecord: the bytes are no access unit. `close` gives what lay in the decoder.
        """
        camera, offset = packet.camera_id, packet.position.offset
        frames: list[Frame] = []
        decoder = self._decoder(partition, packet)
        if decoder.breaks_at(packet):
            frames += await self.close(partition, camera)
            decoder = self._decoder(partition, packet)
        turn = decoder.turn(packet)
        if turn is Turn.FEED:
            clock, rules = partition.clocks.get(camera), self.cameras.clock_for(camera, self.clock)
            pictures = await self.threads.run(packet, lambda: decoder.feed(packet, clock, rules))
            self.counts.used += 1
            return frames + self._enqueue(partition, camera, pictures)
        self.counts.used += 1
        self.counts.decoded += 1
        if turn is Turn.DUPLICATE:
            self.counts.duplicate += 1
        else:
            self.counts.no_keyframe += 1
        partition.ledger.settle(offset)
        return frames

    async def close(self, partition: Partition, camera: str) -> list[Frame]:
        """Empty and free a camera's decoder, if it has one; give the frames that came out. It needs a keyframe from here on."""
        decoder = self._decoders.pop((partition.key, camera), None)
        if decoder is None:
            return []
        rules = self.cameras.clock_for(camera, self.clock)
        clock = partition.clocks.get(camera)
        pictures = await self.threads.run(None, lambda: decoder.drain(clock, rules))
        decoder.close()
        frames = self._enqueue(partition, camera, pictures)
        clock = partition.clocks.get(camera)
        if clock is not None:
            partition.enqueue(camera, [Step(Place(Cursor(decoder.next_offset), clock))])
        return frames

    def have_room(self, cameras: Collection[tuple[PartitionKey, str]]) -> bool:
        """Whether these cameras' decoders may be open at one time; a new one counts, but its size is not known."""
        held = sum(self._decoders[place].memory_bytes for place in cameras if place in self._decoders)
        return len(cameras) <= self.bounds.max_decoders and held <= self.bounds.max_bytes

    async def make_room(self, packets: Iterable[FramePacket], partitions: Mapping[PartitionKey, Partition]) -> list[Frame]:
        """Close decoders, the least recently used first, until those that these records need have room beside the others.

        And those that hold up their partition: see `DecoderLimits`.
        """
        needed = {((packet.position.topic, packet.position.partition), packet.camera_id) for packet in packets}
        for place in [place for place in self._decoders if place in needed]:
            self._decoders[place] = self._decoders.pop(place)  # most recently used
        frames: list[Frame] = []
        for key, camera in [place for place in self._decoders if place not in needed and self._is_behind(place, partitions)]:
            self.counts.decoders_closed += 1
            frames += await self.close(partitions[key], camera)
        new = len(needed - self._decoders.keys())
        while self._decoders and self._over(new):
            key, camera = next(iter(self._decoders))
            if (key, camera) in needed:
                break
            self.counts.decoders_closed += 1
            frames += await self.close(partitions[key], camera)
        return frames

    async def close_silent(self, proof: Proof, partition: Partition, lost_after_s: float) -> list[Frame]:
        """Empty the decoders of a partition's cameras that are about to be lost; what comes out is to be asked before."""
        frames: list[Frame] = []
        for key, camera in list(self._decoders):
            if key == partition.key and proof.asked_at_s - partition.arrivals_s[camera] >= lost_after_s:
                frames += await self.close(partition, camera)
        return frames

    async def close_all(self, partitions: Mapping[PartitionKey, Partition]) -> list[Frame]:
        """Empty every decoder: the source has ended."""
        frames: list[Frame] = []
        for key, camera in list(self._decoders):
            frames += await self.close(partitions[key], camera)
        return frames

    def forget(self, key: PartitionKey) -> None:
        """Drop the decoders of a partition that is no longer ours, and what lies in them."""
        for place in [place for place in self._decoders if place[0] == key]:
            self._decoders.pop(place).close()

    def _is_behind(self, place: tuple[PartitionKey, str], partitions: Mapping[PartitionKey, Partition]) -> bool:
        decoder, read_to = self._decoders[place], partitions[place[0]].ledger.next_offset
        return decoder.holds_pictures and read_to is not None and read_to - decoder.next_offset > self.bounds.max_behind

    def _over(self, new: int) -> bool:
        held = sum(decoder.memory_bytes for decoder in self._decoders.values())
        return len(self._decoders) + new > self.bounds.max_decoders or held > self.bounds.max_bytes

    def _decoder(self, partition: Partition, packet: FramePacket) -> CameraDecoder:
        place = (partition.key, packet.camera_id)
        if place not in self._decoders:
            restored = partition.take_decoder_place(packet.camera_id)
            self._decoders[place] = CameraDecoder(packet.content_type, self.image_size, self.limits, restored)
        return self._decoders[place]

    def _enqueue(self, partition: Partition, camera: str, pictures: Pictures) -> list[Frame]:
        """Put what came out into the camera's line."""
        self.counts.sampled(pictures.sampler.outcomes)
        self.counts.decoded += pictures.sampler.outcomes.total() + pictures.decode_only + pictures.undecodable
        self.counts.decode_only += pictures.decode_only
        self.counts.undecodable += pictures.undecodable + pictures.unusable
        if pictures.fault is not None:
            log.warning("%s[%d]: pictures of camera %s cannot be asked: %s", *partition.key, camera, pictures.fault)
        if pictures.sampler.state is not None:
            partition.clocks[camera] = pictures.sampler.state
        for offset in pictures.settled:
            partition.ledger.settle(offset)
        partition.enqueue(camera, pictures.steps)
        return pictures.frames
