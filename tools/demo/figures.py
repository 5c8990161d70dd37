"""The demo's figures as JSON: one performance, or several with their totals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stream.counts import Counts
from tools.demo.judge import Judged, Verdict
from tools.report.record import Histogram, Run, Timeline

FOUND_SHARE = 0.98
"""Over several seeds: at least this share of the episodes found (one seed: all)."""
INVENTED_SHARE = 0.03
"""Over several seeds: at most this many invented per episode (one seed: none)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows beside the figures."""

    timelines: tuple[Timeline, ...]
    latency: tuple[Histogram, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One seed's performance, judged."""

    seed: int
    cameras: tuple[str, ...]
    verdict: Verdict
    counts: Counts
    wall_s: float
    shown: Shown


def holds(results: Sequence[Result]) -> bool:
    """One seed: all found where they were, none invented, none late. Several: within the shares."""
    if len(results) == 1:
        return results[0].verdict.holds
    totals = total(results)
    return bool(totals["found"] >= FOUND_SHARE * totals["episodes"] and totals["invented"] <= INVENTED_SHARE * totals["episodes"])


def total(results: Sequence[Result]) -> dict[str, int]:
    """Sums over the seeds."""
    verdicts = [result.verdict for result in results]
    return {
        "episodes": sum(len(verdict.episodes) for verdict in verdicts),
        "found": sum(verdict.found for verdict in verdicts),
        "missed": sum(verdict.missed for verdict in verdicts),
        "invented": sum(len(verdict.invented) for verdict in verdicts),
        "late": sum(verdict.late for verdict in verdicts),
        "off_start": sum(verdict.off_start for verdict in verdicts),
    }


def as_json(results: Sequence[Result], broker: dict[str, str], run: Run) -> dict[str, Any]:
    """Figures of one seed at the top level; of several as `seeds`, with their `total`."""
    ran = {"broker": broker, "run": asdict(run)}
    if len(results) == 1:
        return ran | _one(results[0])
    return ran | {"seeds": [_one(result) for result in results], "total": total(results), "holds": holds(results)}


def _one(result: Result) -> dict[str, Any]:
    verdict = result.verdict
    return {
        "seed": result.seed,
        "cameras": list(result.cameras),
        "episodes": [_episode(judged) for judged in verdict.episodes],
        "found": verdict.found,
        "missed": verdict.missed,
        "invented": len(verdict.invented),
        "invented_events": [
            {"camera": extra.camera, "behavior": extra.behavior, "event_start_s": extra.start_s, "event_end_s": extra.end_s}
            for extra in verdict.invented
        ],
        "late": verdict.late,
        "off_start": verdict.off_start,
        "frames": result.counts.as_dict(),
        "wall_s": round(result.wall_s, 1),
        "timelines": [asdict(timeline) for timeline in result.shown.timelines],
        "latency": [asdict(histogram) for histogram in result.shown.latency],
    }


def _episode(judged: Judged) -> dict[str, Any]:
    seen = judged.sighting
    return {
        "camera": judged.camera,
        "behavior": judged.episode.behavior,
        "start_s": judged.episode.start_s,
        "end_s": judged.episode.end_s,
        "event_start_s": None if seen is None else round(seen.start_s, 6),
        "event_at_s": None if seen is None else round(seen.at_s, 6),
        "event_end_s": None if seen is None or seen.end_s is None else round(seen.end_s, 6),
    }
