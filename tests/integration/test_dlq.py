"""`tools/run dlq` on a real broker: dead letters are shown with their reasons, and published again as the records they were."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import Result
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from typer.testing import CliRunner

from stream.kafka.dead_letters import dead_letter_record, reference
from stream.kafka.topology import TopicNames, create_topics
from stream.timestamps import to_rfc3339
from stream.types import DeadLetter, Record
from tests.integration.kafka_world import PATIENCE_S
from tools.__main__ import app
from tools.broker.find import FoundBroker
from tools.dlq.command import dlq

CAPTURED_MS = 1_767_225_600_123
HEADERS = (("seq", b"12"), ("content-type", None), ("seq", b"13"), ("odd", b"\xff\xfe"))


def letter(names: TopicNames, **changes: Any) -> DeadLetter:
    """A record of partition 1 that could not be used."""
    record = Record(names.frames, 1, 7, CAPTURED_MS, b"den", b"not a picture", HEADERS, 1, 0.0)
    fields = {name: changes.pop(name) for name in list(changes) if name in Record.__slots__}
    told = {"stage": "decode", "reason": "unreadable", "message": "not image/jpeg: begins with b'not a'"} | changes
    return DeadLetter(replace(record, **fields), **told)


async def bury(broker: FoundBroker, names: TopicNames, *letters: DeadLetter, commit: bool = True) -> None:
    """Write dead letters as the worker does: in a transaction, on the record's partition."""
    options = broker.connection.client_options()
    async with AIOKafkaProducer(**options, transactional_id=names.group, max_request_size=2**24) as producer:
        await producer.begin_transaction()
        for each in letters:
            written = dead_letter_record(each)
            batch = producer.create_batch()
            batch.append(timestamp=None, key=written.key, value=written.value, headers=list(written.headers))
            await (await producer.send_batch(batch, names.dead_letters, partition=each.record.partition))
        await (producer.commit_transaction() if commit else producer.abort_transaction())


def buried(broker: FoundBroker, names: TopicNames, *letters: DeadLetter) -> None:
    """Create the topics, and write dead letters."""
    asyncio.run(create_topics(broker.connection, names, partitions=3))
    asyncio.run(bury(broker, names, *letters))


def run(broker: FoundBroker, names: TopicNames, *arguments: str) -> Result:
    """Run a subcommand."""
    command, *options = arguments
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames]
    return CliRunner().invoke(dlq, [command, *where, *options])


