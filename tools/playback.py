"""Plays recorded videos through the worker without a broker: the same events, and what was observed on each frame."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.markup import escape

from stream.counts import Counts
from stream.recording import CallbackSink, RecordingSource
from stream.types import Event, Observation, Record
from stream.wire import FrameHead, frame_headers
from tools.assembly import Device
from tools.recordings import Form, Publication, Recording, merged
from tools.screen import err

TOPIC = "recording"
"""Where evidence points to when there is no topic: each camera is a partition of it, in the order of their names."""


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
