"""The published contract says what the code does, and emitted records keep it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator

from stream.alerts import binary, structured
from stream.types import DeadLetter, Event, Record
from stream.wire import ACCESS_UNIT_TYPES, CONTENT_TYPES, FrameHead, UnitHead, dead_letter_headers, frame_headers
from tests.unit.alert_samples import CONTEXT, TRACE, sample_events
from tools.contract import CONTRACT_FOLDER, contract

ASYNCAPI = json.loads((CONTRACT_FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
SCHEMAS = {
    "pawsight.behavior.started": "behavior-started.schema.json",
    "pawsight.behavior.ended": "behavior-ended.schema.json",
    "pawsight.camera.seen": "camera-event.schema.json",
    "pawsight.camera.lost": "camera-event.schema.json",
}
UNIT = UnitHead(keyframe=True, pts=900_000, time_base=Fraction(1, 90_000))
HEAD = FrameHead("den", 1_767_225_600.0, "video/h264", "/pawsight/replay", "8a3c6a0e-5a57-4a5c-9a51-3b0d4b4a0f10", 7, TRACE, UNIT)


def schema(name: str) -> Draft202012Validator:
    """A published JSON Schema."""
    return Draft202012Validator(json.loads((CONTRACT_FOLDER / name).read_text(encoding="utf-8")))


def message_part(message: str, part: str) -> Draft202012Validator:
    """The schema of a message's headers or payload in the AsyncAPI document."""
    return Draft202012Validator({**ASYNCAPI["components"]["messages"][message][part], "components": ASYNCAPI["components"]})


def message_of(event_type: str) -> str:
    """The name of the alert message of a CloudEvents type."""
    return next(key for key, message in ASYNCAPI["components"]["messages"].items() if message.get("name") == event_type)


def text_headers(headers: list[tuple[str, Any]]) -> dict[str, str]:
    """Headers as a subscriber sees them."""
    return {name: value.decode() for name, value in headers}


def run(*, check: bool, out: Path) -> int:
    """Exit status of the command."""
    try:
        contract(check=check, out=out)
    except typer.Exit as done:
        return done.exit_code
    return 0


def test_published_files_are_those_of_the_code() -> None:
    """A changed field changes the contract in the same commit."""
    assert run(check=True, out=CONTRACT_FOLDER) == 0


def test_check_finds_every_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing, an edited and a left-over file each fail the check and are named."""
    assert run(check=True, out=tmp_path) == 1
    assert run(check=False, out=tmp_path) == 0
    assert run(check=True, out=tmp_path) == 0
    (tmp_path / "asyncapi.json").write_text("{}", encoding="utf-8")
    (tmp_path / "old.schema.json").write_text("{}", encoding="utf-8")
    assert run(check=True, out=tmp_path) == 1
    missing, *_, edited, left_over = capsys.readouterr().err.splitlines()
    assert "behavior-started.schema.json differs" in missing
    assert "asyncapi.json differs" in edited
    assert "old.schema.json is not generated: delete it" in left_over


@pytest.mark.parametrize("event", sample_events(), ids=lambda event: event.kind)
def test_emitted_alerts_keep_the_contract(event: Event) -> None:
    """Value and headers of every kind of alert are valid by the JSON Schemas and by the AsyncAPI document."""
    record, whole = binary(event, CONTEXT), structured(event, CONTEXT)
    data, headers = json.loads(record.value), text_headers(record.headers)
    schema(SCHEMAS[whole["type"]]).validate(data)
    schema("alert.schema.json").validate(whole)
    message = message_of(whole["type"])
    message_part(message, "headers").validate(headers)
    message_part(message, "payload").validate(data)
    assert set(headers) <= set(ASYNCAPI["components"]["messages"][message]["headers"]["properties"])


@pytest.mark.parametrize("broken", ["at", "camera", "reason", "schema_version", "score"])
def test_contract_is_no_rubber_stamp(broken: str) -> None:
    """An ended event with a field missing or of a wrong type is not valid."""
    ended = next(whole["data"] for event in sample_events() if (whole := structured(event, CONTEXT))["type"].endswith("ended"))
    validator = schema("behavior-ended.schema.json")
    assert validator.is_valid(ended)
    assert not validator.is_valid({name: value for name, value in ended.items() if name != broken})
    assert not validator.is_valid({**ended, broken: ["x"]})


def test_frames_that_we_publish_keep_the_contract() -> None:
    """Every header of ours is described; a camera that sends none is within the contract too."""
    headers = text_headers(frame_headers(HEAD))
    described = ASYNCAPI["components"]["messages"]["Frame"]["headers"]
    message_part("Frame", "headers").validate(headers)
    message_part("Frame", "headers").validate({})
    assert set(headers) == set(described["properties"])
    said = described["properties"]["content-type"]["description"]
    assert all(content_type in said for content_type in (*CONTENT_TYPES, *ACCESS_UNIT_TYPES))


def test_dead_letters_keep_the_contract() -> None:
    """The error headers of a dead letter are those described, and all of them are there."""
    record = Record("frames", 0, 1, 0, None, b"x", tuple(frame_headers(HEAD)), 1, 0.0)
    headers = text_headers(dead_letter_headers(DeadLetter(record, "wire", "empty_key", "the record has no key")))
    described = ASYNCAPI["components"]["messages"]["DeadLetter"]["headers"]
    message_part("DeadLetter", "headers").validate(headers)
    assert set(headers) == set(described["properties"])
    assert set(described["required"]) == {name for name in headers if name.startswith("__pawsight.errors.")}


def test_document_has_no_dangling_reference() -> None:
    """Every reference inside the AsyncAPI document leads somewhere."""

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [node["$ref"]] if "$ref" in node else [ref for value in node.values() for ref in references(value)]
        return [ref for value in node for ref in references(value)] if isinstance(node, list) else []

    found = references(ASYNCAPI)
    assert len(found) > 10
    for reference in found:
        target: Any = ASYNCAPI
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
