"""What `evaluate` adds to its figures for a page: what ran, a timeline of every video, how long events took."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stream.debounce_rules import DebounceRule
from tools.evaluate.matching import Matched, match
from tools.evaluate.truth import Video
from tools.playback import BEGAN_S, Heard
from tools.report import timelines
from tools.report.histogram import histogram
from tools.report.record import Outcome, Run
from tools.report.timelines import Filmed, Happened
from tools.scenes.script import Episode


@dataclass(frozen=True, slots=True)
class Judged:
    """What was heard beside what is true."""

    happened: Mapping[str, Sequence[Episode]]
    """By camera."""
    heard: Heard
    rules: Mapping[str, DebounceRule]
    matched: Sequence[Matched]


def recorded(run: Run, videos: Sequence[Video], judged: Judged) -> dict[str, Any]:
    """Give what a page needs beside the figures, ready for JSON."""
    heard, matched = judged.heard, judged.matched
    false = [one for each in matched for one in each.false_sightings]
    happened = [
        Happened(camera, one.behavior, one.start_s, one.end_s, _outcome(camera, one, judged))
        for camera, episodes in judged.happened.items()
        for one in episodes
    ]
    filmed = [Filmed(video.camera, video.camera, BEGAN_S, video.length_s) for video in videos]
    told = timelines.Heard("", heard.sightings, heard.observations, false)
    delays = (
        histogram("From a behaviour's start to the event that tells it", [s for one in matched for s in one.start_delays_s]),
        histogram("From a behaviour's end to the event that tells it", [s for one in matched for s in one.end_delays_s]),
    )
    return {
        "run": asdict(run),
        "frames": heard.counts.as_dict(),
        "timelines": [asdict(one) for one in timelines.timelines(filmed, list(judged.rules.values()), [told], happened)],
        "latency": [asdict(one) for one in delays if one is not None],
    }


def _outcome(camera: str, episode: Episode, judged: Judged) -> Outcome:
    """Match it as if nothing else were true: whatever is not false then belongs to it."""
    rule = judged.rules[episode.behavior]
    (alone,) = match({camera: [episode]}, judged.heard.sightings, {rule.behavior: rule.start_after_s})
    if alone.false < alone.sightings:
        return "found"
    return "missed" if alone.episodes else "not expected"
