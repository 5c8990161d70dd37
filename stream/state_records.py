"""What a partition's state topic holds: one record per camera and one for the partition itself.

Together they say what is done: a new owner that reads them asks no picture again and leaves none out. Values only; how they look
as bytes is `stream.state_codec`'s.
"""

import zlib
from dataclasses import dataclass

from stream.camera_state import CameraState
from stream.clock import ClockState


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """The first picture of a camera that is not done: every one before it was answered, sampled out or dropped."""

    offset: int
    index: int = 0
    """Index of the picture in its record; 0 where the whole record is to be read."""


@dataclass(frozen=True, slots=True)
class DecoderPlace:
    """What a new owner must feed to a decoder before a camera's access units go on."""

    keyframe_offset: int
    """From this record on everything is fed: no picture that is not done needs an earlier one."""
    shown_offset: int
    """The record whose picture was the last one done, in order of presentation: what comes out up to it is not asked again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a camera stands in its partition."""

    cursor: Cursor
    clock: ClockState
    """The camera's clock right before the cursor."""
    decoder: DecoderPlace | None = None
    """Access units only; None where the next picture begins with a keyframe of its own."""


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """One camera, as of its cursor."""

    state: CameraState
    cursor: Cursor
    decoder: DecoderPlace | None = None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.cursor, self.state.clock, self.decoder)


@dataclass(frozen=True, slots=True)
class RecordMark:
    """What a record is recognised by: the same offset in a topic that was made anew holds another one."""

    offset: int
    timestamp_ms: int
    crc: int
    """CRC-32 (ISO 3309) of its key and value."""


def mark_of(offset: int, timestamp_ms: int, key: bytes | None, value: bytes | None) -> RecordMark:
    """Give a record's mark."""
    return RecordMark(offset, timestamp_ms, zlib.crc32(value or b"", zlib.crc32(key or b"")))


@dataclass(frozen=True, slots=True)
class QuestionRevision:
    """Which questions file something follows from."""

    number: int = 0
    """As the file says, 1 or more: a newer file has a higher one. 0: not known, as in records from before there were any."""
    fingerprint: str = ""
    """Of its question set: behaviours, wording and their order."""


@dataclass(frozen=True, slots=True)
class StateOwner:
    """Whose state it is. The topic's name does not tell: `x.b.a.state` is that of group a on x.b, and of group b.a on x."""

    group: str = ""
    """Empty: not known, as in records from before it was written."""
    frames: str = ""
    """Topic; empty where the group is."""


@dataclass(frozen=True, slots=True)
class PartitionRecord:
    """One partition of the frames topic under one group."""

    resume_offset: int
    """Every record below it is done."""
    alerts_offset: int
    """End of the alerts partition as far as this state knows it: events of ours beyond it are published, but not in the state."""
    writer: str
    """Who wrote it, for people."""
    last_record: RecordMark | None = None
    """The last record below `resume_offset` that was read."""
    dead_lettered: tuple[int, ...] = ()
    """Offsets from `resume_offset` on whose dead letters are written, ascending."""
    adopted: tuple[str, ...] = ()
    """Ids of events that are published although the state does not know them yet."""
    attempt: int = 0
    """Restores since the last progress or clean stop: more than one, and a record may have killed the worker."""
    clean: bool = False
    """The writer stopped in order, with nothing in flight."""
    questions: QuestionRevision = QuestionRevision()
    """What the answers that led to this state were asked with; a worker with an older revision leaves the partition alone."""
    owner: StateOwner = StateOwner()
    """The group and the topic that it speaks of; any other's worker leaves the partition alone."""
