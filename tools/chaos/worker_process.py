"""One worker of a chaos run as a process of its own: the real worker, source and delivery around the oracle engine.

Started as `python -m tools.chaos.worker_process JSON`; tells what it does in its status file.
"""

import asyncio
import gc
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stream.alerts import AlertContext
from stream.answering import Reload
from stream.cameras import CameraRegistry
from stream.clock import ClockRules
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.decode.trial import Trial
from stream.errors import StreamError
from stream.intake import IntakeConfig
from stream.kafka.connection import KafkaConnection
from stream.kafka.consumer import SourceConfig
from stream.kafka.exactly_once import ExactlyOnce
from stream.kafka.partition_client import DeliveryConfig
from stream.kafka.source import KafkaSource
from stream.kafka.topology import TopicNames
from stream.protocol import Policy
from stream.state_records import QuestionRevision
from stream.worker import Ports, Worker, WorkerConfig
from tools.chaos.at_least_once import AtLeastOnceSink
from tools.chaos.crashing_port import CrashingPort
from tools.chaos.engine import OracleEngine
from tools.chaos.leaks import Leaks, descriptors, opened
from tools.chaos.pictures import SIZE
from tools.chaos.question_sets import QuestionSet
from tools.chaos.status import FINDING, Files, Status
from tools.chaos.truth import SAMPLE_FPS, Script

T = TypeVar("T")

log = logging.getLogger(__name__)

STATUS_EVERY_S = 0.02
STATUS_AT_LEAST_EVERY_S = 1.0
DECODE_THREADS = 2
SETTLES_S = 0.1
"""What a task takes to end whose connection was closed."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the run tells a worker."""

    name: str
    """Kafka client id."""
    folder: str
    """Of its status files."""
    bootstrap_servers: str
    frames: str
    alerts: str
    group: str
    script: dict[str, Any]
    """As `Script.as_json`."""
    session_s: float
    max_poll_interval_s: float
    deadline_s: float
    batch_s: float
    """Time that the device takes for a batch."""
    device_timeout_s: float
    decode_timeout_s: float
    """A decoder that takes longer stands still."""
    max_wait_s: float
    forget_after_s: float
    is_naive: bool
    """Deliver as it was before there was exactly-once."""
    trial_s: float
    """Time limit of a record that is tried aside."""
    silence_grace_s: float
    """How long a partition must have been proven live before silence counts."""
    policy: dict[str, bool]
    """What an operator accepts."""

    @property
    def files(self) -> Files:
        """Status files."""
        return Files(Path(self.folder), self.name)


def debounce_rules(told: Told, asked: QuestionSet) -> DebounceRules:
    """Judge answers by the rules of their questions."""
    rules = asked.judged(Script.from_json(told.script))
    return DebounceRules.of(
        (
            DebounceRule(
                rule.behavior,
                rule.start_above,
                rule.stop_below,
                start_after_s=rule.start_after_s,
                stop_after_s=rule.stop_after_s,
                cooldown_s=rule.cooldown_s,
                max_duration_s=rule.max_duration_s,
            )
            for rule in rules.behaviors
        ),
        max_gap_s=rules.max_gap_s,
        lost_after_s=rules.lost_after_s,
        forget_after_s=told.forget_after_s,
    )


def revision(asked: QuestionSet) -> QuestionRevision:
    """Name the questions for the state."""
    return QuestionRevision(asked.revision, asked.fingerprint)


def config(told: Told, asked: QuestionSet) -> WorkerConfig:
    """Ask what the script's cameras answer."""
    rules = asked.judged(Script.from_json(told.script))
    clock = ClockRules(SAMPLE_FPS, max_gap_s=rules.max_gap_s, max_jump_s=rules.max_jump_s)
    return WorkerConfig(
        behaviors=asked.behaviors,
        debounce=debounce_rules(told, asked),
        questions=revision(asked),
        intake=IntakeConfig(clock, CameraRegistry({}), SIZE, rules.lost_after_s, decode_timeout_s=told.decode_timeout_s),
        buckets=(1, 2, 4, 8),
        max_wait_s=told.max_wait_s,
        poll_timeout_s=0.2,
        tick_s=0.3,
        device_timeout_s=told.device_timeout_s,
        drain_timeout_s=10.0,
        silence_grace_s=told.silence_grace_s,
    )


