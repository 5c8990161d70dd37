"""The frames topic: what a camera's record must look like, and what our own publishers write.

A camera that can only put JPEG bytes under its id works; every header is optional. Decoding is no business of this file: it
looks at the first bytes at most. Reader and writer stand side by side so that they cannot drift.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from stream.errors import UnusableRecord
from stream.timestamps import from_rfc3339, to_rfc3339
from stream.types import DeadLetter, FramePacket, Position, Record

CONTENT_TYPES: Mapping[str, Callable[[bytes], bool]] = {
    "image/jpeg": lambda data: data.startswith(b"\xff\xd8\xff"),
    "image/png": lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"),
    "image/webp": lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP",
    "video/mp4": lambda data: data[4:8] == b"ftyp",
    "video/mp2t": lambda data: data[:1] == b"\x47" and data[188:189] == b"\x47",
    "video/x-matroska": lambda data: data.startswith(b"\x1a\x45\xdf\xa3"),
}
"""Content types that can be decoded, each with how its first bytes are told (ISO 14496-12, ISO 13818-1, RFC 9559 and others)."""

ACCESS_UNIT_TYPES = frozenset({"video/h264", "video/h265"})
"""One Annex B access unit a record, in decoding order. Only the header tells them: their first bytes are those of any stream."""

FRAME_TYPE = "pawsight.frame"
"""CloudEvents type of a frame."""

FRAME_HEADERS: Mapping[str, str] = {
    "content-type": f"One of {', '.join((*CONTENT_TYPES, *sorted(ACCESS_UNIT_TYPES)))}; without it the first bytes tell all but "
    "the last two.",
    "ce_specversion": "CloudEvents 1.0, binary mode.",
    "ce_id": "Unique within `ce_source`.",
    "ce_source": "Who published the frame.",
    "ce_type": f"`{FRAME_TYPE}`.",
    "ce_time": "Capture time of the first picture, of an access unit its own, RFC 3339 with any offset; without it the record's "
    "timestamp.",
    "ce_subject": "Camera id, as the key.",
    "seq": "Decimal number of the record within its stream, per camera.",
    "stream": "Uuid of the stream: a new one after a publisher restart.",
    "keyframe": "Access units: `1` where decoding can begin, else `0`; without it the bytes tell.",
    "pts": "Access units: decimal presentation time of the picture in units of `timebase`, for other readers.",
    "timebase": "Access units: seconds per unit of `pts`, as `1/90000`.",
    "traceparent": "W3C trace context, passed on to the events.",
}
"""Every header that is read or written, and what it means. All are optional."""

DEAD_LETTER_PREFIX = "__pawsight.errors."
DEAD_LETTER_HEADERS: Mapping[str, str] = {
    "topic": "Topic of the record that could not be used.",
    "partition": "Its partition, decimal.",
    "offset": "Its offset, decimal.",
    "timestamp": "Its timestamp, decimal milliseconds since the epoch.",
    "stage": "`wire` (key, headers, size) or `decode` (payload).",
    "class.name": "Short reason for machines, such as `empty_key`.",
    "message": "The reason in a sentence.",
}
"""Headers added to a dead letter under `DEAD_LETTER_PREFIX`, in the layout of Kafka Connect's dead letters."""

REDRIVEN_HEADER = "__pawsight.redriven"
"""On a frame that was a dead letter and is published again: where that lay, as `topic[partition]@offset`."""

_TRACE_IDS = "-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
# W3C Trace Context, section 3.2.2: version ff and ids of zeros are invalid, versions after 00 may append fields.
_TRACEPARENT = re.compile(f"00{_TRACE_IDS}|(?!00|ff)[0-9a-f]{{2}}{_TRACE_IDS}(-[!-~]*)?")
_LAST_CAPTURE_S = from_rfc3339("2200-01-01T00:00:00Z")
_MAX_KEY_BYTES = 256
_MAX_SEQ_DIGITS = 18


