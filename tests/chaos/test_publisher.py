"""The oracle's cameras on a real broker: a publisher that is killed and started again, and readers of what lies there."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream.alerts import AlertContext, binary
from stream.clock import ClockState
from stream.debounce import lose, observe
from stream.kafka.topology import TopicNames, create_topics
from stream.types import Answer, Event, Observation, Position
from tests.chaos.oracle_world import T0_S, alert, sent_number, stream_rules
from tools.broker.find import FoundBroker
from tools.chaos.expected import Sent
from tools.chaos.judge import delivered, judge, replayed
from tools.chaos.order import OrderReader
from tools.chaos.reading import read_all, unsettled
from tools.chaos.records import FRAMES_HEADER, sent
from tools.chaos.truth import RULES, UNITS, Script

SCRIPT = Script(seed=5, base_s=T0_S, cameras=7, partitions=3, leaving=1, leave_at=60)
CAMERAS = {camera.name: camera for camera in SCRIPT.plan()}
SPEED = 5.0
PICTURES = 40 * SCRIPT.cameras
"""Published by each process before it is ended."""
CONTEXT = AlertContext("/pawsight/oracle", "oracle", "0" * 64, "0" * 64)


@contextmanager
def publishing(broker: FoundBroker, topic: str, log: Path) -> Iterator["subprocess.Popen[str]"]:
    """The publisher as a process that has published for a while."""
    told = {
        "name": "publisher",
        "folder": str(log.parent),
        "bootstrap_servers": broker.bootstrap_servers,
        "topic": topic,
        "script": SCRIPT.as_json(),
        "speed": SPEED,
    }
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "tools.chaos.publisher", json.dumps(told)], stdout=out, text=True)
        try:
            deadline_s = time.monotonic() + 60
            while not any(line["event"] == "progress" and line["pictures"] > PICTURES for line in lines(log)):
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            yield process
        finally:
            process.kill()
            process.wait()


def lines(log: Path) -> list[dict[str, Any]]:
    """What it printed, whole lines."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_a_killed_publisher_goes_on_a_little_before_the_end(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Under new stream uuids, leaving out no picture of stills and segments; one that left for good stays away."""
    asyncio.run(create_topics(broker.connection, names, partitions=SCRIPT.partitions))
    for life in range(2):
        with publishing(broker, names.frames, tmp_path / f"{life}.log") as process:
            process.kill()
    with publishing(broker, names.frames, tmp_path / "last.log") as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    stopped = lines(tmp_path / "last.log")[-1]
    assert stopped["event"] == "stopped"
    assert stopped["records"] == stopped["acknowledged"]

    numbers, records = asyncio.run(on_topic(broker, names.frames))
    for name, camera in CAMERAS.items():
        here = numbers[name]
        streams = {record.stream for record in records[name]}
        if camera.number == SCRIPT.cameras - 1:
            assert SCRIPT.leave_at - 10 <= max(here) < SCRIPT.leave_at  # killed near its end it does not come back
            continue
        assert len(streams) >= (4 if camera.form in UNITS else 3)
        assert max(here) > 100
        if camera.form in UNITS:
            assert records[name][-1].unit is None, "nothing lets the last pictures out of a decoder"
        else:
            assert set(here) == set(range(max(here) + 1))

    assert sum(len(here) - len(set(here)) for here in numbers.values()) > 0, "no picture was repeated"
    replay = asyncio.run(replayed(broker.connection, names.frames, SCRIPT))
    assert replay.totals["records"] == sum(map(len, records.values()))
    assert replay.totals["late"] > 0


async def on_topic(broker: FoundBroker, topic: str) -> tuple[dict[str, list[int]], dict[str, list[Sent]]]:
    """Numbers of the pictures and records, by camera."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    records: defaultdict[str, list[Sent]] = defaultdict(list)
    async for record in read_all(broker.connection, topic, "read_uncommitted"):
        one = sent(record, CAMERAS)
        assert one is not None
        first = sent_number(record)
        numbers[one.camera] += range(first, first + int(dict(record.headers)[FRAMES_HEADER]))
        records[one.camera].append(one)
    return numbers, records


def events(pictures: int) -> list[Event]:
    """What some pictures of camera 0 lead to."""
    camera, rules = SCRIPT.plan()[0], stream_rules(SCRIPT.rules())
    state, told = None, []
    for n in range(pictures):
        at_s = camera.captured_at_s(n)
        said = {rule.behavior: Answer(0.9 if n % 2 else 0.1, 1.0) for rule in RULES}
        clock = ClockState(at_s, at_s, None)
        state, more = observe(state, Observation(Position("frames", 0, n), camera.name, at_s, said, clock, None, 0.0), rules)
        told += more
    assert state is not None
    return [*told, *lose(state, rules)[1]]


@pytest.mark.asyncio
async def test_readers_see_what_was_committed_and_name_what_is_open(broker: FoundBroker, names: TopicNames) -> None:
    """The follower while it happens, the others at the end."""
    await create_topics(broker.connection, names, partitions=2)
    told = events(40)
    follower = OrderReader(broker.connection, names.alerts, steady=CAMERAS)
    following = asyncio.create_task(follower.follow())
    began_s = time.time()
    async with AIOKafkaProducer(**broker.connection.client_options(), transactional_id=names.group) as producer:
        async with producer.transaction():
            await send(producer, names.alerts, told[:20])
        await producer.begin_transaction()
        await send(producer, names.alerts, told[:5])
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, names.alerts, told[20:])
        assert await unsettled(broker.connection, names.alerts) == []
        assert [each.alert for each in await delivered(broker.connection, names.alerts)] == [
            replace(alert(event), questions=CONTEXT.questions) for event in told
        ]
        await producer.begin_transaction()
        await send(producer, names.alerts, told[:5])
        assert len(await unsettled(broker.connection, names.alerts)) == 1
        await producer.commit_transaction()
    async with asyncio.timeout(20):
        while len(follower.watch.violations) < 5:  # noqa: ASYNC110  (the follower has nothing to wait for)
            await asyncio.sleep(0.05)
    following.cancel()
    await asyncio.wait([following])
    assert len(follower.watch.violations) == 5
    assert len(follower.arrivals_s[0]) == len(told) + 5
    assert 0 < follower.longest_pause_s(began_s, time.time()) < 20

    verdict = await judge(broker.connection, names.alerts, await replayed(broker.connection, names.frames, SCRIPT), SCRIPT)
    assert (verdict.lost, verdict.spurious, verdict.duplicated) == (0, len(told), 5)


async def send(producer: AIOKafkaProducer, topic: str, told: list[Event]) -> None:
    """Events as the worker writes them."""
    for event in told:
        record = binary(event, CONTEXT)
        await producer.send_and_wait(topic, record.value, key=record.key, headers=record.headers, partition=0)
