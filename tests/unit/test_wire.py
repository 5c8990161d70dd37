"""What a camera may send, what is refused, and what our own publishers write."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.clock import event_time
from stream.errors import UnusableRecord
from stream.types import DeadLetter, Position, Record
from stream.wire import (
    ACCESS_UNIT_TYPES,
    CONTENT_TYPES,
    DEAD_LETTER_HEADERS,
    FRAME_HEADERS,
    FrameHead,
    UnitHead,
    WireLimits,
    dead_letter_headers,
    frame_headers,
    read,
)

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"
BARE = Record("frames", 3, 42, 1_767_225_600_123, b"den", JPEG, (), incarnation=7, arrived_at_s=5.0)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

BEGINNINGS = {
    "image/jpeg": JPEG,
    "image/png": b"\x89PNG\r\n\x1a\n\x00\x00",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "video/mp4": b"\x00\x00\x00\x20ftypisom",
    "video/mp2t": b"\x47" + bytes(187) + b"\x47" + bytes(187),
    "video/x-matroska": b"\x1a\x45\xdf\xa3\x01\x00",
}


def record(**headers: bytes | None) -> Record:
    """A bare record with headers; `_` in a name stands for `-` in content_type."""
    return replace(BARE, headers=tuple((name.replace("content_type", "content-type"), value) for name, value in headers.items()))


def test_a_camera_that_can_only_put_jpeg_bytes_works() -> None:
    """Key and value are enough: type from the first bytes, capture time from the record."""
    packet = read(BARE)
    assert packet.position == Position("frames", 3, 42, 0, 7)
    assert (packet.camera_id, packet.captured_at_s, packet.content_type) == ("den", 1_767_225_600.123, "image/jpeg")
    assert (packet.payload, packet.stream, packet.seq, packet.traceparent, packet.arrived_at_s) == (JPEG, None, None, None, 5.0)
    assert packet.keyframe is None


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_content_type_is_told_from_the_first_bytes(content_type: str) -> None:
    """Every type that can be decoded is recognised without a header."""
    assert read(replace(BARE, value=BEGINNINGS[content_type])).content_type == content_type


@pytest.mark.parametrize("said", [b"image/png", b"IMAGE/PNG", b" image/png ; charset=binary", b"image/png;q=1"])
def test_content_type_header_wins_without_case_and_parameters(said: bytes) -> None:
    """A header is believed over the first bytes (decoding will tell)."""
    assert read(record(content_type=said)).content_type == "image/png"


@pytest.mark.parametrize("said", [b"video/h264", b"video/H265 ; profile=high"])
def test_only_the_header_makes_an_access_unit(said: bytes) -> None:
    """Annex B begins like many a stream: without the header its bytes are none that can be told."""
    unit = b"\x00\x00\x00\x01\x67\x42"
    assert read(replace(record(content_type=said), value=unit)).content_type == said[:10].decode().lower()
    with pytest.raises(UnusableRecord) as refused:
        read(replace(BARE, value=unit))
    assert refused.value.reason == "unknown_content_type"


@pytest.mark.parametrize(("said", "keyframe"), [(b"1", True), (b"0", False), (b"", None), (None, None)])
def test_a_keyframe_is_what_its_publisher_says(said: bytes | None, keyframe: bool | None) -> None:  # noqa: FBT001
    """Whether decoding can begin at an access unit, or that nobody said so."""
    assert read(record(content_type=b"video/h264", keyframe=said)).keyframe is keyframe


@pytest.mark.parametrize("nonsense", [b"", b"soon", b"\xff", b"1/0", None])
def test_times_for_other_readers_are_not_ours_to_judge(nonsense: bytes | None) -> None:
    """`pts` and `timebase` play no part here: nonsense in them costs no picture."""
    unit = record(content_type=b"video/h265", pts=nonsense, timebase=nonsense)
    assert read(unit) == read(record(content_type=b"video/h265"))


@pytest.mark.parametrize("empty", [b"", None])
def test_empty_headers_are_as_none(empty: bytes | None) -> None:
    """A camera that writes empty headers is as one that writes none."""
    packet = read(record(content_type=empty, ce_time=empty, stream=empty, seq=empty, traceparent=empty, keyframe=empty))
    assert packet == read(BARE)


def test_of_repeated_headers_the_last_counts() -> None:
    """As in Kafka's own clients."""
    assert read(replace(BARE, headers=(("seq", b"1"), ("seq", b"2")))).seq == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"2026-01-01T00:00:00Z", 1_767_225_600.0),
        (b"2026-01-01t02:30:00.000001+02:30", 1_767_225_600.000001),
        (b"2025-12-31 19:00:00.5-05:00", 1_767_225_600.5),
        (b"2026-01-01T00:00:00.1234569Z", 1_767_225_600.123456),
        (b"1970-01-01T00:00:00Z", 0.0),
    ],
)
def test_capture_time_is_any_rfc3339(text: bytes, seconds: float) -> None:
    """`ce_time` wins over the record's timestamp, with any offset, down to the microsecond."""
    assert read(record(ce_time=text)).captured_at_s == seconds


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (replace(BARE, key=None), "empty_key"),
        (replace(BARE, key=b""), "empty_key"),
        (replace(BARE, key=b"\xff\xfe"), "bad_key"),
        (replace(BARE, key=b"den\n"), "bad_key"),
        (replace(BARE, key=b" "), "bad_key"),
        (replace(BARE, key=b"x" * 257), "bad_key"),
        (replace(BARE, value=None), "empty_value"),
        (replace(BARE, value=b""), "empty_value"),
        (replace(BARE, value=JPEG * 20), "too_large"),
        (replace(BARE, value=b"hello"), "unknown_content_type"),
        (replace(BARE, value=b"\x47" + bytes(400)), "unknown_content_type"),
        (replace(BARE, timestamp_ms=-1), "bad_time"),
        (record(content_type=b"text/plain"), "unknown_content_type"),
        (record(content_type=b"\xff"), "bad_header"),
        (record(content_type=b"video/h266"), "unknown_content_type"),
        (record(ce_time=b"yesterday"), "bad_time"),
        (record(ce_time=b"2026-01-01"), "bad_time"),
        (record(ce_time=b"2026-01-01T00:00:00"), "bad_time"),
        (record(ce_time=b"2026-02-30T00:00:00Z"), "bad_time"),
        (record(ce_time=b"2200-01-01T00:00:00Z"), "bad_time"),
        (record(ce_time=b"1969-12-31T23:59:59Z"), "bad_time"),
        (record(ce_time=b"\xff"), "bad_header"),
        (record(seq=b"-1"), "bad_header"),
        (record(seq=b"1e3"), "bad_header"),
        (record(seq=b"9" * 19), "bad_header"),
        (record(stream=b"\xff"), "bad_header"),
        (record(keyframe=b"yes"), "bad_header"),
        (record(keyframe=b"2"), "bad_header"),
        (record(keyframe=b"01"), "bad_header"),
        (record(keyframe=b"\xff"), "bad_header"),
    ],
)
def test_unusable_record_is_refused_with_a_reason(bad: Record, reason: str) -> None:
    """What can never become a frame is refused in stage wire, with a word for machines and a sentence for people."""
    with pytest.raises(UnusableRecord) as refused:
        read(bad, WireLimits(payload_bytes=100 if reason == "too_large" else 1000))
    assert (refused.value.stage, refused.value.reason) == ("wire", reason)
    assert len(str(refused.value)) > 20


