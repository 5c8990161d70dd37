"""Results as the commands write them, small ones, and a page taken apart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html.parser import HTMLParser
from typing import Any

from stream.counts import Counts
from tools.report.cards import Pictures
from tools.report.chapters import chapters, moments
from tools.report.histogram import histogram
from tools.report.page import page
from tools.report.record import Asked, Course, Lane, Run, Side, Timeline, Told, Trace, Truth
from tools.report.results import parse

PICTURE = "data:image/jpeg;base64,AAAA"
COUNTS = Counts(received=9, used=8, dead_lettered=1, decoded=100, answered=20, sampled_out=78, late=2, batches=3, events=6)


def side(name: str = "") -> Side:
    """A model with one question."""
    asked = (Asked("barking", "is the dog barking?", 0.65, 0.35, 1.5, 2.0),)
    return Side(name, "cpu", "demo", "fp32", "a" * 64, "b" * 64, {"torch": "2.13"}, "c" * 16, 1, asked)


def run(*sides: Side, command: str = "tools/run evaluate videos") -> dict[str, Any]:
    """What ran."""
    return asdict(Run(command, "2026-11-26T12:00:00Z", "abc1234", "3.11.7", "a processor", 2, sides or (side(),)))


def told(start_s: float, *, is_false: bool | None = False) -> Told:
    """An event of eight seconds."""
    return Told(start_s, start_s + 1.5, start_s + 8, start_s + 10, "stopped", 0.97, is_false)


def timeline(camera: str = "kitchen", video: str = "") -> Timeline:
    """A minute with one event that is right, one that is not, and one that is missing."""
    truth = (Truth(10.2, 18.0, "found"), Truth(48.0, 55.0, "missed"))
    course = Course("", (told(10.0), told(30.0, is_false=True)), Trace((0.0, 10.0, 18.0, 30.0, 60.0), (0.0, 0.9, 0.1, 0.8, 0.0)))
    return Timeline(camera, video or camera, 60.0, (Lane("barking", 0.65, truth, (course,)),))


def demo(*, seeds: Sequence[int] = (1,), camera: str = "kitchen") -> dict[str, Any]:
    """`demo --json`."""
    spread = histogram("From a start to its event", [1.5, 1.6, 1.9, 2.4])
    assert spread is not None
    performed = [
        {
            "seed": seed,
            "cameras": [camera],
            "episodes": [],
            "found": 1,
            "missed": 1,
            "invented": 1,
            "late": 0,
            "frames": COUNTS.as_dict(),
            "wall_s": 60.0,
            "timelines": [asdict(timeline(camera, camera if len(seeds) == 1 else f"{seed}-{camera}"))],
            "latency": [asdict(spread)],
        }
        for seed in seeds
    ]
    ran = {"broker": {"name": "Apache Kafka", "version": "4.1.2"}, "run": run()}
    return ran | (performed[0] if len(seeds) == 1 else {"seeds": performed})


def evaluation() -> dict[str, Any]:
    """`evaluate --json`, where nothing can be said about a second behaviour."""
    counted = {"episodes": 2, "found": 1, "events": 2, "false": 1, "splits": 0, "merges": 0, "frames": 120, "true_frames": 30}
    shares = ("precision", "recall", "f1", "average_precision", "roc_auc", "brier", "ece")
    delays = ("delay_p50_s", "delay_p95_s", "end_delay_p50_s", "end_delay_p95_s")
    known = {"behavior": "barking", "unknown_frames": 0} | counted | dict.fromkeys(shares, 0.5) | dict.fromkeys(delays, 1.5)
    unknown = known | {"behavior": "eating"} | dict.fromkeys((*shares, *delays))
    figures = {"found_percent": 50.0, "false_percent": 50.0, "false_per_camera_hour": 60.0, "camera_hours": 1 / 60}
    shown = {"timelines": [asdict(timeline())], "latency": [], "frames": COUNTS.as_dict(), "run": run()}
    return {"behaviors": [known, unknown], "episodes": 2, "events": 2} | figures | shown


def seen(start_s: float, score: float | None = 0.9) -> dict[str, Any]:
    """An episode as `diff` writes it."""
    return {
        "camera": "kitchen",
        "behavior": "barking",
        "start_s": start_s,
        "at_s": start_s + 1.5,
        "end_s": start_s + 8,
        "ended_at_s": start_s + 10,
        "score": score,
    }


def difference() -> dict[str, Any]:
    """`diff --json`: one event gained, one lost, one shifted, one as before."""
    before = Course("before", (told(5.0, is_false=None), told(20.0, is_false=None), told(40.0, is_false=None)), None)
    after = Course("after", (told(5.0, is_false=None), told(30.0, is_false=None), told(41.0, is_false=None)), None)
    shown = Timeline("kitchen", "kitchen", 60.0, (Lane("barking", 0.65, None, (before, after)),))
    answers = {"behavior": "barking", "frames": 120, "differing": 9, "flipped": 3, "max_abs_dp": 0.4, "mean_abs_dp": 0.01}
    return {
        "before": "fp32",
        "after": "int8",
        "changed": True,
        "same": 1,
        "gained": [seen(30.0)],
        "lost": [seen(20.0)],
        "shifted": [{"before": seen(40.0, 0.9), "after": seen(41.0, 0.8), "started_s": 1.0, "ended_s": 1.0}],
        "answers": [answers],
        "frames_only_before": 1,
        "frames_only_after": 0,
        "behaviors_only_before": ["eating"],
        "behaviors_only_after": [],
        "frames_before": COUNTS.as_dict(),
        "frames_after": COUNTS.as_dict(),
        "run": run(side("before: fp32"), side("after: int8")),
        "timelines": [asdict(shown)],
    }


def through() -> dict[str, Any]:
    """What `stress --through kafka` adds."""
    trials = [
        {"cameras": 16, "asked_fps": 32.0, "held": True, "lag_growth": 0.001, "p50_ms": 420.0, "p99_ms": 1980.0},
        {"cameras": 32, "asked_fps": 51.0, "held": False, "lag_growth": None, "p50_ms": None, "p99_ms": None},
    ]
    cpu = {"decode": 1.5, "device": 20.25, "transaction": 2.5, "total": 24.25}
    best = {"cameras": 16, "fps": 2.0, "p50_ms": 420.0, "p99_ms": 1980.0, "cpu_s_per_1000_frames": cpu}
    kept = {"records": 960, "committed": 960, "read": 960, "dead_letters": 0, "asked": 960, "due": 960}
    return best | {"workers": 2, "trials": trials, "errors": 0, "as": "segments", "conservation": kept}


def load() -> dict[str, Any]:
    """`stress --json` of a grid of two."""
    cells = [
        {"servers": 1, "clients": 1, "throughput_fps": 50.0, "p50_ms": 20.0, "p99_ms": 31.0, "errors": 0},
        {"servers": 1, "clients": 8, "throughput_fps": 90.0, "p50_ms": 88.0, "p99_ms": 140.0, "errors": 0},
    ]
    return {
        "artifact": "0123456789abcdef",
        "machine": {"processor": "a processor", "cores": 2, "instance": None},
        "grid": cells,
        "saturation": {"servers": 1, "clients": 8, "throughput_fps": 90.0},
        "open_loop": {"rate_fps": 81.0, "p99_ms": 190.0, "bound_ms": 200.0, "errors": 0},
        "kafka": None,
        "warnings": [],
    }


def rendered(*documents: dict[str, Any], has_pictures: bool = True) -> str:
    """The page of these, with the same picture everywhere."""
    results = [parse("a test", document) for document in documents]
    wanted = moments(results)
    pictures: Pictures | None = {(one.video, round(one.at_s, 3)): PICTURE for one in wanted} if has_pictures else None
    return page(chapters(results, pictures), has_pictures=has_pictures)


@dataclass
class Element:
    """A start tag."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    """What is said right in it, and in what is in it."""


@dataclass
class Parsed(HTMLParser):
    """A page taken apart."""

    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin."""
        super().__init__()

    @classmethod
    def of(cls, text: str) -> "Parsed":
        """Take a page apart that closes what it opens."""
        parsed = cls()
        parsed.feed(text)
        parsed.close()
        assert not parsed._open
        return parsed

    def all(self, *names: str) -> list[Element]:
        """Elements of these names, in order."""
        return [element for element in self.elements if element.name in names]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in {"meta", "link", "img"}:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that holds nothing."""
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        """Close the last one that was opened."""
        assert self._open.pop().name == tag

    def handle_data(self, data: str) -> None:
        """Note what is said."""
        for element in self._open:
            element.text += data
