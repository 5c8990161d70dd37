"""What decoding is asked for and what it gives back; the values that both decoder families share.

Nothing here decodes: `stills` and `segments` do, each knowing one library.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream.errors import UnusableRecord

Admit: TypeAlias = Callable[[float], bool]
"""Told a picture's capture time, says whether the picture is wanted. It may be called before the record turns out to be
unusable: keep what it decided aside until `decode` returned."""


class Fault(StrEnum):
    """Why a payload cannot be used, as its counter and its dead letter name it."""

    UNREADABLE = "unreadable"
    """The bytes are not what the content type says."""
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_LONG = "too_long"
    NO_VIDEO = "no_video"
    NO_KEYFRAME = "no_keyframe"
    NO_PTS = "no_pts"
    NO_PICTURE = "no_picture"
    KILLS_DECODER = "kills_decoder"
    HANGS_DECODER = "hangs_decoder"


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is refused before anything is decoded: one record must never take a worker's memory or minutes of its time.

    The sampled pictures of a segment are held together, at the model's size, until its last one proves that none is damaged: of a
    camera whose time advances `max_segment_s` x sample_fps + 1 (121 at 2 fps, 54 MB at 384 pixels), of any other
    `max_frames_per_segment`.
    """

    max_pixels: int = 50_000_000
    """Width times height: 8K video has 33 million; decoded RGB is then at most 150 MB."""
    max_side: int = 16_384
    """Pixels of the longer side: a strip 50 million wide would make the resize filter itself a bomb."""
    max_frames_per_segment: int = 600
    """10 s at 60 frames per second."""
    max_segment_s: float = 60.0
    """Span of a segment's timestamps; also keeps absurd timestamps out of the camera's clock."""


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What the worker needs of every packet."""

    size: int
    """Side of the model's square input, pixels."""
    interval_s: float
    """Sampling interval, 1 / sample_fps: if a segment has keyframes at least this often, nothing else is decoded."""
    limits: DecodeLimits


@dataclass(frozen=True, slots=True)
class Picture:
    """One admitted picture, at the model's size."""

    index: int
    """Place in the record in presentation order, pictures that were not decoded included; 0 for a still."""
    captured_at_s: float
    """Event time, seconds since the epoch in whole microseconds."""
    pixels: NDArray[np.uint8]
    """uint8 (S, S, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one record's pictures."""

    pictures: tuple[Picture, ...]
    """The admitted ones, in presentation order."""
    decoded: int
    """How many were offered to `admit`."""
    skipped: int
    """How many were never touched, because keyframes sufficed or because they need a picture of the segment before."""


def refuse(fault: Fault, message: str) -> UnusableRecord:
    """Make the error that sends the record to the dead-letter topic."""
    return UnusableRecord("decode", fault.value, message)


@contextmanager
def blaming_the_record(fault: Fault, what: str) -> Iterator[None]:
    """Turn whatever a foreign decoder raises on foreign bytes into an unusable record; put nothing of ours inside.

    Neither Pillow nor FFmpeg promise which exceptions broken bytes cause, and one that escaped would stop the worker at this
    record again and again. A failed allocation among them: what fails at once was absurdly large (a box that claims 3 GB).
    """
    try:
        yield
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise refuse(fault, f"{what}: {reason}") from error


def check_dimensions(width: int, height: int, limits: DecodeLimits) -> None:
    """Refuse a decompression bomb by what its header says.

    Raises:
        UnusableRecord: `unreadable` without an area, `too_many_pixels` over the limits.
    """
    if width < 1 or height < 1:
        raise refuse(Fault.UNREADABLE, f"the header says {width} x {height} pixels")
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        allowed = f"{limits.max_pixels} pixels and {limits.max_side} a side"
        raise refuse(Fault.TOO_MANY_PIXELS, f"the header says {width} x {height} pixels, allowed are {allowed}")
