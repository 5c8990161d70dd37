"""Plays recorded videos through the worker without a broker: the same events, and what was observed on each frame."""

import asyncio
import contextlib
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from stream.alerts import structured
from stream.counts import Counts
from stream.recording import CallbackSink, RecordingSource
from stream.types import Event, Observation, Record
from stream.wire import FrameHead, frame_headers
from tools.assembly import Device
from tools.errors import CommandError
from tools.recordings import AsSegments, Form, Publication, Recording, length_s, merged
from tools.screen import err, progress_bar
from tools.sightings import Sighting, sightings

TOPIC = "recording"
"""Where evidence points to when there is no topic: each camera is a partition of it, in the order of their names."""

BEGAN_S = 1_767_225_600.0
"""Capture time that `hear` counts from, 2026-01-01: truths and comparisons count from a video's start."""
_GROUP = "recording"


class Complaints:
    """Says on standard error what is wrong with the videos, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, problem: str) -> None:
        """Take one sentence that names the video."""
        self.count += 1
        err.print(f"[yellow]warning:[/] {escape(problem)}")


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what comes of it."""

    on_event: Callable[[Event], None]
    """In order per camera."""
    on_problem: Callable[[str], None]
    """One sentence about what could not be read or used."""
    on_observation: Callable[[Observation], None] | None = None
    """In order per camera."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of it."""

    counts: Counts
    is_whole: bool
    """Not stopped by Ctrl-C before its end."""


def play(device: Device, recordings: Sequence[Recording], form: Form, listener: Listener) -> Played:
    """Play recordings to their end, or until Ctrl-C.

    Raises:
        PipelineError, StreamError: the device or a decoder failed.
    """
    return asyncio.run(_play(device, recordings, merged(recordings, form, listener.on_problem), listener))


async def _play(
    device: Device, recordings: Sequence[Recording], publications: Iterator[Publication], listener: Listener
) -> Played:
    names = sorted(recording.camera for recording in recordings)
    source = RecordingSource(records(publications, names), TOPIC, len(names))
    sink = CallbackSink(
        listener.on_event, lambda letter: listener.on_problem(f"{(letter.record.key or b'').decode()}: {letter.message}")
    )
    worker = device.worker(source, sink, listener.on_observation)
    is_whole = True

    def stop() -> None:
        nonlocal is_whole
        is_whole = False
        worker.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    await worker.run()
    return Played(worker.counts, is_whole)


def records(publications: Iterator[Publication], cameras: Sequence[str]) -> Iterator[Record]:
    """Dress publications as the records that replay would have put on the topic."""
    offsets: Counter[str] = Counter()
    for publication in publications:
        camera = publication.camera
        head = FrameHead(
            camera_id=camera,
            captured_at_s=publication.captured_at_s,
            content_type=publication.content_type,
            source="/pawsight/watch",
            stream=f"watch-{camera}",
            seq=publication.seq,
            unit=publication.unit,
        )
        yield Record(
            topic=TOPIC,
            partition=cameras.index(camera),
            offset=offsets[camera],
            timestamp_ms=int(publication.captured_at_s * 1000),
            key=camera.encode(),
            value=publication.payload,
            headers=tuple(frame_headers(head)),
            incarnation=1,
            arrived_at_s=time.time(),
        )
        offsets[camera] += 1


@dataclass(frozen=True, slots=True)
class Heard:
    """All that came of recordings."""

    alerts: Sequence[dict[str, Any]]
    """Structured CloudEvents, in order per camera."""
    observations: Sequence[Observation]
    """In order per camera."""
    sightings: Sequence[Sighting]
    """Of the alerts; times from `BEGAN_S`."""
    counts: Counts

    @property
    def watched_s(self) -> float:
        """Seconds from each camera's first to its last asked frame, all cameras together."""
        times: dict[str, list[float]] = defaultdict(list)
        for seen in self.observations:
            times[seen.camera_id].append(seen.captured_at_s)
        return sum(each[-1] - each[0] for each in times.values())


def hear(device: Device, recordings: Sequence[Recording]) -> Heard:
    """Play recordings that begin at `BEGAN_S` to their end, with progress by their time, and hear everything.

    Raises:
        CommandError: one of them cannot be read to its end: figures about the rest would mislead.
        KeyboardInterrupt: stopped by Ctrl-C.
        PipelineError, StreamError: the device or a decoder failed.
    """
    context, complaints = device.alert_context(_GROUP), Complaints()
    alerts: list[dict[str, Any]] = []
    observations: list[Observation] = []
    with _progress(sum(length_s(each) or 0.0 for each in recordings)) as reached:

        def observe(observation: Observation) -> None:
            observations.append(observation)
            reached(observation.camera_id, observation.captured_at_s - BEGAN_S)

        listener = Listener(lambda event: alerts.append(structured(event, context)), complaints, observe)
        played = play(device, recordings, AsSegments(), listener)
    if not played.is_whole:
        raise KeyboardInterrupt
    if complaints.count:
        msg = f"{complaints.count} times a video could not be read or used: mend or leave it out, the figures would mislead"
        raise CommandError(msg)
    told = sightings(alerts, {recording.camera: BEGAN_S for recording in recordings})
    return Heard(alerts, observations, told, played.counts)


@contextlib.contextmanager
def _progress(total_s: float) -> Iterator[Callable[[str, float], None]]:
    at_s: dict[str, float] = {}
    with progress_bar() as bar:
        task = bar.add_task("seconds of video", total=round(total_s) or None)

        def reached(camera: str, camera_s: float) -> None:
            at_s[camera] = camera_s
            bar.update(task, completed=round(sum(at_s.values())))

        yield reached
