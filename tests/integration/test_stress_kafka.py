"""`stress --through kafka` on a small artifact and a real broker: two workers, two cameras, every picture accounted for."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from pipeline.answers import Answers
from pipeline.calibration import Platt, log_odds
from pipeline.questions import Question, QuestionSet
from stream.clock import ClockRules
from stream.errors import SourceLost, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from tests.integration.compiled import compiled
from tests.integration.stress_world import TOLERANCE, Watched
from tests.integration.tiny_checkpoint import QUESTIONS, save_tiny
from tools.broker.find import FoundBroker, find_broker
from tools.broker.process import BrokerProcess
from tools.errors import CommandError
from tools.plan.profiles import read_profile
from tools.stress.command import stress
from tools.stress.kafka.cameras import Books, Cameras, Steady, producing
from tools.stress.kafka.observer import observing
from tools.stress.kafka.pictures import Shape, album
from tools.stress.kafka.rig import Pace, Rig
from tools.stress.kafka.rig import Watched as Load
from tools.stress.kafka.run import topics
from tools.stress.kafka.trial import attempt, beside
from tools.stress.kafka.workers import Workers, usage

ASKED = QuestionSet((Question("left", "is the left pixel bright?"), Question("right", "and the right one?")))
"""What `Watched` answers without an engine."""
ROOT = Path(__file__).parent.parent.parent

app = typer.Typer()
app.command()(stress)


def test_two_cameras_through_kafka(broker: FoundBroker, tmp_path: Path) -> None:
    """They hold; every picture is accounted for, every alert is its picture's, and nothing is left on the cluster."""
    artifact = compiled(save_tiny(tmp_path / "model"), tmp_path / "artifact")
    questions, profile = tmp_path / "questions.toml", tmp_path / "profile.json"
    rule = "start_after_s = 0.5\nstart_above = 0.001\nstop_below = 0.0\nmin_share = 0.0"  # every behaviour starts
    turned = '[question.calibration]\nmethod = "platt"\nslope = 2.0\nintercept = 1.0'
    blocks = [f'[[question]]\nbehavior = "{one.behavior}"\nask = "{one.ask}"\n{rule}\n{turned}' for one in QUESTIONS.questions]
    questions.write_text("\n".join(blocks))
    options = ["--artifact", str(artifact.folder), "--questions", str(questions), "--bootstrap-servers", broker.bootstrap_servers]
    grid = ["--servers", "1", "--clients", "4", "--seconds", "0.5", "--profile", str(profile), "--json", "-"]
    load = ["--through", "kafka", "--cameras", "2", "--size", "96x64", "--as", "segments", "--fps", "4"]
    fleet = ["--workers", "2", "--partitions", "2"]  # one each, so that both take part
    result = CliRunner().invoke(app, [*options, *grid, *load, *fleet], catch_exceptions=False)
    said = json.loads(result.stdout)["kafka"]
    assert result.exit_code == 0, said
    assert {"cameras", "fps", "p50_ms", "p99_ms", "cpu_s_per_1000_frames"} <= said.keys()
    kept = said["conservation"]
    assert kept["records"] == kept["committed"] == kept["read"] > 0 == kept["dead_letters"]
    assert kept["asked"] == kept["due"] == 2 * kept["records"], "a segment of four pictures has two that are due"
    assert said["alerts_checked"] >= len(QUESTIONS.questions)
    assert said["foreign_alerts"] == said["errors"] == 0
    assert said["scene_pairs"] == 120 >= said["scene_pairs_told_apart"] > 0
    assert _left(broker) == []
    assert said["cameras"] in (1, 2), f"so few are held even beside three times as many busy processes as cores: {said['trials']}"
    assert 0 < said["p50_ms"] <= said["p99_ms"]
    assert all(said["cpu_s_per_1000_frames"][part] >= 0 for part in ("decode", "device", "transaction", "total"))
    through = read_profile(profile).kafka
    assert through is not None
    assert through.worker_fps == said["cameras"], "two pictures a second of each camera, between two workers"