class Fault(StrEnum):
    """Why a record cannot be used, as its counter and its dead letter name it."""

    EMPTY_KEY = "empty_key"
    BAD_KEY = "bad_key"
    EMPTY_VALUE = "empty_value"
    TOO_LARGE = "too_large"
    UNKNOWN_CONTENT_TYPE = "unknown_content_type"
    BAD_TIME = "bad_time"
    BAD_HEADER = "bad_header"


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What is refused before anything is decoded."""

    payload_bytes: int = 8 * 1024 * 1024
    """Largest value; the frames topic's own `max.message.bytes` by default."""


@dataclass(frozen=True, slots=True)
class FrameHead:
    """What our own publishers say about a frame, next to its bytes."""

    camera_id: str
    captured_at_s: float
    content_type: str
    source: str
    """CloudEvents source: who publishes, a URI reference such as `/pawsight/replay`."""
    stream: str
    """Uuid of this run of the publisher for this camera."""
    seq: int
    traceparent: str | None = None
    unit: "UnitHead | None" = None
    """Of an access unit."""


@dataclass(frozen=True, slots=True)
class UnitHead:
    """What is said about an access unit besides."""

    keyframe: bool
    pts: int
    """Presentation time, in units of `time_base`."""
    time_base: Fraction
    """Seconds."""


def read(record: Record, limits: WireLimits = WireLimits()) -> FramePacket:
    """Trust a record, or say why not.

    Raises:
        UnusableRecord: stage `wire`; the record goes to the dead-letter topic.
    """
    headers = dict(record.headers)  # of repeated headers the last counts
    camera_id = _camera_id(record.key)
    payload = _payload(record.value, limits)
    return FramePacket(
        position=Position(record.topic, record.partition, record.offset, 0, record.incarnation),
        camera_id=camera_id,
        captured_at_s=_captured_at_s(headers, record.timestamp_ms),
        content_type=_content_type(headers, payload),
        payload=payload,
        stream=_text(headers, "stream"),
        seq=_seq(headers),
        traceparent=_traceparent(headers),
        arrived_at_s=record.arrived_at_s,
        keyframe=_keyframe(headers),
    )


def frame_headers(head: FrameHead) -> list[tuple[str, bytes]]:
    """Headers of a frame that we publish; its key is the camera id, its value the encoded picture or segment."""
    headers = {
        "content-type": head.content_type,
        "ce_specversion": "1.0",
        "ce_id": f"{head.stream}:{head.seq}",
        "ce_source": head.source,
        "ce_type": FRAME_TYPE,
        "ce_time": to_rfc3339(head.captured_at_s),
        "ce_subject": head.camera_id,
        "seq": str(head.seq),
        "stream": head.stream,
    }
    if head.traceparent is not None:
        headers["traceparent"] = head.traceparent
    if head.unit is not None:
        headers["keyframe"] = str(int(head.unit.keyframe))
        headers["pts"] = str(head.unit.pts)
        headers["timebase"] = f"{head.unit.time_base.numerator}/{head.unit.time_base.denominator}"
    return [(name, value.encode()) for name, value in headers.items()]


