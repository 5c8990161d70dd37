"""Sets every event beside the script's truth. Pure: CloudEvents and episodes in, a verdict out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.scenes.script import Episode
from tools.sightings import Sighting

LATE_AFTER_S = 1.0
"""An event is late if its `at` lies later than the truth's start + start_after_s + this."""

START_WITHIN_S = 1.0
"""How far `started_at` may lie from the truth."""


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
    is_same = (sighting.camera, sighting.behavior) == (camera, episode.behavior)
    return is_same and sighting.overlaps(episode.start_s, episode.end_s)
