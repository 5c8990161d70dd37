"""SIGHUP on a real `worker` process: an edited questions file is taken, one that cannot be taken leaves the old one in force."""

import json
import shutil
import signal
import time
from pathlib import Path
from subprocess import Popen

import pytest

from stream.kafka.topology import TopicNames, create_topics
from tests.integration.compiled import compiled
from tests.integration.restart_world import Group
from tests.integration.test_worker_command import running
from tests.integration.tiny_checkpoint import save_tiny
from tests.integration.worker_world import BLACK
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

PATIENCE_S = 60.0
ALWAYS = """
[[question]]
behavior = "{behavior}"
ask = "is the dog {behavior}?"
start_above = 1e-30
stop_below = 0.0
start_after_s = 0.0
min_share = 0.0
"""
"""A question whose every answer is yes."""


def questions(revision: int, *behaviors: str, lost_after_s: float = 3000.0) -> str:
    """A questions file."""
    stream = f"[stream]\nlost_after_s = {lost_after_s}\n"
    return f"revision = {revision}\n{stream}" + "".join(ALWAYS.format(behavior=each) for each in behaviors)


def wait_for(log: Path, words: str, process: "Popen[str]") -> None:
    """Wait until the worker has said something."""
    until_s = time.monotonic() + PATIENCE_S
    while words not in " ".join(log.read_text(encoding="utf-8").split()):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < until_s, (words, log.read_text(encoding="utf-8"))
        time.sleep(0.05)


def wait_for_handler(number: signal.Signals, process: "Popen[str]") -> None:
    """Wait until a process catches a signal, which it tells in the mask `SigCgt` of proc(5)."""
    until_s, status = time.monotonic() + PATIENCE_S, Path(f"/proc/{process.pid}/status")
    while not int(status.read_text().partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1:
        assert process.poll() is None
        assert time.monotonic() < until_s
        time.sleep(0.005)


async def told(group: Group, count: int) -> list[tuple[str, str, str]]:
    """Wait for so many behaviour events; which, what and why."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        found = []
        for message in await group.read(group.names.alerts):
            data, kind = json.loads(message.value()), dict(message.headers())["ce_type"].decode().rpartition(".")[2]
            if "behavior" in data:
                found.append((data["behavior"], kind, data.get("reason", "")))
        if len(found) >= count:
            return found
        assert time.monotonic() < until_s, found


async def test_sighup_takes_an_edited_file_and_refuses_a_wrong_one(
    broker: FoundBroker, names: TopicNames, tmp_path: Path
) -> None:
    """A mistake, a sampling that needs a restart, a forgotten revision: each with its sentence; then a good file, and SIGTERM."""
    await create_topics(broker.connection, names, partitions=1)
    group, file, log = Group(broker, names), tmp_path / "pets.toml", tmp_path / "worker.log"
    file.write_text(questions(1, "sitting", "eating"), encoding="utf-8")
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames, "--alerts-topic", names.alerts]
    started = [("sitting", "started", ""), ("eating", "started", "")]
    with running(["worker", *where, "--group", names.group, "--questions", str(file)], log) as worker:
        await group.publish([BLACK] * 2)
        assert await told(group, 2) == started
        for wrong, words in (
            ("[[question", "is no TOML"),
            (questions(2, "sitting", lost_after_s=4000.0), "stream.lost_after_s has changed"),
            (questions(1, "sitting"), "revision is still 1: raise it"),
        ):
            file.write_text(wrong, encoding="utf-8")
            worker.send_signal(signal.SIGHUP)
            wait_for(log, words, worker)
        await group.publish([BLACK] * 2, 2)
        assert await told(group, 2) == started
        file.write_text(questions(2, "sitting"), encoding="utf-8")
        worker.send_signal(signal.SIGHUP)
        wait_for(log, "asking revision 2", worker)
        assert await told(group, 3) == [*started, ("eating", "ended", "question_removed")]
        await group.publish([BLACK] * 2, 4)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, log.read_text(encoding="utf-8")
    assert log.read_text(encoding="utf-8").count("not reloaded") == 3
    assert len(await told(group, 3)) == 3
    assert (await group.record()).questions.number == 2


async def test_a_worker_needs_nothing_but_its_artifact_and_heeds_a_sighup_that_came_early(
    broker: FoundBroker, names: TopicNames, tmp_path: Path
) -> None:
    """The checkpoint is deleted and transformers cannot be imported; the signal comes while the worker is still starting."""
    compiled(save_tiny(tmp_path / "model"), tmp_path / "artifact")
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "transformers.py").write_text('raise ImportError("transformers is blocked")\n')
    await create_topics(broker.connection, names, partitions=1)
    group, file, log = Group(broker, names), tmp_path / "pets.toml", tmp_path / "worker.log"
    file.write_text(questions(1, "there"), encoding="utf-8")
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames, "--alerts-topic", names.alerts]
    what = ["--group", names.group, "--questions", str(file), "--artifact", str(tmp_path / "artifact")]
    with running(["worker", *where, *what], log, PYTHONPATH=str(tmp_path / "blocked")) as worker:
        wait_for_handler(signal.SIGHUP, worker)
        assert "working on" not in log.read_text(encoding="utf-8")
        worker.send_signal(signal.SIGHUP)
        wait_for(log, "asking revision 1", worker)
        await group.publish([BLACK] * 2)
        assert await told(group, 1) == [("there", "started", "")]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, log.read_text(encoding="utf-8")
