"""Training pictures and held-out clips, each addressed by (seed, index), rendered by several processes.

Any stretch of the training set can be rendered alone and is the same as in the whole: a test that repeats the first steps
renders only what they see. Knows no model.
"""

import io
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scenes.clip import h264
from tools.scenes.moments import BEHAVIORS, labels
from tools.scenes.pen import CLASSES
from tools.scenes.render import View, render, render_with_classes
from tools.scenes.rooms import Choices, chance
from tools.scenes.sampling import sample, seeded

IMAGE_SIZE = 160
CELLS = 20
"""Cells per side of the class grid: two per patch of the model, so that a picture can be shifted by half a patch."""
CLIP_FRAMES = 6
CLIP_FPS = 10
_TRAINING, _HELD_OUT = 0, 1
_CHUNK = 250
_RESIZES = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)

Part = TypeVar("Part")
Progress = Callable[[int, int], None]
"""Called with the number of pictures done and their total."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Training pictures with all that the renderer knows about them."""

    pixels: NDArray[np.uint8]
    """(n, 160, 160, 3) RGB."""
    truth: NDArray[np.uint8]
    """(n, 8): 1 where the question's answer is yes, in the order of `BEHAVIORS`."""
    classes: NDArray[np.uint8]
    """(n, classes, 20, 20): share of each cell that shows each of `CLASSES`, 0-255."""


@dataclass(frozen=True, slots=True)
class Clips:
    """Last frames of held-out H.264 clips, as decoded."""

    frames: tuple[NDArray[np.uint8], ...]
    """RGB, 320x240 or 640x480."""
    truth: NDArray[np.uint8]
    """(n, 8), as in `Pictures`."""


def render_pictures(seed: int, count: int, progress: Progress) -> Pictures:
    """Render the first `count` training pictures of `seed`, 80 kB each, into memory."""
    pictures = Pictures(
        pixels=np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8),
        truth=np.empty((count, len(BEHAVIORS)), np.uint8),
        classes=np.empty((count, len(CLASSES), CELLS, CELLS), np.uint8),
    )
    done = 0
    for part in _in_processes(_picture_chunk, seed, count):
        rows = slice(done, done + len(part.truth))
        pictures.pixels[rows], pictures.truth[rows], pictures.classes[rows] = part.pixels, part.truth, part.classes
        done = rows.stop
        progress(done, count)
    return pictures


def render_clips(seed: int, count: int, progress: Progress) -> Clips:
    """Render, encode and decode `count` held-out clips of `seed`; no training picture shares a room with them."""
    frames: list[NDArray[np.uint8]] = []
    truth: list[tuple[bool, ...]] = []
    for part in _in_processes(_clip_chunk, seed, count):
        frames += [frame for frame, _ in part]
        truth += [answers for _, answers in part]
        progress(len(frames), count)
    return Clips(tuple(frames), np.array(truth, np.uint8))


def picture(seed: int, index: int) -> tuple[NDArray[np.uint8], tuple[bool, ...], NDArray[np.uint8]]:
    """Training picture `index` of `seed`: pixels, truth and class grid."""
    choices = seeded(seed, _TRAINING, index)
    room, moment = sample(choices)
    clock = _any_clock(choices) if room.shows_clock else ""
    image, grid = render_with_classes(View.of(room, 1.0, moment.door_open), moment, clock, choices, CELLS)
    if chance(choices, 0.3):
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), choices.uniform(0.4, 1.1)), np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(choices.integers(20, 90))]
    compressed = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)
    assert compressed is not None
    resize = _RESIZES[choices.integers(len(_RESIZES))]
    small = cv2.resize(compressed, (IMAGE_SIZE, IMAGE_SIZE), interpolation=resize)
    return np.asarray(small[..., ::-1], np.uint8), labels(room, moment), grid


def clip(seed: int, index: int) -> tuple[NDArray[np.uint8], tuple[bool, ...]]:
    """Held-out clip `index` of `seed`: its last frame after H.264, RGB, and the truth about it."""
    choices = seeded(seed, _HELD_OUT, index)
    room, moment = sample(choices)
    clock = _any_clock(choices) if room.shows_clock else ""
    view = View.of(room, 1.0 if chance(choices, 0.5) else 2.0, moment.door_open)
    frames = []
    for _ in range(CLIP_FRAMES):
        moment = moment.after(1 / CLIP_FPS)
        frames.append(render(view, moment, clock, choices))
    options = {"preset": "veryfast", "crf": str(int(choices.integers(22, 33)))}
    if chance(choices, 0.5):
        options["tune"] = "zerolatency"
    return _last_after_h264(frames, options), labels(room, moment)


def _last_after_h264(frames: list[NDArray[np.uint8]], options: dict[str, str]) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(h264(frames, "bgr24", CLIP_FPS, options)), "r") as video:
        video.streams.video[0].thread_count = 1
        *_, last = video.decode(video=0)
    return np.asarray(last.to_ndarray(format="rgb24"), np.uint8)


def _any_clock(choices: Choices) -> str:
    month, day, hour, minute, second = (
        int(choices.integers(low, high)) for low, high in ((1, 13), (1, 29), (0, 24), (0, 60), (0, 60))
    )
    return f"2026-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}"


def _in_processes(work: Callable[[tuple[int, range]], Part], seed: int, count: int) -> Iterator[Part]:
    """Chunks of the pictures 0 to `count`, in order, from one process per core."""
    jobs = [(seed, range(start, min(start + _CHUNK, count))) for start in range(0, count, _CHUNK)]
    with multiprocessing.get_context("spawn").Pool(initializer=_start_process) as pool:
        yield from pool.imap(work, jobs)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the pool
    cv2.setNumThreads(1)


def _picture_chunk(job: tuple[int, range]) -> Pictures:
    seed, part = job
    pixels, truth, classes = zip(*(picture(seed, index) for index in part), strict=True)
    return Pictures(np.stack(pixels), np.array(truth, np.uint8), np.stack(classes))


def _clip_chunk(job: tuple[int, range]) -> list[tuple[NDArray[np.uint8], tuple[bool, ...]]]:
    seed, part = job
    return [clip(seed, index) for index in part]