def _left(broker: FoundBroker) -> list[str]:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    groups = [each.group_id for each in admin.list_consumer_groups().result(30).valid]
    return [name for name in (*admin.list_topics(timeout=30).topics, *groups) if name.startswith("stress-")]


def test_what_was_never_created_is_no_complaint(broker: FoundBroker, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster that refuses topics, or has lost one: all others are deleted, and the group that nobody joined is not missed."""
    theirs = replace(broker, own=None)
    with pytest.raises(StreamRefused, match="frames was not created"), topics(theirs, -5):
        pass
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    with topics(theirs, 2) as names:
        admin.delete_topics([names.alerts])[names.alerts].result(30)
    assert _left(broker) == []
    assert "left on the cluster" not in capsys.readouterr().err


def test_a_broker_that_cannot_be_had_is_told_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even before the artifact is looked for."""
    options = ["--artifact", str(tmp_path / "none"), "--through", "kafka"]
    with pytest.raises(SourceLost, match=r"no Kafka broker can be used at 127\.0\.0\.1:1\."):
        CliRunner().invoke(app, [*options, "--bootstrap-servers", "127.0.0.1:1"], catch_exceptions=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="no Kafka broker: `java` was not found on PATH"):
        CliRunner().invoke(app, options, catch_exceptions=False)


@pytest.mark.parametrize("form", ["stills", "segments"])
def test_cameras_foresee_what_is_asked(broker: FoundBroker, names: TopicNames, form: str) -> None:
    """Of eight pictures a second two are due, and each of those is in the books under its capture time."""
    engine = Watched(buckets=(1,))
    shape = Shape(form, (64, 64), Fraction(8))
    shown = album(engine, shape, 32, (ASKED, TOLERANCE), lambda _done, _total: None)
    books = Books([[], []])

    async def publish() -> None:
        await create_topics(broker.connection, names, partitions=2)
        over, clock = asyncio.Event(), Steady()
        async with producing(broker.connection) as producer:
            cameras = Cameras(producer, names.frames, books, shown, ClockRules(sample_fps=2.0))
            asyncio.get_running_loop().call_later(2.5, over.set)
            await cameras.publish(3, clock, clock.now_s(), over)

    asyncio.run(publish())
    assert [len(sent) > 0 for sent in books.partitions] == [True, True]
    assert books.asked == len(books.pictures) == pytest.approx(books.records * shape.pictures / 4, abs=3)
    assert {camera for camera, _ in books.pictures} == {"stress-000000", "stress-000001", "stress-000002"}
    assert all(later.newest_s >= sooner.newest_s for sent in books.partitions for sooner, later in pairwise(sent))


def test_a_broker_that_dies_ends_the_run_with_a_sentence(broker: FoundBroker, names: TopicNames) -> None:
    """Whatever waits in the producer, which would try for ever: within seconds, with the end of the broker's log."""
    assert broker.own is not None, "so one of our own can be started"
    shape = Shape("stills", (64, 64), Fraction(8))
    shown = album(Watched(buckets=(1,)), shape, 32, (ASKED, TOLERANCE), lambda _done, _total: None)
    books, rules, pace = Books([[], []]), ClockRules(sample_fps=2.0), Pace.of(1.0, 0.1, 0.0, 0.5)

    async def load(connection: KafkaConnection, process: BrokerProcess, workers: Workers) -> None:
        await create_topics(connection, names, partitions=2)
        async with producing(connection) as producer, observing(connection, names, books, shown) as observer:
            cameras = Cameras(producer, names.frames, books, shown, rules)
            async with beside(observer.run()) as reading:
                asyncio.get_running_loop().call_later(1.0, os.kill, process.pid, signal.SIGKILL)
                await attempt(Rig(cameras, Load(observer, reading, workers, process), rules, pace), 2)

    with find_broker(None) as found, Workers(0, []) as nobody:
        assert found.own is not None
        with pytest.raises(CommandError, match=r"the broker ended by itself \(exit status -9\)\. The end of its log"):
            asyncio.run(asyncio.wait_for(load(found.connection, found.own.process, nobody), 60))


@pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")  # the leash that was never tied
def test_a_worker_that_cannot_be_started_leaves_nothing_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither processes nor logs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workers = Workers(2, ["scenes", "--out", str(tmp_path / "videos"), "--cameras", "64"])
    (folder,) = tmp_path.iterdir()
    (folder / "worker-2.log").mkdir()
    with pytest.raises(IsADirectoryError):
        workers.__enter__()
    assert [usage(pid) for pid in workers.pids] == [None]
    assert not folder.exists()


PROBE = """
import json, os, time
from dataclasses import asdict
from tools.assembly import named_threads
from tools.stress.kafka.workers import cpu_of

def burn(seconds):
    begun_s = time.thread_time()
    while time.thread_time() - begun_s < seconds:
        pass

before = cpu_of(os.getpid())
with named_threads(1, "decode") as decoders, named_threads(1, "device") as device:
    decoders.submit(burn, 0.3).result()
    device.submit(burn, 0.1).result()
    spent = cpu_of(os.getpid()) - before
print(json.dumps(asdict(spent)))
"""
"""A process as a worker is: it burns 0.3 s in a decoder thread, 0.1 s in the device's, and next to nothing in its first."""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="NOT TESTED HERE: only Linux tells the time of threads")
def test_decoding_is_told_from_the_rest_by_its_threads_names() -> None:
    """To the hundredths of a second in which Linux tells it."""
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, capture_output=True, text=True, check=True)
    spent = json.loads(done.stdout)
    assert spent["decode"] == pytest.approx(0.3, abs=0.03)
    assert spent["device"] == pytest.approx(0.1, abs=0.03)
    assert spent["transaction"] <= 0.05


