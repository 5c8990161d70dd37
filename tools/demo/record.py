"""What a performance adds to its figures for a page: a timeline of every camera, and how long things took."""

from collections.abc import Sequence

from stream.debounce_rules import DebounceRule
from tools.demo.figures import Shown
from tools.demo.judge import Verdict
from tools.demo.stage import Performance
from tools.report import timelines
from tools.report.histogram import histogram
from tools.report.timelines import Filmed, Happened
from tools.scenes.planning import Scene
from tools.sightings import Sighting


def recorded(
    scenes: Sequence[Scene], videos: Sequence[str], performance: Performance, verdict: Verdict, rules: Sequence[DebounceRule]
) -> Shown:
    """Give a performance's timelines and histograms; `videos` are the names of the scenes' recordings."""
    happened = [
        Happened(
            judged.camera,
            judged.episode.behavior,
            judged.episode.start_s,
            judged.episode.end_s,
            "missed" if judged.sighting is None else "found",
        )
        for judged in verdict.episodes
    ]
    matched = [(judged.episode, judged.sighting) for judged in verdict.episodes if judged.sighting is not None]
    told: list[Sighting] = [*(sighting for _, sighting in matched), *verdict.invented]
    told.sort(key=lambda one: one.start_s)
    heard = timelines.Heard("", told, performance.observations, verdict.invented)
    filmed = [
        Filmed(scene.camera, video, scene.recorded_at_s, scene.duration_s) for scene, video in zip(scenes, videos, strict=True)
    ]
    spread = (
        histogram(
            "From a behaviour's start to the event that tells it", [one.at_s - episode.start_s for episode, one in matched]
        ),
        histogram("From a record's arrival to its answers, wall time", performance.answered_after_s),
    )
    return Shown(timelines.timelines(filmed, rules, [heard], happened), tuple(one for one in spread if one is not None))
