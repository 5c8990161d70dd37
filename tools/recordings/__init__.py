"""Recorded videos as the records that a camera would have published; what `replay` publishes and `watch` hands to the worker.

Both forms come out of the same cuts and the same decoder: the stills of a recording are the pictures that the worker would
sample from its segments, at the same capture times, with the same pixels (PNG). Knows nothing of Kafka.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count
from typing import Literal, TypeAlias

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from PIL import Image

from stream.clock import Admission, ClockRules, ClockState, admit
from stream.decode import segments
from stream.errors import UnusableRecord
from stream.wire import WireLimits
from tools.recordings.cuts import TRUSTED, Cut, OnProblem, cuts, length_s, packet_of
from tools.recordings.sources import Placement, Recording, find, parse_start

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "AsSegments",
    "AsStills",
    "Form",
    "OnProblem",
    "Placement",
    "Publication",
    "Recording",
    "find",
    "length_s",
    "merged",
    "parse_start",
    "publications",
]

MAX_PAYLOAD_BYTES = WireLimits().payload_bytes - 4096
"""The topic's limit holds for a whole record: room for key, headers and framing."""

_DEFAULT_SEGMENT_S = 2.0


@dataclass(frozen=True, slots=True)
class AsSegments:
    """Publish closed video segments as they lie in the file."""

    segment_s: float = _DEFAULT_SEGMENT_S
    """Shortest length; a segment ends at the next keyframe."""


@dataclass(frozen=True, slots=True)
class AsStills:
    """Publish single pictures, sampled as the worker samples."""

    sample_fps: float = ClockRules().sample_fps
    picture: Literal["png", "jpeg"] = "png"
    quality: int = 90
    """Of JPEG, 1 to 95."""
    segment_s: float = _DEFAULT_SEGMENT_S
    """Of the segments that the pictures are taken from, as `AsSegments`."""


Form: TypeAlias = AsSegments | AsStills


@dataclass(frozen=True, slots=True)
class Publication:
    """One record to be."""

    camera: str
    captured_at_s: float
    """Capture time of its (first) picture."""
    due_s: float
    """Event time at which a camera would have it ready: the end of a segment, the capture of a still."""
    content_type: str
    payload: bytes
    seq: int
    """Counts the camera's records from 0."""


@dataclass(frozen=True, slots=True)
class _Payload:
    """A record's content; fields as in `Publication`."""

    captured_at_s: float
    due_s: float
    content_type: str
    data: bytes


_Encode: TypeAlias = Callable[[Cut], Sequence[_Payload]]


def merged(recordings: Iterable[Recording], form: Form, on_problem: OnProblem, *, loop: bool = False) -> Iterator[Publication]:
    """All cameras' publications in the order in which they become ready; `on_problem` hears what could not be read."""
    streams = [publications(recording, form, on_problem, loop=loop) for recording in recordings]
    return heapq.merge(*streams, key=lambda publication: publication.due_s)


def publications(recording: Recording, form: Form, on_problem: OnProblem, *, loop: bool = False) -> Iterator[Publication]:
    """One camera's publications; in a loop each round begins where the last one ended, so that event time goes on."""
    encode: _Encode = _whole if isinstance(form, AsSegments) else _Sampler(form, recording.name, on_problem).encode
    seq = count()
    while True:
        until_s: float | None = None
        for cut in cuts(recording, form.segment_s, on_problem):
            until_s = cut.until_s
            for payload in encode(cut):
                if len(payload.data) > MAX_PAYLOAD_BYTES:
                    on_problem(_too_large(recording, form, cut, len(payload.data)))
                    return
                yield Publication(
                    recording.camera, payload.captured_at_s, payload.due_s, payload.content_type, payload.data, next(seq)
                )
        if not loop or until_s is None:
            return
        if not recording.live:
            recording = replace(recording, start_s=until_s, shift_s=0.0)


def _whole(cut: Cut) -> Sequence[_Payload]:
    return (_Payload(cut.captured_at_s, cut.until_s, cut.content_type, cut.payload),)


class _Sampler:
    """Takes the pictures out of segments that the worker would take: same decoder, same clock."""

    def __init__(self, form: AsStills, name: str, on_problem: OnProblem) -> None:
        self._form = form
        self._name = name
        self._on_problem = on_problem
        self._rules = ClockRules(form.sample_fps, max_gap_s=max(ClockRules().max_gap_s, 1 / form.sample_fps))
        self._clock: ClockState | None = None
        self._reformatter = VideoReformatter()

    def encode(self, cut: Cut) -> Sequence[_Payload]:
        """Give the sampled pictures; none, and the clock as it was, for a segment that the worker could not use."""
        clock, payloads = self._clock, []
        try:
            with segments.opened(packet_of(cut), TRUSTED) as segment:
                for shown in segment.pictures(segment.needed(1 / self._form.sample_fps)):
                    clock, admission = admit(clock, shown.captured_at_s, None, self._rules)
                    if admission is Admission.ACCEPTED:
                        data = self._picture(shown.rgb(self._reformatter))
                        content_type = f"image/{self._form.picture}"
                        payloads.append(_Payload(shown.captured_at_s, shown.captured_at_s, content_type, data))
        except UnusableRecord as error:
            self._on_problem(f"{self._name}: {cut.until_s - cut.captured_at_s:.1f} s are left out: {error}")
            return ()
        self._clock = clock
        return payloads

    def _picture(self, rgb_HW3: NDArray[np.uint8]) -> bytes:
        file = BytesIO()
        picture = Image.fromarray(rgb_HW3)
        if self._form.picture == "png":
            picture.save(file, "PNG", compress_level=1)
        else:
            picture.save(file, "JPEG", quality=self._form.quality)
        return file.getvalue()


def _too_large(recording: Recording, form: Form, cut: Cut, size: int) -> str:
    if isinstance(form, AsStills):
        remedy = "publish JPEG stills"
    elif cut.until_s - cut.captured_at_s > form.segment_s:
        remedy = "its keyframes are too far apart: publish it as stills"
    else:
        remedy = "publish shorter segments, or stills"
    return f"{recording.name}: a record of {size} bytes is over the limit of {MAX_PAYLOAD_BYTES}; {remedy}"