def test_a_value_of_the_limit_is_read() -> None:
    """The limit itself is allowed; it is 8 MiB by default."""
    assert read(BARE, WireLimits(payload_bytes=len(JPEG))).payload == JPEG
    assert WireLimits().payload_bytes == 8 * 1024 * 1024


@pytest.mark.parametrize("good", [TRACE, TRACE[:-2] + "00", "cc" + TRACE[2:], "cc" + TRACE[2:] + "-what-the-future-brings"])
def test_trace_context_is_passed_on(good: str) -> None:
    """A valid traceparent is kept as it is, also of a later version."""
    assert read(record(traceparent=good.encode())).traceparent == good


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff", b"x", TRACE.upper().encode(), b"ff" + TRACE[2:].encode(), TRACE.encode() + b"-more", TRACE[:-1].encode(),
        b"00-" + b"0" * 32 + TRACE[35:].encode(), TRACE[:36].encode() + b"0" * 16 + b"-01", b"cc" + TRACE[2:].encode() + b"-a\n",
    ],
)  # fmt: skip
def test_malformed_trace_context_is_ignored(bad: bytes) -> None:
    """A malformed traceparent costs the trace, never the frame."""
    assert read(record(traceparent=bad)).traceparent is None


camera_ids = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)
heads = st.builds(
    FrameHead,
    camera_id=camera_ids,
    captured_at_s=st.integers(0, 7_258_118_399_999_999).map(lambda us: event_time(us / 1e6)),
    content_type=st.sampled_from(sorted(CONTENT_TYPES)),
    source=st.just("/pawsight/replay"),
    stream=st.uuids().map(str),
    seq=st.integers(0, 10**18 - 1),
    traceparent=st.none() | st.just(TRACE),
)
unit_heads = st.builds(
    UnitHead,
    keyframe=st.booleans(),
    pts=st.integers(-(2**62), 2**62),
    time_base=st.fractions(min_value=Fraction(1, 10**9), max_value=1),
)


