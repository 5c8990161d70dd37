"""Records of the frames and alerts topics as the checker's values. Knows headers and times as text, and nothing of `stream`."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from tools.chaos.check import Published
from tools.chaos.expected import Alert, Sent, Shot, line_of
from tools.chaos.truth import ANSWERS, COLUMNS, MICROSECONDS_PER_S, UNITS, Camera, Code

FIRST_HEADER = "oracle.first"
"""Number of a record's first picture."""
FRAMES_HEADER = "oracle.frames"
"""How many pictures it holds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KafkaRecord(Protocol):
    """What is read of an aiokafka record."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def sent(record: KafkaRecord, cameras: Mapping[str, Camera]) -> Sent | None:
    """Read a record of the frames topic; None for one that no camera of the script sent."""
    headers = dict(record.headers)
    camera = cameras.get((record.key or b"").decode(errors="replace"))
    if camera is None or FIRST_HEADER not in headers:
        return None
    first, frames = int(headers[FIRST_HEADER]), int(headers[FRAMES_HEADER])
    began_us = _microseconds(headers["ce_time"].decode())
    content_type = headers["content-type"].decode()
    is_unit = content_type in UNITS
    return Sent(
        camera=camera.name,
        line=line_of(camera.name, record.partition, camera.partition),
        stream=headers["stream"].decode(),
        seq=int(headers["seq"]),
        shots=tuple(
            Shot(began_us + place * MICROSECONDS_PER_S // camera.fps, _answers(camera.codes(first + place)))
            for place in range(frames)
        ),
        unit=content_type if is_unit else None,
        keyframe=headers.get("keyframe") == b"1",
        pts=int(headers["pts"]) if is_unit else 0,
    )


def is_of_group(record: KafkaRecord, group: str) -> bool:
    """Whether an alert names this group's workers as its source."""
    return dict(record.headers).get("ce_source") == f"/pawsight/{group}".encode()


def published(record: KafkaRecord) -> Published:
    """Read a record of the alerts topic.

    Raises:
        KeyError, ValueError: it is no alert.
    """
    headers = {name: value.decode() for name, value in record.headers}
    data: dict[str, Any] = json.loads(record.value or b"")
    alert = Alert(
        id=headers["ce_id"],
        type=headers["ce_type"],
        camera=data["camera"],
        at_us=_microseconds(data["at"]),
        behavior=data.get("behavior"),
        episode=data.get("episode"),
        started_at_us=_time(data, "started_at"),
        stopped_at_us=_time(data, "stopped_at"),
        reason=data.get("reason"),
        last_frame_at_us=_time(data, "last_frame_at"),
        questions=data["questions"],
    )
    return Published(alert, record.partition, record.offset)


@lru_cache(maxsize=256)
def _answers(codes: tuple[Code, ...]) -> Mapping[str, tuple[float, float]]:
    return {behavior: ANSWERS[codes[column]] for behavior, column in COLUMNS.items()}


def _time(data: Mapping[str, Any], name: str) -> int | None:
    return _microseconds(data[name]) if name in data else None


def _microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
