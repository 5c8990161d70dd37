"""Matches what the events told with what truly happened, by overlap. Pure.

An episode is found if a sighting of its behaviour overlaps it; a sighting is false if it overlaps no episode. Several sightings
of one episode are splits, several episodes under one sighting merges. An episode shorter than the rule's `start_after_s` cannot
become an event: it is not expected, and a sighting of it is not false.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.types import Reason
from tools.scenes.script import Episode
from tools.sightings import Sighting


@dataclass(frozen=True, slots=True)
class Matched:
    """One behaviour's events beside its truth, over all cameras."""

    behavior: str
    episodes: int
    """That must become an event."""
    too_short: int
    """That cannot."""
    found: int
    sightings: int
    false_sightings: tuple[Sighting, ...]
    """Those that overlap nothing true."""
    splits: int
    """Sightings beyond the first of an episode."""
    merges: int
    """Episodes beyond the first of a sighting."""
    start_delays_s: tuple[float, ...]
    """Of each found episode: from its start to the event time of the first `started`; the rule's start_after_s is part of it."""
    end_delays_s: tuple[float, ...]
    """Of each found episode whose last sighting ended because the behaviour stopped (and not with the recording, say): from its
    end to the event time of `ended`, stop_after_s included."""

    @property
    def false(self) -> int:
        """How many sightings overlap nothing true."""
        return len(self.false_sightings)

    @property
    def precision(self) -> float | None:
        """Share of the sightings that are true; None without any."""
        return (self.sightings - self.false) / self.sightings if self.sightings else None

    @property
    def recall(self) -> float | None:
        """Share of the episodes that are found; None without any."""
        return self.found / self.episodes if self.episodes else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None where one of them is."""
        precision, recall = self.precision, self.recall
        if precision is None or recall is None:
            return None
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def match(truth: Mapping[str, Sequence[Episode]], found: Sequence[Sighting], start_after_s: Mapping[str, float]) -> list[Matched]:
    """Match each behaviour.

    Args:
        truth: what happened, by camera.
        found: what the events told; times from the recording's start.
        start_after_s: of every behaviour's rule; its keys are the behaviours, in the order of the result.
    """
    return [_match_one(behavior, truth, found, least_s) for behavior, least_s in start_after_s.items()]


def _match_one(behavior: str, truth: Mapping[str, Sequence[Episode]], found: Sequence[Sighting], least_s: float) -> Matched:
    sightings = [one for one in found if one.behavior == behavior]
    episodes = [(camera, one) for camera, all_of_it in truth.items() for one in all_of_it if one.behavior == behavior]
    seen_of = [[one for one in sightings if _belong(camera, episode, one)] for camera, episode in episodes]
    true_of = [sum(_belong(camera, episode, one) for camera, episode in episodes) for one in sightings]
    is_due = [episode.end_s - episode.start_s >= least_s for _, episode in episodes]
    seen_due = [(episode, seen) for (_, episode), seen, due in zip(episodes, seen_of, is_due, strict=True) if due and seen]
    last = [(episode, max(seen, key=lambda one: one.at_s)) for episode, seen in seen_due]
    return Matched(
        behavior=behavior,
        episodes=sum(is_due),
        too_short=len(is_due) - sum(is_due),
        found=len(seen_due),
        sightings=len(sightings),
        false_sightings=tuple(one for one, true in zip(sightings, true_of, strict=True) if not true),
        splits=sum(max(0, len(seen) - 1) for seen in seen_of),
        merges=sum(max(0, count - 1) for count in true_of),
        start_delays_s=tuple(min(one.at_s for one in seen) - episode.start_s for episode, seen in seen_due),
        end_delays_s=tuple(
            one.ended_at_s - episode.end_s for episode, one in last if one.ended_at_s is not None and one.reason == Reason.STOPPED
        ),
    )


def _belong(camera: str, episode: Episode, sighting: Sighting) -> bool:
    return sighting.camera == camera and sighting.overlaps(episode.start_s, episode.end_s)
