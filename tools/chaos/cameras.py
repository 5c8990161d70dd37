"""A camera's numbered pictures as records of the frames topic, with the habits that its script gives it.

Two headers beside those of the wire are for the checker alone: which pictures a record holds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from stream.wire import FrameHead, UnitHead, frame_headers
from tools.chaos.encoders import TIME_BASE, Payload, encoder
from tools.chaos.records import FIRST_HEADER, FRAMES_HEADER
from tools.chaos.truth import Camera

SOURCE = "/pawsight/chaos"
"""CloudEvents source of the frames."""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One record of the frames topic to be."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    captured_at_s: float
    """Capture time of its first picture."""
    frames: int


class CameraStream:
    """One run of a camera: a stream uuid, and an encoder that begins at a keyframe."""

    def __init__(self, camera: Camera, stream: str) -> None:
        """Begin before the first picture; `stream` is an uuid that no other run has."""
        self._camera = camera
        self._stream = stream
        self._encoder = encoder(camera)
        self._seq = 0

    def feed(self, n: int) -> list[FrameRecord]:
        """Take the next picture; give the records that are to be sent now."""
        return self._records(self._encoder.feed(n))

    def finish(self) -> list[FrameRecord]:
        """Give what is still in the encoder; the stream is over."""
        return self._records(self._encoder.flush())

    def _records(self, payloads: Iterable[Payload]) -> list[FrameRecord]:
        records = []
        for payload in payloads:
            record, habits = self._record(payload), self._camera.habits
            self._seq += 1
            if payload.keyframe is False and self._camera.happens(habits.lose_every, "lose", payload.first):
                continue
            is_repeated = self._camera.happens(habits.repeat_every, "repeat", payload.first)
            records += [record, record] if is_repeated else [record]
        return records

    def _record(self, payload: Payload) -> FrameRecord:
        camera = self._camera
        captured_at_s = camera.captured_at_s(payload.first)
        unit = None
        if payload.keyframe is not None:
            unit = UnitHead(payload.keyframe, payload.first * TIME_BASE.denominator // camera.fps, TIME_BASE)
        head = FrameHead(
            camera_id=camera.name,
            captured_at_s=captured_at_s,
            content_type=camera.form.value,
            source=SOURCE,
            stream=self._stream,
            seq=self._seq,
            unit=unit,
        )
        headers = [
            *frame_headers(head),
            (FIRST_HEADER, str(payload.first).encode()),
            (FRAMES_HEADER, str(payload.frames).encode()),
        ]
        return FrameRecord(camera.partition, camera.name.encode(), payload.data, headers, captured_at_s, payload.frames)
