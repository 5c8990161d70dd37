"""`tools/run replay`: recorded videos, published as if they were cameras."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from rich.markup import escape

from stream.timestamps import to_rfc3339
from tools import settings
from tools.errors import CommandError
from tools.options import DEFAULT_FRAMES_TOPIC, BootstrapOption, CamerasOption, FramesTopicOption, JsonOption, parse_speed
from tools.screen import err, out, progress_bar, write_json

if TYPE_CHECKING:  # PyAV and aiokafka stay out of --help
    from tools.publish import Destination, Tally
    from tools.recordings import Form, Publication, Recording
    from tools.recordings.resume import Sent

    OnPublication: TypeAlias = Callable[[Publication], None]


def replay(  # noqa: PLR0913  (a command's options)
    sources: Annotated[list[str], typer.Argument(metavar="VIDEO...", help="Files, folders, globs, URLs, or CAMERA=VIDEO.")],
    *,
    form: Annotated[
        Literal["segments", "stills", "access-units"],
        typer.Option(
            "--as", help="Video segments as they lie in the file, single pictures, or single frames as encoded (H.264, H.265)."
        ),
    ] = "segments",
    speed: Annotated[
        str, typer.Option("--speed", metavar="1|N|max", help="How much faster than it happened; max: as fast as it goes.")
    ] = "1",
    loop: Annotated[bool, typer.Option("--loop", help="Begin anew at the end; event time goes on. Ctrl-C stops it.")] = False,
    start_at: Annotated[
        str, typer.Option("--start-at", metavar="recorded|now|TIME", help="Capture time of the first pictures.")
    ] = "recorded",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on behind what an earlier run, with the same arguments, left on the topic.")
    ] = False,
    copies: Annotated[int, typer.Option("--copies", metavar="N", min=1, help="Cameras per video: NAME-1 to NAME-N.")] = 1,
    offset_s: Annotated[
        float, typer.Option("--offset-s", metavar="S", min=0.0, help="Each copy begins so many seconds after the one before.")
    ] = 0.0,
    segment_s: Annotated[
        float, typer.Option("--segment-s", metavar="S", min=0.1, help="A segment ends at the first keyframe after so long.")
    ] = 2.0,
    still_fps: Annotated[float, typer.Option("--still-fps", metavar="N", min=0.2, help="Stills per second of video.")] = 2.0,
    picture: Annotated[
        Literal["png", "jpeg"], typer.Option("--picture", help="Format of stills: png is exact, jpeg small.")
    ] = "png",
    bootstrap_servers: BootstrapOption = None,
    frames_topic: FramesTopicOption = DEFAULT_FRAMES_TOPIC,
    cameras: CamerasOption = None,
    json: JsonOption = None,
) -> None:
    """Publish recorded videos to the frames topic, each as a camera named after its file.

    Exit status 0: all was published; 1: a video was damaged or no video (what can be read of it is published).

    Example: [bold]tools/run replay videos/ gate=rtsp://10.0.0.7/live --speed 4[/]

    After a crash: [bold]tools/run replay yard.mp4 --as access-units --resume[/]
    """
    from tools.publish import Destination
    from tools.questions import load_cameras
    from tools.recordings import AsAccessUnits, AsSegments, AsStills, Placement, find, parse_start

    pace = parse_speed(speed)
    recordings = find(sources, Placement(parse_start(start_at), copies, offset_s))
    if resume:
        _check_repeatable(recordings, start_at)
    registry = load_cameras(cameras).including(recording.camera for recording in recordings)
    destination = Destination(settings.kafka_connection(bootstrap_servers), frames_topic, registry)
    shapes: dict[str, Form] = {
        "segments": AsSegments(segment_s),
        "stills": AsStills(still_fps, picture, segment_s=segment_s),
        "access-units": AsAccessUnits(segment_s),
    }
    _publish(Replay(recordings, shapes[form], pace, loop=loop, resume=resume), destination, json)


def _publish(run: "Replay", destination: "Destination", json: str | None) -> None:
    """Publish, and say what became of it, after an interrupt, too."""
    began = time.monotonic()
    try:
        asyncio.run(run.publish(destination))
    finally:
        _report(run, time.monotonic() - began, json)
    if run.problems:
        raise typer.Exit(1)


def _check_repeatable(recordings: "Sequence[Recording]", start_at: str) -> None:
    """Refuse to go on with what is never the same again."""
    if start_at == "now":
        msg = (
            "--resume needs the capture times that the stopped run had: `--start-at now` gives others; give that run's as a time"
        )
        raise CommandError(msg)
    for recording in recordings:
        if recording.live:
            msg = f"--resume goes on with files: {recording.name} is a live stream, of which nothing comes again"
            raise CommandError(msg)


class Replay:
    """Recordings on their way to the topic, and what became of them."""

    def __init__(
        self, recordings: "Sequence[Recording]", form: "Form", pace: float | None, *, loop: bool = False, resume: bool = False
    ) -> None:
        """Play files together at a pace, in a loop if wanted; live streams set their own pace and may end.

        To resume is to begin behind what lies of each camera on the topic; only files can.
        """
        self.problems: list[str] = []
        self.skipped = 0
        """Records that lay on the topic."""
        self.tally: Tally | None = None
        """None until the brokers answered."""
        self._recordings = recordings
        self._form = form
        self._pace = pace
        self._loop = loop
        self._resume = resume

    async def publish(self, destination: "Destination") -> None:
        """Publish all of it; live streams each have a reader of their own, so that none waits for another."""
        from concurrent.futures import ThreadPoolExecutor

        from tools.publish import opened

        files = [recording for recording in self._recordings if not recording.live]
        live = [recording for recording in self._recordings if recording.live]
        sources = [[recording] for recording in live] + ([files] if files else [])
        async with opened(destination, [each.camera for each in files] if self._resume else ()) as publisher:
            self.tally = publisher.tally
            if self._resume:
                self._say_where(destination.topic, publisher.sent)
            readers = ThreadPoolExecutor(len(sources), thread_name_prefix="read")
            with self._progress() as advance:
                tasks = [
                    asyncio.create_task(
                        publisher.publish(
                            self._played(together, publisher.sent, advance),
                            None if together[0].live else self._pace,
                            advance,
                            readers,
                        )
                    )
                    for together in sources
                ]
                try:
                    await asyncio.gather(*tasks)
                finally:
                    readers.shutdown(wait=False, cancel_futures=True)  # a live stream's reader may wait for its next picture
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    def _played(
        self, together: "Sequence[Recording]", sent: "Mapping[str, Sent]", on_skipped: "OnPublication"
    ) -> "Iterator[Publication]":
        """Give what is left to publish; every camera skips what was sent before any gives a record: wrong arguments send none."""
        from tools.recordings import in_order_of_readiness, publications
        from tools.recordings.resume import rest

        cameras = {each.camera: publications(each, self._form, self._complain, loop=self._loop) for each in together}
        return in_order_of_readiness(
            rest(played, sent[camera], on_skipped) if camera in sent else played for camera, played in cameras.items()
        )

    def _say_where(self, topic: str, sent: "Mapping[str, Sent]") -> None:
        for camera in (recording.camera for recording in self._recordings):
            if camera in sent:
                count = sent[camera].seq + 1
                self.skipped += count
                place = f"{count} records lie on {topic}, the last one of {to_rfc3339(sent[camera].captured_at_s)}: skipped"
            else:
                place = f"nothing lies on {topic}: begins at its beginning"
            err.print(f"{escape(camera)}: {escape(place)}", soft_wrap=True)

    def _complain(self, problem: str) -> None:
        self.problems.append(problem)
        err.print(f"[yellow]warning:[/] {escape(problem)}")

    @contextmanager
    def _progress(self) -> "Iterator[OnPublication]":
        """Show seconds of video, of as many as there are if that is known."""
        from tools.recordings import length_s

        by_url = {recording.url: None if recording.live or self._loop else length_s(recording) for recording in self._recordings}
        lengths = [by_url[recording.url] for recording in self._recordings]
        known = [length for length in lengths if length is not None]
        reached: dict[str, float] = {}
        with progress_bar() as bar:
            task = bar.add_task("seconds of video", total=round(sum(known)) if len(known) == len(lengths) else None)

            def advance(one: "Publication") -> None:
                bar.advance(task, max(0.0, one.due_s - reached.get(one.camera, one.captured_at_s)))
                reached[one.camera] = one.due_s

            yield advance


def _report(run: Replay, wall_s: float, json: str | None) -> None:
    """Say what the brokers have, after an interrupt, too."""
    if run.tally is None:
        return
    tally = run.tally
    if json != "-":
        rate = f"{tally.records / wall_s:.1f} records/s, {tally.bytes / wall_s / 1e6:.1f} MB/s"
        out.print(
            f"{tally.records} records of {len(tally.cameras)} cameras, {tally.bytes / 1e6:.1f} MB in {wall_s:.1f} s ({rate})"
        )
    if json is not None:
        figures = {
            "records": tally.records,
            "skipped": run.skipped,
            "bytes": tally.bytes,
            "cameras": len(tally.cameras),
            "wall_s": wall_s,
            "problems": run.problems,
        }
        write_json(json, figures)
