"""What a trial through Kafka works with: cameras, workers under load, who watches them, and how long things take."""

import asyncio
import time
from dataclasses import dataclass
from math import inf
from statistics import fmean

from stream.clock import ClockRules
from tools.broker.process import BrokerProcess
from tools.stress.kafka.cameras import Cameras, Steady
from tools.stress.kafka.figures import CpuSeconds
from tools.stress.kafka.observer import Observer
from tools.stress.kafka.workers import Workers, usage

PARTS = 6
"""A window has so many parts at least."""
_TICK_S = 1.0
"""A worker delivers a partition that moved once in it (`WorkerConfig.tick_s`)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take."""

    part_s: float
    """A part of the window: a worker on an idle machine commits in each."""
    parts: int
    warm_s: float
    inherent_s: float
    """Lag that no worker can avoid: a segment is published when it ends, the next picture comes and a batch is done in time."""

    @classmethod
    def of(cls, seconds: float, batch_s: float, ready_after_s: float, every_s: float) -> "Pace":
        """Choose a window of three closed-loop windows, of parts no shorter than the largest batch, a tick, and a camera's step.

        Args:
            seconds: a closed-loop window.
            batch_s: what the largest batch takes.
            ready_after_s: how long a camera gathers a record.
            every_s: from one of its records with a picture that is asked to the next.
        """
        part_s = max(_TICK_S, batch_s, every_s)
        return cls(part_s, max(PARTS, round(3 * seconds / part_s)), max(seconds, 2 * part_s), ready_after_s + 2 * part_s)

    @property
    def window_s(self) -> float:
        """Length of the window."""
        return self.part_s * self.parts

    @property
    def trial_s(self) -> float:
        """About how long a trial takes, for the time left."""
        return self.warm_s + self.window_s + 2 * self.inherent_s


@dataclass(frozen=True, slots=True)
class Watched:
    """What is under load, and who watches it."""

    observer: Observer
    reading: "asyncio.Task[None]"
    """The observer at work."""
    workers: Workers
    broker: BrokerProcess | None
    """None: it is not ours."""

    def check(self) -> None:
        """Return if all are at work.

        Raises:
            CommandError, DeviceLost: a worker ended, or our own broker: its clients would try for ever.
            KafkaError: the brokers do not answer.
        """
        if self.broker is not None and not self.broker.is_running:
            self.broker.wait()
        self.workers.check()
        if self.reading.done():
            self.reading.result()

    def busy(self) -> "Busy":
        """Read every processor time."""
        broker = None if self.broker is None else usage(self.broker.pid)
        broker_s = None if broker is None else broker.own_s
        return Busy(self.observer.clock.now_s(), self.workers.cpu(), broker_s, time.process_time())


@dataclass(frozen=True, slots=True)
class Rig:
    """What a trial works with."""

    cameras: Cameras
    watched: Watched
    rules: ClockRules
    pace: Pace

    @property
    def observer(self) -> Observer:
        """Who sees commits."""
        return self.watched.observer

    @property
    def clock(self) -> Steady:
        """The time of all that is measured."""
        return self.observer.clock

    def lag_s(self, cameras: int) -> float:
        """Event-time lag of now, on average over the partitions that have cameras."""
        now_s, books = self.clock.now_s(), self.cameras.books
        done = [(books.partitions[each], self.observer.seen.resume_offset(each)) for each in self.partitions(cameras)]
        return fmean(now_s - (sent[offset - 1].newest_s if offset else -inf) for sent, offset in done)

    def partitions(self, cameras: int) -> range:
        """Partitions that have one of so many cameras."""
        return range(min(cameras, len(self.cameras.books.partitions)))


@dataclass(frozen=True, slots=True)
class Busy:
    """Processor times at one moment."""

    at_s: float
    workers: CpuSeconds | None
    broker_s: float | None
    ours_s: float
    """Of this process: cameras and observer."""

    def cores_since(self, before: "Busy") -> dict[str, float]:
        """Cores that were busy with what, on average."""
        spent = {"cameras": self.ours_s - before.ours_s}
        if self.workers is not None and before.workers is not None:
            spent["workers"] = self.workers.total - before.workers.total
        if self.broker_s is not None and before.broker_s is not None:
            spent["broker"] = self.broker_s - before.broker_s
        return {name: seconds / (self.at_s - before.at_s) for name, seconds in spent.items()}