def listed(broker: FoundBroker, names: TopicNames, *arguments: str) -> list[dict[str, Any]]:
    """What `dlq list` gives to machines."""
    result = run(broker, names, "list", "--json", "-", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def frames(broker: FoundBroker, names: TopicNames) -> list[Message]:
    """All that lies on the frames topic, read by another client."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "foreign", "enable.partition.eof": True})
    reader.assign([TopicPartition(names.frames, number, OFFSET_BEGINNING) for number in range(3)])
    messages: list[Message] = []
    ended = 0
    until_s = time.monotonic() + PATIENCE_S
    while ended < 3:
        assert time.monotonic() < until_s
        message = reader.poll(0.2)
        if message is not None and message.error() is None:
            messages.append(message)
        ended += message is not None and message.error() is not None
    reader.close()
    return messages


def test_list_says_which_record_could_not_be_used_and_why(broker: FoundBroker, names: TopicNames) -> None:
    """Every dead letter is told with the record's place, its camera, the reason and its size; a key may be anything."""
    buried(
        broker,
        names,
        letter(names),
        letter(names, partition=2, offset=3, key=None, stage="wire", reason="empty_key", message="the record has no key"),
        letter(names, partition=0, key=b"\xff", value=None, stage="wire", reason="bad_key"),
    )
    first, second, third = sorted(listed(broker, names), key=lambda each: -each["offset"] + each["partition"])
    assert {name: third[name] for name in ("partition", "offset", "camera", "stage", "reason", "message", "value_bytes")} == {
        "partition": 2,
        "offset": 3,
        "camera": None,
        "stage": "wire",
        "reason": "empty_key",
        "message": "the record has no key",
        "value_bytes": 13,
    }
    assert (first["camera"], first["value_bytes"], first["has_value"]) == ("\\xff", 0, False)
    assert (second["topic"], second["partition"], second["offset"]) == (names.frames, 1, 7)
    assert second["dead_letter"] == {"topic": names.dead_letters, "partition": 1, "offset": 0}
    assert abs(time.time() - time.mktime(time.strptime(second["written_at"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60


def test_people_read_a_table(broker: FoundBroker, names: TopicNames) -> None:
    """One row per dead letter, whole even where the screen has no width; how many of each reason stands below."""
    buried(broker, names, letter(names), letter(names, offset=8, reason="truncated", message="the [end] is missing"))
    result = run(broker, names, "list")
    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["dead-lettered", "record", "camera", "stage", "reason", "bytes", "message"]
    assert len(rows) == 2
    assert f"{names.frames}[1]@8" in rows[1]
    assert rows[1].split()[2:] == ["den", "decode", "truncated", "13", "the", "[end]", "is", "missing"]
    assert "2 of 2 dead letters: unreadable 1, truncated 1" in result.stderr


def test_filters_choose(broker: FoundBroker, names: TopicNames) -> None:
    """By reason, camera and time; a limit keeps the newest of what is left."""
    asyncio.run(create_topics(broker.connection, names, partitions=3))
    for number, (key, reason) in enumerate([(b"den", "truncated"), (b"yard", "truncated"), (b"den", "corrupt"), (b"hall", "x")]):
        asyncio.run(bury(broker, names, letter(names, offset=number, key=key, reason=reason)))
        time.sleep(0.01)
    whole = listed(broker, names)

    def offsets(*arguments: str) -> list[int]:
        return [each["offset"] for each in listed(broker, names, *arguments)]

    assert offsets() == [0, 1, 2, 3]
    assert offsets("--reason", "truncated") == [0, 1]
    assert offsets("--reason", "truncated", "--reason", "x") == [0, 1, 3]
    assert offsets("--camera", "den") == [0, 2]
    assert offsets("--camera", "den", "--reason", "corrupt") == [2]
    assert offsets("--limit", "3") == [1, 2, 3]
    assert offsets("--limit", "1", "--camera", "den") == [2]
    assert offsets("--limit", "9") == [0, 1, 2, 3]
    assert offsets("--since", whole[2]["written_at"]) == [2, 3]
    assert offsets("--since", to_rfc3339(time.time() + 60)) == []


def test_what_was_aborted_or_is_no_dead_letter_is_not_listed(broker: FoundBroker, names: TopicNames) -> None:
    """Only committed dead letters count; somebody else's record is said and passed."""
    buried(broker, names, letter(names))
    asyncio.run(bury(broker, names, letter(names, offset=99), commit=False))

    async def intrude() -> None:
        async with AIOKafkaProducer(**broker.connection.client_options()) as producer:
            await producer.send_and_wait(names.dead_letters, b"hello", b"den", partition=1)
            headers = [("__pawsight.errors.offset", b"twelve")]
            await producer.send_and_wait(names.dead_letters, b"hello", b"den", partition=1, headers=headers)

    asyncio.run(intrude())
    result = run(broker, names, "list", "--json", "-")
    assert [json.loads(line)["offset"] for line in result.stdout.splitlines()] == [7]
    assert "2 records" in result.stderr


def test_redriven_record_is_what_it_was(broker: FoundBroker, names: TopicNames) -> None:
    """Key, value, headers, partition and capture time are the record's own; one header more says which dead letter it was."""
    sent = (*HEADERS, ("ce_time", b"2026-01-01T00:00:00Z"))
    buried(broker, names, letter(names), letter(names, partition=2, key=None, value=b"no key", headers=sent))
    before_ms = time.time() * 1000
    result = run(broker, names, "redrive")
    assert result.exit_code == 0, result.output
    assert "2 of 2 dead letters are to be published" in " ".join(result.stderr.split())
    assert "2 dead letters published" in result.stdout
    first, second = sorted(frames(broker, names), key=Message.partition)
    assert (first.partition(), first.key(), first.value()) == (1, b"den", b"not a picture")
    assert tuple(first.headers()) == (*HEADERS, ("__pawsight.redriven", f"{names.dead_letters}[1]@0".encode()))
    assert first.timestamp()[1] == CAPTURED_MS  # its only clock
    assert (second.partition(), second.key(), second.value()) == (2, None, b"no key")
    assert tuple(second.headers()) == (*sent, ("__pawsight.redriven", f"{names.dead_letters}[2]@0".encode()))
    assert second.timestamp()[1] >= before_ms  # retention must not touch it


def test_only_what_was_chosen_is_redriven(broker: FoundBroker, names: TopicNames) -> None:
    """The filters of `list` choose what `redrive` publishes, in the order in which it was dead-lettered."""
    letters = [letter(names, offset=number, value=b"%d" % number, reason="ab"[number % 2]) for number in range(6)]
    buried(broker, names, *letters)
    assert run(broker, names, "redrive", "--reason", "b").exit_code == 0
    assert [message.value() for message in frames(broker, names)] == [b"1", b"3", b"5"]


def test_dry_run_publishes_nothing(broker: FoundBroker, names: TopicNames) -> None:
    """It says how many would go."""
    buried(broker, names, letter(names), letter(names, offset=8))
    result = run(broker, names, "redrive", "--dry-run", "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"planned": 2, "published": 0, "failed_again": 0, "left": {}}
    assert frames(broker, names) == []


def test_what_cannot_be_redriven_is_counted(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """References, empty records, other topics' and partitions that are gone stay, and so does the exit status say."""
    large = letter(names, value=b"L" * (8 * 2**20 + 64 * 2**10))
    full = letter(names, offset=9, value=b"F" * (8 * 2**20 - 100), headers=())
    assert dead_letter_record(large) == reference(large)
    buried(broker, names, large, full, letter(names, value=None), letter(names, topic="elsewhere"), letter(names, offset=4))

    async def from_a_larger_topic() -> None:
        odd = dead_letter_record(letter(names, partition=3))
        async with AIOKafkaProducer(**broker.connection.client_options()) as producer:
            headers = list(odd.headers)
            await producer.send_and_wait(names.dead_letters, odd.value, odd.key, partition=0, headers=headers)

    asyncio.run(from_a_larger_topic())
    assert {(each["value_bytes"], each["has_value"]) for each in listed(broker, names)} >= {(8 * 2**20 + 64 * 2**10, False)}
    target = tmp_path / "figures.json"
    result = run(broker, names, "redrive", "--json", str(target))
    assert result.exit_code == 1
    assert json.loads(target.read_text()) == {
        "planned": 2,
        "published": 1,
        "failed_again": 0,
        "left": {"no_value": 2, "other_topic": 1, "no_partition": 1, "too_large": 1},
    }
    assert "2 cannot be published: no value" in result.stderr
    assert [message.value() for message in frames(broker, names)] == [b"not a picture"]


def test_record_that_failed_again_is_redriven_once(broker: FoundBroker, names: TopicNames) -> None:
    """Its later dead letter stands for it, and names its place in turn; the list tells it from others."""
    buried(broker, names, letter(names))
    assert run(broker, names, "redrive").exit_code == 0
    (published,) = frames(broker, names)
    came_back = letter(names, offset=published.offset(), headers=tuple(published.headers()))
    asyncio.run(bury(broker, names, came_back))
    place = f"{names.dead_letters}[1]@0"
    assert [each["redriven"] for each in listed(broker, names)] == [None, place]
    assert place in run(broker, names, "list").stdout
    result = run(broker, names, "redrive", "--json", "-")
    assert json.loads(result.stdout) == {"planned": 1, "published": 1, "failed_again": 1, "left": {}}
    last = _by_offset(frames(broker, names))[-1]
    marks = [value for name, value in last.headers() if name == "__pawsight.redriven"]
    (second,) = {each["dead_letter"]["offset"] for each in listed(broker, names)} - {0}
    assert marks == [f"{names.dead_letters}[1]@{second}".encode()]


def test_settings_file_reaches_both_subcommands(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Its general keys and its [dlq] table are the defaults of `list` and `redrive`; the command line is stronger."""
    buried(broker, names, letter(names), letter(names, offset=8, reason="truncated"))
    file = tmp_path / "pawsight.toml"
    file.write_text(
        f'bootstrap_servers = "{broker.bootstrap_servers}"\nframes_topic = "{names.frames}"\n[dlq]\nreason = ["truncated"]\n'
    )

    def run_all(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["--settings", str(file), "dlq", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert [json.loads(line)["offset"] for line in run_all("list", "--json", "-").splitlines()] == [8]
    assert [json.loads(line)["offset"] for line in run_all("list", "--json", "-", "--reason", "unreadable").splitlines()] == [7]
    assert json.loads(run_all("redrive", "--dry-run", "--json", "-"))["planned"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--since", "yesterday"], "--since 'yesterday'", id="a time that is none"),
        pytest.param(["--frames-topic", "nowhere"], "nowhere.dlq", id="a topic that is not there"),
    ],
)
@pytest.mark.parametrize("command", ["list", "redrive"])
def test_wrong_use_is_a_sentence(
    broker: FoundBroker, names: TopicNames, command: str, arguments: Sequence[str], said: str
) -> None:
    """The value at fault is named."""
    asyncio.run(create_topics(broker.connection, names, partitions=1))
    result = run(broker, names, command, *arguments)
    assert result.exit_code == 1
    assert said in str(result.exception)


def _by_offset(messages: Sequence[Message]) -> list[Message]:
    return sorted(messages, key=Message.offset)
