"""One performance: publisher, worker and subscriber around a real broker, until every camera's stream is over.

The three run in one process to keep the demo one command; each is what its own command runs, and they meet on Kafka only.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from stream.cameras import CameraRegistry
from stream.counts import Counts
from stream.errors import StreamError
from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames, create_topics
from stream.types import Observation
from stream.worker import first_of
from tools.alerts import subscribe
from tools.assembly import Attachment, Device, attached
from tools.demo.view import LiveView
from tools.errors import CommandError
from tools.publish import Destination, opened
from tools.recordings import AsSegments, Placement, Recording, find, merged

PARTITIONS = 12
PATIENCE_S = 120.0
"""Wall time after the last publication in which every stream must have been told lost: lost_after_s, grace and a slow machine."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What came out of one performance."""

    alerts: tuple[dict[str, Any], ...]
    """Structured CloudEvents, in the order in which the subscriber read them."""
    counts: Counts
    observations: tuple[Observation, ...]
    """In order per camera."""
    answered_after_s: tuple[float, ...]
    """Of each: wall time from its record's arrival at the worker to its answers."""


@dataclass(slots=True)
class Stage:
    """A device and a broker on which scenes are performed."""

    device: Device
    connection: KafkaConnection
    names: TopicNames
    speed: float | None
    """Event time per wall time; None: as fast as it goes."""

    async def perform(self, videos: Sequence[Path], view: LiveView) -> Performance:
        """Publish the videos as cameras, work, subscribe; return when every camera was told lost.

        Raises:
            CommandError: some camera's stream was not told over in time.
            PipelineError, StreamError: whatever ended the worker or the publisher.
        """
        try:
            return await self._perform(videos, view)
        except* (CommandError, PipelineError, StreamError) as failures:
            raise first_of(failures) from failures

    async def _perform(self, videos: Sequence[Path], view: LiveView) -> Performance:
        await create_topics(self.connection, self.names, partitions=PARTITIONS)
        recordings = find([str(video) for video in videos], Placement())
        observed = _Observed()
        async with attached(self.device, Attachment(self.connection, self.names), observed) as here:
            worker = here.worker
            view.follow(worker.counts)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker.run())
                listening = tasks.create_task(self._listen(view, len(recordings)))
                await self._publish(recordings, view)
                view.status = "published; waiting until the silent streams are told lost"
                alerts = await _in_time(listening)
                worker.stop()
        return Performance(alerts, worker.counts, tuple(observed.seen), tuple(observed.after_s))

    async def _listen(self, view: LiveView, cameras: int) -> tuple[dict[str, Any], ...]:
        alerts: list[dict[str, Any]] = []
        lost = 0
        async with aclosing(subscribe(self.connection, self.names.alerts, "earliest")) as events:
            async for alert in events:
                alerts.append(alert)
                view.add(alert)
                lost += alert["type"] == "pawsight.camera.lost"
                if lost == cameras:
                    break
        return tuple(alerts)

    async def _publish(self, recordings: Sequence[Recording], view: LiveView) -> None:
        problems: list[str] = []
        view.status = f"publishing {len(recordings)} cameras"
        registry = CameraRegistry.parse({}).including(recording.camera for recording in recordings)
        async with opened(Destination(self.connection, self.names.frames, registry)) as publisher:
            await publisher.publish(merged(recordings, AsSegments(), problems.append), self.speed)
        if problems:
            raise CommandError(problems[0])


class _Observed:
    """Keeps what was observed, and when."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.after_s: list[float] = []

    def __call__(self, observation: Observation) -> None:
        self.seen.append(observation)
        self.after_s.append(time.time() - observation.arrived_at_s)


async def _in_time(listening: "asyncio.Task[tuple[dict[str, Any], ...]]") -> tuple[dict[str, Any], ...]:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await listening
    except TimeoutError as error:
        msg = f"not every camera's stream was told over within {PATIENCE_S:g} s after it ended: see the last alerts above"
        raise CommandError(msg) from error