@given(heads)
def test_what_we_publish_is_read_back(head: FrameHead) -> None:
    """Camera, capture time to the microsecond, type, stream, number and trace survive the way through Kafka."""
    headers = frame_headers(head)
    packet = read(replace(BARE, key=head.camera_id.encode(), headers=tuple(headers)))
    assert (packet.camera_id, packet.captured_at_s, packet.content_type) == (
        head.camera_id,
        head.captured_at_s,
        head.content_type,
    )
    assert (packet.stream, packet.seq, packet.traceparent) == (head.stream, head.seq, head.traceparent)
    assert packet.keyframe is None
    assert {name for name, _ in headers} <= set(FRAME_HEADERS)


@given(heads, st.sampled_from(sorted(ACCESS_UNIT_TYPES)), unit_heads)
def test_what_we_publish_of_an_access_unit_is_read_back(head: FrameHead, content_type: str, unit: UnitHead) -> None:
    """Whether it is a keyframe is read; presentation time and its unit stand there exactly, as text, for others."""
    headers = dict(frame_headers(replace(head, content_type=content_type, unit=unit)))
    packet = read(replace(BARE, key=head.camera_id.encode(), headers=tuple(headers.items())))
    assert (packet.content_type, packet.keyframe) == (content_type, unit.keyframe)
    assert int(headers["pts"]) == unit.pts
    assert Fraction(headers["timebase"].decode()) == unit.time_base
    assert "/" in headers["timebase"].decode()
    assert set(headers) <= set(FRAME_HEADERS)


@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=400),
    st.lists(st.tuples(st.sampled_from([*FRAME_HEADERS, "x"]), st.none() | st.binary(max_size=40)), max_size=6),
    st.integers(-(2**63), 2**63 - 1),
)
def test_no_record_breaks_the_reader(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], timestamp_ms: int
) -> None:
    """Whatever lies on the topic is a packet or an UnusableRecord."""
    foreign = replace(BARE, key=key, value=value, headers=tuple(headers), timestamp_ms=timestamp_ms)
    try:
        packet = read(foreign)
    except UnusableRecord as refused:
        letter = DeadLetter(foreign, refused.stage, refused.reason, str(refused))
        assert dead_letter_headers(letter)[: len(headers)] == headers
    else:
        assert packet.content_type in CONTENT_TYPES or packet.content_type in ACCESS_UNIT_TYPES


def test_dead_letter_says_where_and_why() -> None:
    """The record's own headers stay, in order; the error's follow in Kafka Connect's layout."""
    letter = DeadLetter(record(seq=b"\xff", x=None), "wire", "bad_header", "header 'seq' is not UTF-8")
    assert dead_letter_headers(letter) == [
        ("seq", b"\xff"),
        ("x", None),
        ("__pawsight.errors.topic", b"frames"),
        ("__pawsight.errors.partition", b"3"),
        ("__pawsight.errors.offset", b"42"),
        ("__pawsight.errors.timestamp", b"1767225600123"),
        ("__pawsight.errors.stage", b"wire"),
        ("__pawsight.errors.class.name", b"bad_header"),
        ("__pawsight.errors.message", b"header 'seq' is not UTF-8"),
    ]
    assert len(DEAD_LETTER_HEADERS) == 7
