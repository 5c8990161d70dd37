"""What the simulated cameras send: pictures of drawn scenes, encoded once, each with the scores that the model's answers allow.

A camera shows a scene for some seconds and then the next one, so that behaviours start and end as before real cameras; cameras
side by side show different ones. Nothing is encoded while the load runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.questions import QuestionSet
from stream.decode import DecodeLimits, DecodeRequest, decode
from stream.types import FramePacket, Position
from tools.scenes.clip import closed_group, shots
from tools.stress.pictures import Answering, alone

SCENES = 16
"""How many different scenes are shown in turn."""
SCENE_S = 20.0
"""How long a camera shows one: with the demo's questions some ten events a minute, as in the demo's videos."""
SEGMENT_S = 1
"""Length of a segment, which is one closed group, if it holds a picture; else as long as the pictures are apart."""
_SEED = 2_000_000_002
"""Draws rooms that no training, no demo and no compilation draws."""
_QUALITY = 85
"""Of JPEG; some 30 kB at 640 x 480."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What each camera sends."""

    form: str
    """`stills` or `segments`."""
    size: tuple[int, int]
    """Width and height, pixels."""
    rate: Fraction
    """Pictures per second."""

    @property
    def pictures(self) -> int:
        """Of one record."""
        return max(1, int(self.rate * SEGMENT_S)) if self.form == "segments" else 1

    @property
    def record_s(self) -> Fraction:
        """From a camera's record to its next, seconds."""
        return self.pictures / self.rate

    @property
    def ready_after_s(self) -> Fraction:
        """From a record's first capture until a camera has it ready: a segment is whole when it has ended."""
        return self.record_s if self.form == "segments" else Fraction(0)

    @property
    def content_type(self) -> str:
        """Of the records."""
        return "video/mp4" if self.form == "segments" else "image/jpeg"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One record's bytes, and the scores that each of its pictures may get."""

    payload: bytes
    low: NDArray[np.float32]
    """Lowest score of each question about each picture, (pictures, Q)."""
    high: NDArray[np.float32]
    """Highest."""


@dataclass(frozen=True, slots=True)
class Album:
    """All that is sent, and how its answers are recognised."""

    shape: Shape
    records: tuple[Encoded, ...]
    behaviors: tuple[str, ...]
    """Of the columns of the scores."""

    def shown(self, camera: int, record: int) -> int:
        """Say which of the records a camera sends as its so-many-th."""
        return (camera + int(record * self.shape.record_s / Fraction(SCENE_S))) % len(self.records)

    @property
    def told_apart(self) -> tuple[int, int]:
        """Count the pairs of records of which a question's scores are apart, whichever pictures they are of; and all pairs."""
        pairs = list(combinations(self.records, 2))
        return sum(bool((_below(one, other) | _below(other, one)).any()) for one, other in pairs), len(pairs)

    def is_foreign(self, picture: tuple[int, int], behavior: str, score: float) -> bool:
        """Say whether a score cannot be that of a picture, given as record and place in it."""
        record, place = picture[0], (picture[1], self.behaviors.index(behavior))
        return not float(self.records[record].low[place]) <= score <= float(self.records[record].high[place])


def _below(one: Encoded, other: Encoded) -> NDArray[np.bool_]:
    """Say of each question whether no score of the one record reaches any of the other."""
    return np.asarray(one.high.max(axis=0) < other.low.min(axis=0))


def album(
    engine: Answering, shape: Shape, image_size: int, known: tuple[QuestionSet, float], report: Callable[[int, int], None]
) -> Album:
    """Render, encode, and ask the model about each picture as a worker would decode it.

    Args:
        engine: gives the answers as the model gives them, not calibrated, one picture at a time.
        shape: of the records.
        image_size: side of the model's square input, pixels.
        known: what workers ask, and how far P(yes) may be off between batch sizes before it is calibrated: a steep
            calibration makes more of it.
        report: told the scenes that are done, and their number.
    """
    questions, tolerance = known
    records = []
    for number in range(SCENES):
        report(number, SCENES)
        pictures = list(shots((_SEED, number), shape.size, shape.pictures, float(shape.rate)))
        payload = closed_group(pictures, shape.rate) if shape.form == "segments" else _jpeg(pictures[0])
        p_yes = np.stack([alone(engine, pixels)[0] for pixels in _decoded(payload, shape, image_size)])
        low, high = (questions.calibrated(np.clip(p_yes + off, 0, 1, dtype=np.float32)) for off in (-tolerance, tolerance))
        records.append(Encoded(payload, low, high))
    return Album(shape, tuple(records), questions.behaviors)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _decoded(payload: bytes, shape: Shape, image_size: int) -> Iterator[NDArray[np.uint8]]:
    """Give each picture as a worker hands it to the model."""
    packet = FramePacket(Position("", 0, 0), "", 0.0, shape.content_type, payload, None, None, None, 0.0)
    every = DecodeRequest(image_size, 0.0, DecodeLimits())  # an interval of nothing: no keyframe-only decoding
    decoded = decode(packet, every, lambda _: True)
    assert len(decoded.pictures) == shape.pictures, (len(decoded.pictures), shape)
    for place, picture in enumerate(decoded.pictures):
        assert abs(picture.captured_at_s - float(place / shape.rate)) < 1e-6, (place, picture.captured_at_s)  # noqa: PLR2004
        yield picture.pixels