def dead_letter_headers(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Headers of a dead letter: the record's own, then where it lay and what was wrong. Key and value stay the record's."""
    record = letter.record
    place = (record.topic, str(record.partition), str(record.offset), str(record.timestamp_ms))
    errors = zip(DEAD_LETTER_HEADERS, (*place, letter.stage, letter.reason, letter.message), strict=True)
    return [*record.headers, *((DEAD_LETTER_PREFIX + name, value.encode()) for name, value in errors)]


def _refuse(fault: Fault, message: str) -> UnusableRecord:
    return UnusableRecord("wire", fault.value, message)


def _text(headers: Mapping[str, bytes | None], name: str) -> str | None:
    """Give a header's text; None if it is missing or empty."""
    value = headers.get(name)
    if not value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise _refuse(Fault.BAD_HEADER, f"header {name!r} is not UTF-8: {value[:40]!r}") from exc


def _camera_id(key: bytes | None) -> str:
    """Read the key. Control characters would make the events' subject invalid (CloudEvents 1.0, type String)."""
    if not key:
        raise _refuse(Fault.EMPTY_KEY, "the record has no key: publish it under its camera's id")
    if len(key) > _MAX_KEY_BYTES:
        raise _refuse(Fault.BAD_KEY, f"the key has {len(key)} bytes, a camera id at most {_MAX_KEY_BYTES}")
    try:
        camera_id = key.decode()
    except UnicodeDecodeError as exc:
        raise _refuse(Fault.BAD_KEY, f"the key is not UTF-8: {key[:40]!r}") from exc
    if not camera_id.isprintable() or not camera_id.strip():
        raise _refuse(Fault.BAD_KEY, f"the key {camera_id!r} is not a printable camera id")
    return camera_id


def _payload(value: bytes | None, limits: WireLimits) -> bytes:
    if not value:
        raise _refuse(Fault.EMPTY_VALUE, "the record has no value: publish the encoded picture or segment")
    if len(value) > limits.payload_bytes:
        raise _refuse(Fault.TOO_LARGE, f"the value has {len(value)} bytes, allowed are {limits.payload_bytes}")
    return value


def _content_type(headers: Mapping[str, bytes | None], payload: bytes) -> str:
    """Believe the header without its parameters (RFC 9110, 8.3.1), else the first bytes."""
    said = (_text(headers, "content-type") or "").partition(";")[0].strip().lower()
    if said in CONTENT_TYPES or said in ACCESS_UNIT_TYPES:
        return said
    if said:
        raise _refuse(Fault.UNKNOWN_CONTENT_TYPE, f"content type {said!r:.80} is none of {_known()}")
    for content_type, begins in CONTENT_TYPES.items():
        if begins(payload):
            return content_type
    raise _refuse(
        Fault.UNKNOWN_CONTENT_TYPE, f"no content-type header, and the value begins with {payload[:12]!r}: none of {_known()}"
    )


def _known() -> str:
    return ", ".join((*CONTENT_TYPES, *sorted(ACCESS_UNIT_TYPES)))


def _captured_at_s(headers: Mapping[str, bytes | None], timestamp_ms: int) -> float:
    """Capture time from 1970 up to 2200, where floats hold whole microseconds exactly and every derived time can be written."""
    said = _text(headers, "ce_time")
    try:
        captured_at_s = timestamp_ms / 1000 if said is None else from_rfc3339(said)
    except ValueError as exc:
        raise _refuse(Fault.BAD_TIME, f"header 'ce_time': {exc}") from exc
    if not 0 <= captured_at_s < _LAST_CAPTURE_S:
        found = f"record timestamp {timestamp_ms} ms" if said is None else f"ce_time {said!r}"
        raise _refuse(Fault.BAD_TIME, f"{found} lies outside 1970 to 2200")
    return captured_at_s


def _keyframe(headers: Mapping[str, bytes | None]) -> bool | None:
    said = _text(headers, "keyframe")
    if said not in (None, "0", "1"):
        raise _refuse(Fault.BAD_HEADER, f"header 'keyframe' is {said!r:.40}: write 0 or 1")
    return None if said is None else said == "1"


def _seq(headers: Mapping[str, bytes | None]) -> int | None:
    said = _text(headers, "seq")
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= _MAX_SEQ_DIGITS):
        raise _refuse(Fault.BAD_HEADER, f"header 'seq' is {said!r:.40}: write a decimal number")
    return int(said)


def _traceparent(headers: Mapping[str, bytes | None]) -> str | None:
    """Give the trace context; a malformed one is ignored, as W3C Trace Context asks (section 3.2.2.3)."""
    try:
        said = (headers.get("traceparent") or b"").decode()
    except UnicodeDecodeError:
        return None
    return said if _TRACEPARENT.fullmatch(said) else None
