"""Sets every event beside the script's truth. Pure: CloudEvents and episodes in, a verdict out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools.scenes.script import Episode

LATE_AFTER_S = 1.0
"""An event is late if its `at` lies later than the truth's start + start_after_s + this."""

START_WITHIN_S = 1.0
"""How far `started_at` may lie from the truth."""


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


@dataclass(frozen=True, slots=True)
class Judged:
    """One scripted episode and the sighting that it was matched with."""

    camera: str
    episode: Episode
    sighting: Sighting | None
    late: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the alerts got right and wrong."""

    episodes: tuple[Judged, ...]
    invented: tuple[Sighting, ...]
    """Sightings that match no episode; a second sighting of one episode is one of them."""

    @property
    def found(self) -> int:
        """Episodes with a sighting."""
        return sum(judged.sighting is not None for judged in self.episodes)

    @property
    def missed(self) -> int:
        """Episodes without one."""
        return len(self.episodes) - self.found

    @property
    def late(self) -> int:
        """Episodes whose sighting came late."""
        return sum(judged.late for judged in self.episodes)

    @property
    def off_start(self) -> int:
        """Episodes whose sighting says that they began more than `START_WITHIN_S` from the truth."""
        return sum(
            judged.sighting is not None and abs(judged.sighting.start_s - judged.episode.start_s) > START_WITHIN_S
            for judged in self.episodes
        )

    @property
    def holds(self) -> bool:
        """Everything found where it was, nothing invented, nothing late."""
        return not (self.missed or self.invented or self.late or self.off_start)


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
            )
        )
    return sorted(found, key=lambda sighting: (sighting.camera, sighting.start_s, sighting.behavior))


def judge(truth: Mapping[str, Sequence[Episode]], found: Sequence[Sighting], start_after_s: Mapping[str, float]) -> Verdict:
    """Match sightings with episodes one to one by overlap, in order of time.

    Args:
        truth: scripted episodes by camera.
        found: what the alerts told.
        start_after_s: of each behaviour's rule, for lateness.
    """
    open_sightings = list(found)
    judged = []
    for camera, episodes in sorted(truth.items()):
        for episode in sorted(episodes, key=lambda episode: episode.start_s):
            match = next((s for s in open_sightings if _overlaps(camera, episode, s)), None)
            if match is not None:
                open_sightings.remove(match)
            limit_s = episode.start_s + start_after_s[episode.behavior] + LATE_AFTER_S
            judged.append(Judged(camera, episode, match, late=match is not None and match.at_s > limit_s))
    return Verdict(tuple(judged), tuple(open_sightings))


def _overlaps(camera: str, episode: Episode, sighting: Sighting) -> bool:
    if (sighting.camera, sighting.behavior) != (camera, episode.behavior):
        return False
    return sighting.start_s < episode.end_s and (sighting.end_s is None or sighting.end_s > episode.start_s)


def _seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339).timestamp()