def test_answers_of_an_album_are_those_of_its_decoded_pictures() -> None:
    """The same model, asked by the first pixels of each picture, says the same again and no two scenes look alike.

    Its answer may be off by the tolerance before it is calibrated, which on a steep curve is much after it.
    """
    asked: list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] = []

    class Noting(Watched):
        def answer(self, pixels_BSS3: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], frames: int) -> Answers:
            asked.append(pixels_BSS3[0].copy())
            return super().answer(pixels_BSS3, frames)

    shape = Shape("segments", (64, 48), Fraction(5))
    shown = album(Noting(buckets=(1,)), shape, 32, (ASKED, TOLERANCE), lambda _done, _total: None)
    assert len(asked) == 5 * len(shown.records)
    assert len({picture.tobytes() for picture in asked[::5]}) == len(shown.records)
    middle = sorted(range(len(asked)), key=lambda number: int(asked[number][0, 1, 0]))[len(asked) // 2]
    at = asked[middle][:1, 1, 0] / np.float32(255)
    steep = Platt(100.0, -100.0 * float(log_odds(at)[0]))
    calibrated = QuestionSet((ASKED.questions[0], replace(ASKED.questions[1], calibration=steep)))
    turned = album(Watched(buckets=(1,)), shape, 32, (calibrated, TOLERANCE), lambda _done, _total: None)
    for number, picture in enumerate(asked):
        left, right = (picture[0, :2, 0] / np.float32(255)).tolist()
        assert not shown.is_foreign(divmod(number, 5), "left", left)
        for off in (-0.9, 0.0, 0.9):
            assert not turned.is_foreign(divmod(number, 5), "right", float(steep(np.float32([right + off * TOLERANCE]))[0]))
    assert turned.is_foreign(divmod(middle, 5), "right", float(steep(at + np.float32(2 * TOLERANCE))[0]))
