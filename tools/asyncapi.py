"""The published contract as documents, generated from the code that reads and writes the topics.

JSON Schemas of the alerts (each type's data, and the structured form of any alert), and one AsyncAPI document for the topics
that cameras and subscribers meet. The group's state topic is nobody else's business and stands in none of them.
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from stream import wire
from stream.alert_schema import SCHEMA_VERSION, Alert, CameraData, EndedData, StartedData
from stream.kafka.topology import TopicNames, TopicSpec, topic_specs
from tools.options import DEFAULT_ALERTS_TOPIC, DEFAULT_FRAMES_TOPIC, DEFAULT_GROUP

ASYNCAPI_VERSION = "3.1.0"
KAFKA_BINDING_VERSION = "0.5.0"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

ALERTS: tuple[type[BaseModel], ...] = get_args(get_args(Alert)[0])
"""The alert models, one for each CloudEvents type."""


def documents() -> dict[str, dict[str, Any]]:
    """Give every document by file name."""
    return {
        "behavior-started.schema.json": _data_schema(StartedData),
        "behavior-ended.schema.json": _data_schema(EndedData),
        "camera-event.schema.json": _data_schema(CameraData),
        "alert.schema.json": {"$schema": DIALECT, **TypeAdapter(Alert).json_schema(mode="serialization")},
        "asyncapi.json": _asyncapi(),
    }


def _data_schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": DIALECT, **model.model_json_schema(mode="serialization")}


def _asyncapi() -> dict[str, Any]:
    names = TopicNames(DEFAULT_FRAMES_TOPIC, DEFAULT_ALERTS_TOPIC, DEFAULT_GROUP)
    specs = {spec.name: spec for spec in topic_specs(names)}
    alerts = {_type_of(alert): alert.__name__ for alert in ALERTS}
    topics = {
        "frames": (specs[names.frames], ["Frame"], "receive", "Cameras publish, one record a picture or segment."),
        "alerts": (specs[names.alerts], list(alerts.values()), "send", "Subscribe with isolation.level=read_committed."),
        "deadLetters": (specs[names.dead_letters], ["DeadLetter"], "send", "Records of the frames topic that cannot be used."),
    }
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Pawsight",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "Cameras publish frames, Pawsight answers questions about them and publishes behavior events.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {key: _channel(spec, messages, text) for key, (spec, messages, _, text) in topics.items()},
        "operations": {
            f"{action}{key[0].upper()}{key[1:]}": {"action": action, "channel": {"$ref": f"#/channels/{key}"}}
            for key, (_, _, action, _) in topics.items()
        },
        "components": {"messages": _messages(), "schemas": _component_schemas()},
    }


def _channel(spec: TopicSpec, messages: list[str], description: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"cleanup.policy": spec.settings["cleanup.policy"].split(",")}
    max_message_bytes = spec.settings.get("max.message.bytes", spec.at_least.get("max.message.bytes"))
    if max_message_bytes is not None:
        settings["max.message.bytes"] = int(max_message_bytes)
    return {
        "address": spec.name,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": spec.name,
                "partitions": spec.partitions,
                "topicConfiguration": settings,
                "bindingVersion": KAFKA_BINDING_VERSION,
            }
        },
    }


def _messages() -> dict[str, Any]:
    bytes_schema = {"type": "string", "format": "binary"}
    errors = {wire.DEAD_LETTER_PREFIX + name: text for name, text in wire.DEAD_LETTER_HEADERS.items()}
    frame = {
        "title": "A picture or a video segment of one camera",
        "contentType": "application/octet-stream",
        "headers": _headers(wire.FRAME_HEADERS, required=[]),
        "payload": bytes_schema | {"description": f"The encoded bytes: {', '.join(wire.CONTENT_TYPES)}."},
        "bindings": _key("Camera id: printable UTF-8. All records of a camera go to one partition."),
    }
    dead_letter = {
        "title": "A record that could not be used, unchanged",
        "contentType": "application/octet-stream",
        "headers": _headers({**wire.FRAME_HEADERS, **errors}, required=list(errors)),
        "payload": bytes_schema | {"description": "The value of the record."},
        "bindings": _key("The key of the record."),
    }
    return {"Frame": frame, "DeadLetter": dead_letter} | {alert.__name__: _alert_message(alert) for alert in ALERTS}


def _alert_message(alert: type[BaseModel]) -> dict[str, Any]:
    """A CloudEvent in Kafka's binary form: attributes as `ce_` headers, data as the value."""
    fields = {name: field for name, field in alert.model_fields.items() if name not in {"data", "datacontenttype"}}
    required = ["content-type", *(f"ce_{name}" for name in fields if name != "traceparent")]
    headers = _headers({f"ce_{name}": field.description or "" for name, field in fields.items()}, required)
    headers["properties"] |= {
        "content-type": {"type": "string", "const": "application/json"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_type": {"type": "string", "const": _type_of(alert)},
        "traceparent": {"type": "string", "description": "As ce_traceparent, for tracing tools."},
    }
    data = alert.model_fields["data"].annotation
    assert isinstance(data, type), alert
    return {
        "name": _type_of(alert),
        "title": alert.__doc__,
        "contentType": "application/json",
        "headers": headers,
        "payload": {"$ref": f"#/components/schemas/{data.__name__}"},
        "bindings": _key("Camera id; the events of a camera keep their order."),
    }


def _type_of(alert: type[BaseModel]) -> str:
    (name,) = get_args(alert.model_fields["type"].annotation)
    return str(name)


def _headers(descriptions: Mapping[str, str], required: list[str]) -> dict[str, Any]:
    properties = {name: {"type": "string"} | ({"description": text} if text else {}) for name, text in descriptions.items()}
    return {"type": "object", "properties": properties, "required": required}


def _key(description: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": KAFKA_BINDING_VERSION}}


def _component_schemas() -> dict[str, Any]:
    models = [(model, "serialization") for model in (StartedData, EndedData, CameraData)]
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions
