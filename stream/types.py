"""The nouns that flow: FramePacket -> Frame -> Batch -> (Answers) -> Observation -> events.

Frozen; a new type at each step, nothing mutated. All times named `captured_at_s`, `at_s` and the like are event time in seconds
since the epoch, in whole microseconds (`stream.clock.event_time`); differences are taken by `stream.clock.elapsed_s`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.clock import ClockState, elapsed_s


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the frames topic as it lies there, before anybody trusted it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Record timestamp, ms since the epoch: publish time, or capture time of a camera that sets no `ce_time`."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    incarnation: int
    """Which assignment of the partition to this process read it; what is not of the current one is dropped."""
    arrived_at_s: float
    """When it arrived at this worker, seconds since the epoch by its source's clock, which no step of the wall clock moves."""

    @property
    def size_bytes(self) -> int:
        """Of all that its publisher chose the size of: key, value and headers."""
        headers = sum(len(name.encode()) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a picture lies in the stream."""

    topic: str
    partition: int
    offset: int
    index: int = 0
    """Index of the picture in its record (presentation order), 0 for a still."""
    incarnation: int = 0

    def at(self, index: int) -> "Position":
        """Give the position of another picture of the same record."""
        return replace(self, index=index)


@dataclass(frozen=True, slots=True)
class FramePacket:
    """One usable record: a still, a closed-GOP video segment or an access unit of one camera."""

    position: Position
    camera_id: str
    captured_at_s: float
    """Capture time of its first picture."""
    content_type: str
    """One of `stream.wire.CONTENT_TYPES`."""
    payload: bytes
    stream: str | None
    """The stream's uuid: a new one after a publisher restart. None if the camera sends none."""
    seq: int | None
    """Per-camera sequence number within `stream`."""
    traceparent: str | None
    """W3C trace context, passed on to the events."""
    arrived_at_s: float
    keyframe: bool | None = None
    """Access units: whether decoding can begin here, if the publisher says so."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One sampled picture, ready for the model."""

    position: Position
    camera_id: str
    captured_at_s: float
    pixels: NDArray[np.uint8]
    """uint8 (S, S, 3) RGB at the model's size."""
    clock: ClockState
    """The camera's clock right after this frame was accepted."""
    traceparent: str | None
    arrived_at_s: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames that go to the device together."""

    frames: tuple[Frame, ...]
    bucket: int
    """Compiled batch size that they are padded to."""

    def __post_init__(self) -> None:
        """Hold the batcher's promise."""
        assert 0 < len(self.frames) <= self.bucket, (len(self.frames), self.bucket)

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (bucket, S, S, 3), zero padded behind the frames."""
        padded = np.zeros((self.bucket, *self.frames[0].pixels.shape), np.uint8)
        for row, frame in zip(padded, self.frames, strict=False):
            row[:] = frame.pixels
        return padded


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says to one question about one frame."""

    p_yes: float
    """P(yes | yes or no), [0, 1]."""
    share: float
    """Probability that yes and no hold together, [0, 1]; low: the model wanted to say something else."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All answers about one frame: where batches and tensors end."""

    position: Position
    camera_id: str
    captured_at_s: float
    answers: Mapping[str, Answer]
    """By behaviour."""
    clock: ClockState
    """The camera's clock right after this frame was accepted."""
    traceparent: str | None
    arrived_at_s: float


class Kind(StrEnum):
    """What an event says; the last part of its CloudEvents type."""

    STARTED = "started"
    ENDED = "ended"
    LOST = "lost"
    SEEN = "seen"


class Reason(StrEnum):
    """Why a behaviour ended."""

    STOPPED = "stopped"
    MAX_DURATION = "max_duration"
    STREAM_LOST = "stream_lost"
    CLOCK_RESET = "clock_reset"
    QUESTION_REMOVED = "question_removed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The frame that an event points to."""

    topic: str
    partition: int
    offset: int
    index: int
    captured_at_s: float


@dataclass(frozen=True, slots=True)
class BehaviorEvent:
    """A behaviour of a camera started or ended."""

    event_id: str
    """uuid5 of camera, behaviour, epoch, episode and kind: the same event has the same id for ever."""
    kind: Kind
    camera_id: str
    behavior: str
    episode: int
    """Counts the behaviour's episodes on this camera from 1."""
    severity: str
    at_s: float
    """Event time at which the rule was met."""
    started_at_s: float
    """Event time at which the behaviour began."""
    stopped_at_s: float | None
    """Event time at which it stopped (ended only)."""
    reason: Reason | None
    """Why it ended (ended only)."""
    score: float | None
    """P(yes) of the frame that decided; None where no frame did (stream_lost, clock_reset, question_removed)."""
    share: float | None
    """That frame's share; None as `score`."""
    threshold: float | None
    """The rule's threshold: start_above of a start, stop_below of a stop; else None. The deciding score may lie between the two
    thresholds, where the last known answer holds."""
    evidence: Evidence
    """The first frame of the episode's yes run."""
    traceparent: str | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to stop; None for a start."""
        return None if self.stopped_at_s is None else elapsed_s(self.stopped_at_s, self.started_at_s)


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """A camera's stream was lost, or seen (again)."""

    event_id: str
    kind: Kind
    camera_id: str
    at_s: float
    """seen: capture time of the first accepted frame; lost: last accepted + lost_after_s."""
    last_frame_at_s: float
    """Capture time of the frame that was seen, or of the last one before the loss."""
    traceparent: str | None


Event: TypeAlias = BehaviorEvent | CameraEvent


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, with the reason, for the dead-letter topic."""

    record: Record
    stage: str
    reason: str
    message: str
