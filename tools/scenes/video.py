"""Films a scene: H.264 in MP4, every second a closed group of pictures, with the truth as JSON beside it.

No frame refers to a later one, as cameras send it: every group can be cut out by copying packets.
"""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import cv2

from tools.errors import CommandError
from tools.scenes.planning import Scene
from tools.scenes.render import View, render
from tools.scenes.rooms import HEIGHT, WIDTH
from tools.scenes.sampling import seeded
from tools.scenes.script import FPS, Episode

Progress = Callable[[int, int], None]
"""Called with frames done and their total."""

ENCODER = {
    "preset": "veryfast",
    "tune": "zerolatency",  # no B-frames, no lookahead: what a camera sends, and the same bits every time
    "crf": "26",
    "g": str(FPS),
    "keyint_min": str(FPS),
    "sc_threshold": "0",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What a video shows."""

    camera: str
    recorded_at: str
    """ISO 8601, UTC: capture time of the first frame, as in the container's metadata."""
    duration_s: float
    episodes: tuple[Episode, ...]


def film(scenes: Sequence[Scene], folder: Path, progress: Progress) -> list[Path]:
    """Render each scene to `<camera>.mp4` and `<camera>.json` in `folder`, side by side in threads; returns the videos."""
    total = sum(scene.script.frames for scene in scenes)
    cv2.setNumThreads(1)  # the scenes share the cores already
    stopped, lock, done = threading.Event(), threading.Lock(), 0

    def one_more(_done: int, _total: int) -> None:
        nonlocal done
        if stopped.is_set():
            raise KeyboardInterrupt
        with lock:
            done += 1
            progress(done, total)

    def film_one(scene: Scene) -> Path:
        path = folder / f"{scene.camera}.mp4"
        render_video(scene, path, one_more)
        return path

    with ThreadPoolExecutor() as pool:
        try:
            return list(pool.map(film_one, scenes))
        except BaseException:
            stopped.set()
            raise


def render_video(scene: Scene, path: Path, progress: Progress | None = None) -> None:
    """Render one scene to the MP4 `path`, and its truth to the JSON file beside it."""
    script, choices = scene.script, seeded(scene.noise_seed)
    view = View.of(script.room, scene.scale, 0.0)
    with av.open(path, "w") as container:
        container.metadata["creation_time"] = _iso(scene.recorded_at_s)
        stream = container.add_stream("libx264", rate=FPS, options=ENCODER)
        stream.width, stream.height = int(WIDTH * scene.scale), int(HEIGHT * scene.scale)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in range(script.frames):
            clock = f"{datetime.fromtimestamp(scene.recorded_at_s + frame // FPS, UTC):%Y-%m-%d %H:%M:%S}"
            picture = render(view, script.moment(frame), clock, choices)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            if progress:
                progress(frame + 1, script.frames)
        container.mux(stream.encode())
    truth = Truth(scene.camera, _iso(scene.recorded_at_s), scene.duration_s, scene.episodes)
    path.with_suffix(".json").write_text(json.dumps(asdict(truth), indent=2) + "\n", encoding="utf-8")


def load_truth(path: Path) -> Truth:
    """Read the truth beside a video.

    Raises:
        CommandError: there is no such file, or it is no truth of `tools/run scenes`.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        episodes = tuple(Episode(**episode) for episode in fields.pop("episodes"))
        return Truth(**fields, episodes=episodes)
    except OSError as error:
        msg = f"truth {path}: {error.strerror}. Render videos with tools/run scenes --out DIR"
        raise CommandError(msg) from error
    except (ValueError, TypeError, KeyError) as error:
        msg = f"truth {path} is not one that tools/run scenes wrote: {error}"
        raise CommandError(msg) from error


def _iso(time_s: int) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
