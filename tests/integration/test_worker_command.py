"""The commands together, as an operator would start them: topics, worker, replay, alerts, and a SIGTERM."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.kafka.topology import TopicNames
from tools.broker.find import FoundBroker
from tools.scenes.planning import plan
from tools.scenes.video import render_video

ROOT = Path(__file__).parent.parent.parent


def command(*arguments: str) -> list[str]:
    """A command line of ours."""
    return [sys.executable, "-m", "tools", *arguments]


@contextmanager
def running(arguments: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command in the background, its notices in a file; killed if the test leaves it behind."""
    with log.open("w", encoding="utf-8") as notices:
        process = subprocess.Popen(
            command(*arguments),
            cwd=ROOT,
            env=os.environ | environment,  # noqa: TID251  (a child's environment, not ours)
            stdout=subprocess.PIPE,
            stderr=notices,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_serves_and_drains_at_sigterm(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Refused without its topics; then a replayed minute becomes events, and SIGTERM ends it cleanly with exit status 0."""
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames]
    group = [*where, "--alerts-topic", names.alerts, "--group", names.group]
    refused = subprocess.run(command("worker", *group), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (refused.returncode, "tools/run topics" in refused.stderr.replace("\n", " ")) == (2, True), refused.stderr

    scene = min(plan(2, 3), key=lambda scene: scene.scale)
    video = tmp_path / f"{scene.camera}.mp4"
    render_video(scene, video)
    subprocess.run(command("topics", *group, "--partitions", "2"), cwd=ROOT, check=True, capture_output=True)
    subprocess.run(command("replay", str(video), *where, "--speed", "max"), cwd=ROOT, check=True, capture_output=True)
    reader = ["alerts", *where[:2], "--alerts-topic", names.alerts, "--from", "earliest", "--json", "-"]
    with running(["worker", *group], tmp_path / "worker.log") as worker, running(reader, tmp_path / "alerts.log") as alerts:
        assert alerts.stdout is not None
        seen = json.loads(alerts.stdout.readline())
        assert (seen["type"], seen["data"]["camera"]) == ("pawsight.camera.seen", scene.camera)
        started = json.loads(alerts.stdout.readline())
        assert started["type"] == "pawsight.behavior.started"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, (tmp_path / "worker.log").read_text(encoding="utf-8")
    assert "what was taken in is delivered" in (tmp_path / "worker.log").read_text(encoding="utf-8")


def test_a_worker_that_forgets_cameras_too_early_is_refused(broker: FoundBroker, names: TopicNames, tmp_path: Path) -> None:
    """Cameras are remembered for a week, and a topic keeps records for a week where nobody says otherwise."""
    questions = tmp_path / "questions.toml"
    asked = '[[question]]\nbehavior = "sleeping"\nask = "is the cat sleeping?"\n'
    questions.write_text(f"[stream]\nforget_after_s = {7 * 86_400}\n{asked}", encoding="utf-8")
    group = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames]
    group += ["--alerts-topic", names.alerts, "--group", names.group]
    subprocess.run(command("topics", *group, "--partitions", "1"), cwd=ROOT, check=True, capture_output=True)
    worker = command("worker", *group, "--questions", str(questions))
    refused = subprocess.run(worker, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    said = " ".join(refused.stderr.split())
    assert (refused.returncode, "keeps frames for 604800 s" in said, "raise forget_after_s" in said) == (2, True, True), said