async def work(told: Told) -> int:
    """Work until SIGTERM; give how many Kafka clients are still being stopped then."""
    names = TopicNames(told.frames, told.alerts, told.group)
    connection = KafkaConnection(told.bootstrap_servers, client_id=told.name)
    files, hung_up, loop = told.files, asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)  # first: what is written after the questions were read is read again
    asked = QuestionSet.read(files)
    context = AlertContext(f"/pawsight/{told.group}", "oracle", "oracle", asked.fingerprint)
    delivery: AtLeastOnceSink | ExactlyOnce
    if told.is_naive:
        delivery = AtLeastOnceSink(connection, names, context)
    else:
        settings = DeliveryConfig(writer=told.name, deadline_s=told.deadline_s, revision=asked.revision)
        delivery = ExactlyOnce(
            connection, names, context, settings, Policy(**told.policy), lambda port: CrashingPort(port, files)
        )
    engine = OracleEngine(told.batch_s, Path(told.folder) / "stall", Path(told.folder) / f"{told.name}.asked", asked.columns)
    trial, threads = Trial(time_limit_s=told.trial_s), _Threads()
    source_config = SourceConfig(
        told.frames, told.group, session_timeout_s=told.session_s, max_poll_interval_s=told.max_poll_interval_s
    )
    async with delivery, KafkaSource(connection, source_config, delivery) as source:
        worker = Worker(Ports(source, delivery, engine.infer, threads, trial, engine.ask), config(told, asked))
        loop.add_signal_handler(signal.SIGTERM, worker.stop)
        beside = [asyncio.create_task(_tell(worker, delivery, files))]
        if isinstance(delivery, ExactlyOnce):
            beside.append(asyncio.create_task(_heed(hung_up, worker, delivery, told)))
        try:
            await worker.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await trial.close()
            threads.close()
        _say(json.dumps({"at_s": time.time(), **worker.counts.as_dict(), **source.counts}))  # of one that ended in order
    return delivery.retiring if isinstance(delivery, ExactlyOnce) else 0


class _Threads:
    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")

    async def __call__(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let idle threads end; never wait: one may hang in a decoder for ever."""
        self._pool.shutdown(wait=False, cancel_futures=True)


async def _heed(hung_up: asyncio.Event, worker: Worker, delivery: ExactlyOnce, told: Told) -> None:
    """Ask what the questions file says at each SIGHUP; where that fails the judgement hears of it."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            asked = QuestionSet.read(told.files)
            reload = Reload(asked.behaviors, debounce_rules(told, asked), revision(asked), asked.columns)
            await delivery.turn(worker, reload)
        except Exception as error:
            log.exception("SIGHUP")
            _say(f"{FINDING}at SIGHUP: {error!r}")


async def _tell(worker: Worker, delivery: AtLeastOnceSink | ExactlyOnce, files: Files) -> None:
    last, told_s = (-1, -1), 0.0
    while True:
        now = worker.open_records, delivery.writing if isinstance(delivery, ExactlyOnce) else 0
        if now != last or time.monotonic() - told_s > STATUS_AT_LEAST_EVERY_S:
            last, told_s = now, time.monotonic()
            Status(*now, time.time()).write(files)
        await asyncio.sleep(STATUS_EVERY_S)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(told: Told) -> Leaks:
    """Work, then say what is left of it.

    A connection whose start was cancelled closes when it is collected: a traceback that was logged may hold it until then.
    """
    before = descriptors()
    retiring = await work(told)
    gc.collect()
    await asyncio.sleep(SETTLES_S)
    tasks = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    return Leaks(tasks, opened(before, descriptors()), retiring)


def run(argument: str) -> int:
    """Be a worker; give the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    told = Told(**json.loads(argument))
    try:
        leaks = asyncio.run(main(told))
    except StreamError as error:
        _say(f"error: {error}")
        if threading.active_count() > 1:  # a decoder hangs, and the interpreter would wait for it
            signal.raise_signal(signal.SIGKILL)
        return 3
    leaks.append(told.files)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
