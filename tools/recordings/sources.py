"""Which videos stand for which cameras: files, folders, globs and URLs to recordings with a camera id and a start time.

Opens nothing: whether a file is a video shows when it is read.
"""

import glob
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from stream.timestamps import from_rfc3339
from tools.errors import CommandError

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""What is taken from a folder; a file that is named itself may be called anything."""

LIVE_SCHEMES = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
"""URLs that deliver at their own pace and may never end."""

_LAST_START_S = from_rfc3339("2200-01-01T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Recording:
    """A video that stands for a camera."""

    camera: str
    url: str
    """Path or URL, as PyAV opens it."""
    start_s: float | None
    """Capture time of the first picture, seconds since the epoch; None: when it was recorded."""
    shift_s: float = 0.0
    """Added to the start: copies of one video play at different times."""

    @property
    def live(self) -> bool:
        """Tell a stream that sets its own pace from a file."""
        return urlsplit(self.url).scheme in LIVE_SCHEMES

    @property
    def name(self) -> str:
        """The URL for messages: without user name and password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "://" in self.url else self.url

    def began_s(self, creation_time: str | None) -> float:
        """Capture time of the first picture: as given, else the container's creation time, the file's time, or now (a URL)."""
        return self.shift_s + (self.start_s if self.start_s is not None else self._recorded_s(creation_time))

    def _recorded_s(self, creation_time: str | None) -> float:
        try:
            recorded_s = from_rfc3339(creation_time or "")
        except ValueError:
            recorded_s = 0.0
        if 0 < recorded_s < _LAST_START_S:  # cameras without a clock write 1904 or 1970
            return recorded_s
        file = Path(self.url)
        return round(file.stat().st_mtime if file.is_file() else time.time(), 6)


@dataclass(frozen=True, slots=True)
class Placement:
    """When the recordings begin, and as how many cameras each plays."""

    start_s: float | None = None
    """None: each when it was recorded."""
    copies: int = 1
    offset_s: float = 0.0
    """Each copy begins so much later than the one before."""


def parse_start(said: str) -> float | None:
    """Read `recorded` (None), `now` or an RFC 3339 time as the capture time of the first pictures.

    Raises:
        CommandError: none of them.
    """
    if said == "recorded":
        return None
    if said == "now":
        return round(time.time(), 6)
    try:
        return from_rfc3339(said)
    except ValueError as error:
        msg = f"--start-at {said!r}: give `recorded`, `now` or a time such as 2026-01-31T12:00:00Z"
        raise CommandError(msg) from error


def find(sources: Sequence[str], placement: Placement) -> list[Recording]:
    """Turn a command's sources into recordings, sorted by camera.

    A source is a file, a folder (every video below it), a glob, a URL, or CAMERA=one of these that is a single video. The camera
    is the file's stem, with the folder's name before it where stems repeat; copies get -1, -2, ... behind it.

    Raises:
        CommandError: a source that names no video, or two videos for one camera.
    """
    named: list[tuple[str, str]] = []
    unnamed: list[str] = []
    for source in sources:
        camera, equals, url = source.partition("=")
        if equals and "/" not in camera and not Path(source).exists():
            named.append((camera, _single(url, source)))
        else:
            unnamed += _expand(source)
    cameras = sorted([*named, *_by_stem(dict.fromkeys(unnamed))])
    for camera, count in Counter(camera for camera, _ in cameras).items():
        if count > 1:
            msg = f"{count} videos for camera {camera!r}: name one of them, as in other-camera=VIDEO"
            raise CommandError(msg)
    return [recording for camera, url in cameras for recording in _copies(camera, url, placement)]


def _copies(camera: str, url: str, placement: Placement) -> list[Recording]:
    if placement.copies == 1:
        return [Recording(camera, url, placement.start_s)]
    width = len(str(placement.copies))
    return [
        Recording(f"{camera}-{number + 1:0{width}}", url, placement.start_s, number * placement.offset_s)
        for number in range(placement.copies)
    ]


def _single(url: str, source: str) -> str:
    found = _expand(url)
    if len(found) != 1:
        msg = f"{source}: {len(found)} videos for one camera; give one"
        raise CommandError(msg)
    return found[0]


def _expand(source: str) -> list[str]:
    """Paths and URLs that a source stands for."""
    if "://" in source:
        return [source]
    path = Path(source)
    if path.is_file():
        return [str(path)]
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.is_file() and file.suffix.lower() in VIDEO_SUFFIXES)
        missing = f"no video in folder {source}: looked for {', '.join(sorted(VIDEO_SUFFIXES))}"
    else:
        found = sorted(file for file in glob.glob(source, recursive=True) if Path(file).is_file())  # noqa: PTH207  (absolute ones)
        missing = f"{source}: there is no such file or folder, and it matches none as a pattern"
    if not found:
        raise CommandError(missing)
    return found


def _by_stem(urls: Iterable[str]) -> list[tuple[str, str]]:
    """Name each video's camera after its file, and after its folder, too, where that is not enough."""
    short = {url: _stem(url) for url in urls}
    uses = Counter(short.values())
    return [(stem if uses[stem] == 1 else f"{_above(url)}-{stem}", url) for url, stem in short.items()]


def _stem(url: str) -> str:
    if "://" not in url:
        return Path(url).stem
    parts = urlsplit(url)
    return Path(parts.path).stem or parts.hostname or "camera"


def _above(url: str) -> str:
    """The folder's name, or a URL's host."""
    return urlsplit(url).hostname or "url" if "://" in url else Path(url).resolve().parent.name
