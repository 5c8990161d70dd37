"""Events as CloudEvents, judged by the CloudEvents SDK."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, to_binary_event
from cloudevents.core.formats.json import JSONFormat

from stream.alerts import binary, from_binary, structured
from stream.timestamps import from_rfc3339
from stream.types import BehaviorEvent, Event, Kind, Reason
from tests.unit.alert_samples import CONTEXT, TRACE, sample_events

EVENTS = sample_events()


def test_samples_hold_every_kind_and_reason() -> None:
    """What is judged here is all that can be emitted."""
    assert {event.kind for event in EVENTS} == set(Kind)
    assert {event.reason for event in EVENTS if isinstance(event, BehaviorEvent)} == {None, *Reason}


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_binary_form_is_a_cloudevent(event: Event) -> None:
    """The SDK reads the record as we meant it: attributes, time, extensions and JSON data; the key is the camera."""
    record = binary(event, CONTEXT)
    judged = from_binary_event(KafkaMessage(dict(record.headers), record.key, record.value))
    ours = structured(event, CONTEXT)
    assert (judged.get_id(), judged.get_source(), judged.get_subject()) == (event.event_id, "/pawsight/pets", "den")
    assert (judged.get_type(), judged.get_specversion(), judged.get_datacontenttype()) == (
        ours["type"],
        "1.0",
        "application/json",
    )
    assert judged.get_time() == datetime.fromtimestamp(event.at_s, UTC)
    assert (judged.get_extension("partitionkey"), judged.get_extension("traceparent")) == ("den", event.traceparent)
    assert judged.get_data() == ours["data"]
    assert record.key == b"den"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_structured_form_is_a_cloudevent(event: Event) -> None:
    """The SDK reads the JSON object, and writes the same binary headers from it as we do."""
    judged = JSONFormat().read(None, json.dumps(structured(event, CONTEXT)))
    ours = dict(binary(event, CONTEXT).headers)
    theirs = to_binary_event(judged).headers
    assert datetime.fromisoformat(theirs.pop("ce_time").decode()) == datetime.fromisoformat(ours.pop("ce_time").decode())
    ours.pop("traceparent", None)
    assert theirs == ours


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_binary_form_is_read_back_as_the_structured_one(event: Event) -> None:
    """A subscriber that prints JSON prints what the writer meant."""
    record = binary(event, CONTEXT)
    assert from_binary(record.value, record.headers) == structured(event, CONTEXT)


def test_data_says_all_that_design_section_8_asks() -> None:
    """An ended event: times as RFC 3339 texts, duration as a number, evidence, and what the answers came from."""
    ended = next(event for event in EVENTS if isinstance(event, BehaviorEvent) and event.reason is Reason.STOPPED)
    assert structured(ended, CONTEXT)["data"] == {
        "schema_version": 1,
        "camera": "den",
        "model": "Salesforce/blip-vqa-base",
        "artifact": "sha256:0123",
        "questions": "89abcdef01234567",
        "behavior": "barking",
        "episode": 1,
        "severity": "warning",
        "at": "2026-01-01T00:00:05.000000Z",
        "started_at": "2026-01-01T00:00:00.000000Z",
        "stopped_at": "2026-01-01T00:00:03.000000Z",
        "duration_s": 3.0,
        "reason": "stopped",
        "score": 0.1,
        "share": 1.0,
        "threshold": 0.35,
        "evidence": {
            "topic": "frames",
            "partition": 3,
            "offset": 0,
            "index": 0,
            "captured_at": "2026-01-01T00:00:00.000000Z",
        },
    }


def test_data_of_a_lost_camera() -> None:
    """A lost camera says when it was given up and what was last seen of it."""
    lost = structured(EVENTS[-1], CONTEXT)
    assert (lost["type"], lost["data"]["at"]) == ("pawsight.camera.lost", "2026-01-01T00:00:09.000000Z")
    assert lost["data"]["last_frame_at"] == "2026-01-01T00:00:03.000000Z"


def test_score_is_null_where_no_frame_decided() -> None:
    """A loss, a clock reset and a removed question have no deciding frame; the fields are there and null."""
    for event in EVENTS:
        if isinstance(event, BehaviorEvent) and event.reason in {Reason.STREAM_LOST, Reason.CLOCK_RESET, Reason.QUESTION_REMOVED}:
            data = structured(event, CONTEXT)["data"]
            assert (data["score"], data["share"], data["threshold"]) == (None, None, None)


def test_trace_context_stands_as_extension_and_as_header() -> None:
    """Tracing tools look at the record's traceparent, subscribers at the event's; without one neither is there."""
    traced = [event for event in EVENTS if event.traceparent]
    assert traced
    headers = dict(binary(traced[0], CONTEXT).headers)
    assert headers["traceparent"] == headers["ce_traceparent"] == TRACE.encode()
    assert not {"traceparent", "ce_traceparent"} & set(dict(binary(EVENTS[-1], CONTEXT).headers))


def test_a_share_a_hair_over_one_is_one() -> None:
    """A softmax in float32 may sum to more than 1; the event is published all the same."""
    started = next(event for event in EVENTS if isinstance(event, BehaviorEvent) and event.kind is Kind.STARTED)
    assert structured(replace(started, share=1.0000001), CONTEXT)["data"]["share"] == 1.0


def test_times_keep_microseconds() -> None:
    """No time loses a digit on its way."""
    started = next(event for event in EVENTS if isinstance(event, BehaviorEvent))
    data = structured(replace(started, at_s=started.at_s + 0.000001), CONTEXT)["data"]
    assert data["at"].endswith(":02.000001Z")
    assert from_rfc3339(data["at"]) == pytest.approx(started.at_s + 0.000001, abs=2e-7)


def test_what_is_no_cloudevent_is_refused() -> None:
    """A foreign record on the topic is named, not guessed at; unknown attributes and fields pass through."""
    with pytest.raises(ValueError, match="header ce_specversion is missing"):
        from_binary(b"{}", [("content-type", b"application/json")])
    record = binary(EVENTS[0], CONTEXT)
    newer = from_binary(record.value[:-1] + b',"new":1}', [*record.headers, ("ce_new", b"x"), ("other", b"y")])
    assert (newer["new"], newer["data"]["new"], "other" in newer) == ("x", 1, False)
