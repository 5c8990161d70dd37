"""Recorded videos as the records that a camera would have published; what `replay` publishes and `watch` hands to the worker.

Segments and stills come out of the same cuts and the same decoder: the stills of a recording are the pictures that the worker
would sample from its segments, at the same capture times, with the same pixels (PNG). Access units are the file's own packets.
Knows nothing of Kafka.
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
from stream.wire import UnitHead, WireLimits
from tools.recordings.cuts import Cut, cuts, packet_of
from tools.recordings.pictures import pictures_at
from tools.recordings.reading import TRUSTED, OnProblem, length_s
from tools.recordings.sources import Placement, Recording, find, parse_start
from tools.recordings.units import units

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "AsAccessUnits",
    "AsSegments",
    "AsStills",
    "Form",
    "OnProblem",
    "Placement",
    "Publication",
    "Recording",
    "find",
    "in_order_of_readiness",
    "length_s",
    "merged",
    "parse_start",
    "pictures_at",
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


@dataclass(frozen=True, slots=True)
class AsAccessUnits:
    """Publish every picture as its encoder gave it, in decoding order; H.264 and H.265 only."""

    segment_s: float = _DEFAULT_SEGMENT_S
    """Of the segments whose pictures have the same capture times, as `AsSegments`."""


Form: TypeAlias = AsSegments | AsStills | AsAccessUnits


@dataclass(frozen=True, slots=True)
class Publication:
    """One record to be."""

    camera: str
    captured_at_s: float
    """Capture time of its (first) picture."""
    due_s: float
    """Event time at which a camera would have it ready: the end of a segment, the capture of a still, and of an access unit that
    of the latest picture so far."""
    content_type: str
    payload: bytes
    seq: int
    """Counts the camera's records from 0."""
    unit: UnitHead | None = None
    """Of an access unit."""


@dataclass(frozen=True, slots=True)
class _Payload:
    """A record's content; fields as in `Publication`."""

    captured_at_s: float
    due_s: float
    content_type: str
    data: bytes
    unit: UnitHead | None = None


_Played: TypeAlias = Iterator[tuple[float, Sequence[_Payload]]]
"""Up to which event time a recording is played, and what came ready."""


def merged(recordings: Iterable[Recording], form: Form, on_problem: OnProblem) -> Iterator[Publication]:
    """All cameras' publications in the order in which they become ready; `on_problem` hears what could not be read."""
    return in_order_of_readiness(publications(recording, form, on_problem) for recording in recordings)


def in_order_of_readiness(cameras: Iterable[Iterator[Publication]]) -> Iterator[Publication]:
    """Merge cameras' publications; none is given before every camera has its first one, or none."""
    return heapq.merge(*cameras, key=lambda publication: publication.due_s)


def publications(recording: Recording, form: Form, on_problem: OnProblem, *, loop: bool = False) -> Iterator[Publication]:
    """One camera's publications; in a loop each round begins where the last one ended, so that event time goes on."""
    play = _player(form, recording, on_problem)
    seq = count()
    while True:
        until_s: float | None = None
        for reached_s, payloads in play(recording):
            until_s = reached_s
            for each in payloads:
                if len(each.data) > MAX_PAYLOAD_BYTES:
                    on_problem(f"{recording.name}: {_too_large(form, each)}")
                    return
                yield Publication(
                    recording.camera, each.captured_at_s, each.due_s, each.content_type, each.data, next(seq), each.unit
                )
        if not loop or until_s is None:
            return
        if not recording.live:
            recording = replace(recording, start_s=until_s, shift_s=0.0)


def _player(form: Form, recording: Recording, on_problem: OnProblem) -> Callable[[Recording], _Played]:
    """Give what plays the rounds of a recording one after the other."""
    if isinstance(form, AsAccessUnits):
        return lambda again: _units(again, form.segment_s, on_problem)
    encode = _whole if isinstance(form, AsSegments) else _Sampler(form, recording.name, on_problem).encode
    return lambda again: ((cut.until_s, encode(cut)) for cut in cuts(again, form.segment_s, on_problem))


def _units(recording: Recording, segment_s: float, on_problem: OnProblem) -> _Played:
    for unit in units(recording, segment_s, on_problem):
        yield unit.until_s, (_Payload(unit.captured_at_s, unit.due_s, unit.content_type, unit.payload, unit.head),)


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


def _too_large(form: Form, payload: _Payload) -> str:
    if isinstance(form, AsSegments) and payload.due_s - payload.captured_at_s > form.segment_s:
        remedy = "its keyframes are too far apart: publish it as stills"
    elif isinstance(form, AsSegments):
        remedy = "publish shorter segments, or stills"
    else:
        remedy = "publish JPEG stills"
    return f"a record of {len(payload.data)} bytes is over the limit of {MAX_PAYLOAD_BYTES}; {remedy}"
