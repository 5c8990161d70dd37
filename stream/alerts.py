"""The alerts topic: events as CloudEvents 1.0, in Kafka's binary form and as one JSON object.

Writer and reader stand side by side. What the fields mean is said once, in `stream.alert_schema`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from stream.alert_schema import SCHEMA_VERSION, Alert
from stream.timestamps import to_rfc3339
from stream.types import BehaviorEvent, CameraEvent, Event, Evidence, Kind

_ALERT: TypeAdapter[Alert] = TypeAdapter(Alert)
_FAMILIES = {Kind.STARTED: "behavior", Kind.ENDED: "behavior", Kind.SEEN: "camera", Kind.LOST: "camera"}

_REQUIRED = ("specversion", "id", "source", "type")
_CE_PREFIX = "ce_"


@dataclass(frozen=True, slots=True)
class AlertContext:
    """What all events of a worker have in common."""

    source: str
    """CloudEvents source, a URI reference: /pawsight/<consumer group>. Source and id together name an event for ever."""
    model: str
    """Checkpoint as it was named: a folder or a hub id."""
    artifact: str
    """Hash of the weights."""
    questions: str
    """Fingerprint of the question set."""


class AlertRecord(NamedTuple):
    """One record of the alerts topic."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def structured(event: Event, context: AlertContext) -> dict[str, Any]:
    """Give an event as one JSON object (CloudEvents JSON format)."""
    alert: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": context.source,
        "type": f"pawsight.{_FAMILIES[event.kind]}.{event.kind}",
        "subject": event.camera_id,
        "time": to_rfc3339(event.at_s),
        "datacontenttype": "application/json",
        "partitionkey": event.camera_id,
        "data": {
            "schema_version": SCHEMA_VERSION,
            "camera": event.camera_id,
            "model": context.model,
            "artifact": context.artifact,
            "questions": context.questions,
            "at": to_rfc3339(event.at_s),
            **(_behavior_data(event) if isinstance(event, BehaviorEvent) else _camera_data(event)),
        },
    }
    if event.traceparent is not None:
        alert["traceparent"] = event.traceparent
    written: dict[str, Any] = _ALERT.dump_python(_ALERT.validate_python(alert), mode="json", exclude_unset=True)
    return written


def binary(event: Event, context: AlertContext) -> AlertRecord:
    """Give an event as a Kafka record (CloudEvents Kafka binding 1.0, binary content mode).

    The trace context stands twice: as the event's extension, and as the record's own `traceparent` for tracing tools.
    """
    attributes = structured(event, context)
    value = json.dumps(attributes.pop("data"), separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    headers = [("content-type", attributes.pop("datacontenttype"))]
    headers += [(_CE_PREFIX + name, text) for name, text in attributes.items()]
    if event.traceparent is not None:
        headers.append(("traceparent", event.traceparent))
    return AlertRecord(event.camera_id.encode(), value.encode(), [(name, text.encode()) for name, text in headers])


def from_binary(value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> dict[str, Any]:
    """Read a record of the alerts topic as one JSON object; unknown attributes and fields are kept.

    Raises:
        ValueError: not a CloudEvent in binary form with JSON data.
    """
    attributes: dict[str, Any] = {}
    for name, text in headers:
        if text is None:
            continue  # Kafka allows it; the attribute is as good as missing
        if name.startswith(_CE_PREFIX):
            attributes[name.removeprefix(_CE_PREFIX)] = text.decode()
        elif name == "content-type":
            attributes["datacontenttype"] = text.decode()
    missing = [name for name in _REQUIRED if name not in attributes]
    if missing:
        msg = f"not a CloudEvent in binary form: header {_CE_PREFIX}{missing[0]} is missing"
        raise ValueError(msg)
    return {**attributes, "data": json.loads(value)}


def _behavior_data(event: BehaviorEvent) -> dict[str, Any]:
    data: dict[str, Any] = {
        "behavior": event.behavior,
        "episode": event.episode,
        "severity": event.severity,
        "started_at": to_rfc3339(event.started_at_s),
        "score": event.score,
        "share": None if event.share is None else min(event.share, 1.0),  # a float32 sum of the softmax may exceed 1
        "threshold": event.threshold,
        "evidence": _evidence(event.evidence),
    }
    if event.stopped_at_s is not None:
        data |= {"stopped_at": to_rfc3339(event.stopped_at_s), "duration_s": event.duration_s, "reason": event.reason}
    return data


def _camera_data(event: CameraEvent) -> dict[str, Any]:
    return {"last_frame_at": to_rfc3339(event.last_frame_at_s)}


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "topic": evidence.topic,
        "partition": evidence.partition,
        "offset": evidence.offset,
        "index": evidence.index,
        "captured_at": to_rfc3339(evidence.captured_at_s),
    }
