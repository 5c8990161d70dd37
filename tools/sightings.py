"""Joins alerts to what they tell: one sighting for each episode of a behaviour. Pure: CloudEvents in, stretches of time out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Sighting:
    """A behaviour as the alerts told it, in seconds from the recording's start."""

    camera: str
    behavior: str
    start_s: float
    """started_at of the started event."""
    at_s: float
    """Event time of the started event."""
    end_s: float | None
    """stopped_at of the ended event; None if none came."""
    ended_at_s: float | None
    """Event time of the ended event."""
    reason: str | None
    """Why it ended (`stream.types.Reason`)."""
    score: float | None = field(default=None, compare=False)
    """P(yes) of the frame that decided the start; not compared: two models may tell the same with another score."""

    def overlaps(self, start_s: float, end_s: float) -> bool:
        """Whether it shares a moment with a stretch of time; what never ended lasts for ever."""
        return self.start_s < end_s and (self.end_s is None or self.end_s > start_s)


def sightings(events: Iterable[Mapping[str, Any]], recorded_at_s: Mapping[str, float]) -> list[Sighting]:
    """Join the started and ended events (structured CloudEvents) of each episode.

    Args:
        events: alerts in any order; other types are ignored.
        recorded_at_s: start of each camera's recording, seconds since the epoch.
    """
    started: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    ended: dict[tuple[str, str, int], Mapping[str, Any]] = {}
    for event in events:
        data = event["data"]
        if event["type"].startswith("pawsight.behavior."):
            episode = (data["camera"], data["behavior"], data["episode"])
            (started if event["type"].endswith(".started") else ended)[episode] = data
    found = []
    for (camera, behavior, number), data in started.items():
        end = ended.get((camera, behavior, number))
        base_s = recorded_at_s[camera]
        found.append(
            Sighting(
                camera=camera,
                behavior=behavior,
                start_s=_seconds(data["started_at"]) - base_s,
                at_s=_seconds(data["at"]) - base_s,
                end_s=None if end is None else _seconds(end["stopped_at"]) - base_s,
                ended_at_s=None if end is None else _seconds(end["at"]) - base_s,
                reason=None if end is None else end["reason"],
                score=data.get("score"),
            )
        )
    return sorted(found, key=lambda sighting: (sighting.camera, sighting.start_s, sighting.behavior))


def _seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339).timestamp()
