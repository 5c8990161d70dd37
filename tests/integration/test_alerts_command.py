"""`tools/run alerts` on a real broker: committed events only, one per line, and a clean end."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from stream.alerts import binary, structured
from stream.errors import StreamRefused
from stream.kafka.topology import TopicNames, create_topics
from stream.types import Event
from tests.unit.alert_samples import CONTEXT, sample_events
from tools.alerts import alerts, subscribe
from tools.broker.find import FoundBroker

app = typer.Typer()
app.command()(alerts)

EVENTS = sample_events()


async def _publish(broker: FoundBroker, names: TopicNames, events: list[Event]) -> None:
    """Write events in a committed transaction, after one that was aborted and a record that is no event."""
    await create_topics(broker.connection, names, partitions=2)
    options = broker.connection.client_options()
    async with AIOKafkaProducer(**options, transactional_id=names.group, enable_idempotence=True) as producer:
        await producer.begin_transaction()
        key, value, headers = binary(events[0], CONTEXT)
        await producer.send_and_wait(names.alerts, value, key, partition=0, headers=headers)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(names.alerts, b"no event", b"den", partition=0)
            for event in events:
                key, value, headers = binary(event, CONTEXT)
                await producer.send_and_wait(names.alerts, value, key, partition=0, headers=headers)


def _options(broker: FoundBroker, names: TopicNames) -> list[str]:
    return ["--bootstrap-servers", broker.bootstrap_servers, "--alerts-topic", names.alerts]


def test_json_lines_are_the_committed_events(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """--json writes each committed event as one CloudEvent in structured form, in order; what is no event is named and passed."""
    asyncio.run(_publish(broker, names, EVENTS))
    target = tmp_path / "events.jsonl"
    result = CliRunner().invoke(app, [*_options(broker, names), "--until-end", "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in target.read_text().splitlines()] == [structured(event, CONTEXT) for event in EVENTS]
    assert "is passed" in result.stderr


def test_people_read_one_line_per_event(broker: FoundBroker, names: TopicNames) -> None:
    """Without --json every event is one line with its time, camera, what happened and the behaviour."""
    asyncio.run(_publish(broker, names, EVENTS))
    result = CliRunner().invoke(app, [*_options(broker, names), "--until-end"])
    lines = result.stdout.splitlines()
    assert len(lines) == len(EVENTS)
    for text, event in zip(lines, EVENTS, strict=True):
        assert event.camera_id in text
        assert event.kind in text


@pytest.mark.asyncio
async def test_latest_gives_what_comes_after_the_subscription(broker: FoundBroker, names: TopicNames) -> None:
    """A subscription from the latest on gives events as they come, and nothing from before."""
    await _publish(broker, names, EVENTS[:1])
    events = subscribe(broker.connection, names.alerts)
    arrival = asyncio.ensure_future(anext(events))
    async with AIOKafkaProducer(**broker.connection.client_options()) as producer:
        key, value, headers = binary(EVENTS[1], CONTEXT)
        while not arrival.done():  # the moment at which a subscription is in place is the broker's
            await producer.send_and_wait(names.alerts, value, key, partition=1, headers=headers)
            await asyncio.wait([arrival], timeout=0.1)
    assert arrival.result() == structured(EVENTS[1], CONTEXT)
    await events.aclose()


@pytest.mark.asyncio
async def test_missing_topic_is_named(broker: FoundBroker, names: TopicNames) -> None:
    """A topic that does not exist is refused with the command that creates it."""
    with pytest.raises(StreamRefused, match=rf"{names.alerts}.*tools/run topics"):
        await anext(subscribe(broker.connection, names.alerts))


def test_interrupt_is_a_clean_end(broker: FoundBroker, names: TopicNames) -> None:
    """Ctrl-C ends a subscriber that waits for events with exit status 0 and no trace of an error."""
    asyncio.run(_publish(broker, names, EVENTS[:1]))
    program = "import typer; from tools.alerts import alerts; typer.run(alerts)"
    command = [sys.executable, "-W", "error", "-c", program, *_options(broker, names), "--from", "earliest", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == EVENTS[0].event_id
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "never retrieved" not in errors
