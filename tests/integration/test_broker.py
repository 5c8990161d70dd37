"""A real Apache Kafka as the tools start it: it answers when they say so, keeps or forgets its data, and never outlives them."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stream.errors import SourceLost
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics, partition_count
from tests.integration.kafka_world import PATIENCE_S, joined, publish
from tools.broker.command import broker as broker_command
from tools.broker.find import FoundBroker, find_broker
from tools.broker.jars import kafka_version, resolve_jars
from tools.broker.launch import Broker, Launch
from tools.broker.probe import answers
from tools.errors import CommandError

PROGRAM = "import typer; from tools.broker.command import broker; typer.run(broker)"


def test_named_version_answers_at_once(broker: FoundBroker, names: TopicNames) -> None:
    """The broker is the version that the pom pins, and takes topics from its first moment on."""
    assert broker.version == kafka_version()
    assert f"Kafka version: {broker.version}" in (broker.own.folder / "broker.log").read_text() if broker.own else False
    assert set(asyncio.run(create_topics(broker.connection, names, partitions=1))) == {
        names.frames,
        names.alerts,
        names.dead_letters,
        names.state,
    }


def test_data_is_kept_and_no_broker_outlives_its_tool(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Killed with -9 the tool takes its broker along; started on the same folder the records are there; Ctrl-C ends with 0."""
    assert broker.own is not None
    port = _free_port()
    connection = KafkaConnection(f"127.0.0.1:{port}")
    with _command(port, tmp_path, names) as tool:
        asyncio.run(publish(connection, names.frames, [b"kept"]))
        tool.kill()
        tool.wait()
        _until_gone(port)
    with _command(port, tmp_path, names) as tool:
        assert asyncio.run(_read_one(connection, names)) == b"kept"
        tool.send_signal(signal.SIGINT)
        assert tool.wait(60) == 0
        assert not answers("127.0.0.1", port)


def test_named_broker_is_used(broker: FoundBroker, names: TopicNames) -> None:
    """With --bootstrap-servers nothing is started: the topics are created there and the command returns."""
    app = typer.Typer()
    app.command()(broker_command)
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--group", names.group]
    options = [*where, "--frames-topic", names.frames, "--alerts-topic", names.alerts, "--partitions", "5"]
    result = CliRunner().invoke(app, options)
    assert (result.exit_code, result.stdout) == (0, f"ready: bootstrap servers {broker.bootstrap_servers}\n")
    assert asyncio.run(partition_count(broker.connection, names.frames)) == 5


def test_broker_that_is_not_there_is_named() -> None:
    """A named broker that does not answer is an error with its address, not a reason to start another."""
    with pytest.raises(SourceLost, match=r"127\.0\.0\.1:1\b.*tools/run broker"), find_broker("127.0.0.1:1"):
        pass


def test_port_in_use_is_named(tmp_path: Path) -> None:
    """A port that something listens on is refused before anything is started, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"port {port} is taken.*--port"), Broker(Launch(tmp_path, port), "none"):
            pass


def test_without_java_the_ways_to_a_broker_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine without Java one sentence lists an existing broker, the packages, and a container."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError) as raised, find_broker(None):
        pass
    for way in ("`java` was not found", "--bootstrap-servers HOST:PORT", "openjdk", "docker run", "apache/kafka"):
        assert way in str(raised.value)


def test_without_maven_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Java alone is not enough: Maven is named as what is missing."""
    java = shutil.which("java")
    assert java is not None
    (tmp_path / "java").symlink_to(java)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="`mvn` was not found"), find_broker(None):
        pass


def test_broker_that_does_not_start_shows_why(tmp_path: Path) -> None:
    """Without its classes Java ends at once: its own words are in the error, and no temporary folder is left."""
    with pytest.raises(CommandError, match="StorageTool"), Broker(Launch(libs=tmp_path), "none"):
        pass


def test_failed_maven_leaves_no_half_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When Maven cannot fetch, its last lines are shown and the cache stays empty, so that the next call begins anew."""
    home = tmp_path / "home" / ".m2"
    home.mkdir(parents=True)
    (home / "settings.xml").write_text("<settings><offline>true</offline></settings>")
    monkeypatch.setenv("MAVEN_OPTS", f"-Duser.home={home.parent}")
    with pytest.raises(CommandError, match=rf"could not fetch Apache Kafka {kafka_version()}.*\n.*ERROR"):
        resolve_jars(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@contextmanager
def _command(port: int, data_dir: Path, names: TopicNames) -> Iterator[subprocess.Popen[str]]:
    """Run `broker` as its own process, until it says that it is ready."""
    where = ["--port", str(port), "--data-dir", str(data_dir), "--partitions", "1", "--group", names.group]
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *where, "--frames-topic", names.frames]
    with subprocess.Popen([*command, "--alerts-topic", names.alerts], stdout=subprocess.PIPE, text=True) as tool:
        assert tool.stdout is not None
        ready = tool.stdout.readline()
        assert ready.startswith(f"ready: Apache Kafka {kafka_version()}, bootstrap servers 127.0.0.1:{port}"), ready
        try:
            yield tool
        finally:
            tool.kill()


async def _read_one(connection: KafkaConnection, names: TopicNames) -> bytes | None:
    async with joined(connection, names) as member:
        return (await member.watch(lambda seen: seen.records)).records[0].value


def _until_gone(port: int) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while answers("127.0.0.1", port):
        assert time.monotonic() < until_s, "the broker outlived its tool"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
