"""Sets two runs over the same recordings beside each other: events gained, lost and shifted, answers flipped. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from stream.types import Answer, Observation
from tools.sightings import Sighting

TOLERANCE = 1e-4
"""Least difference of P(yes) or share that counts: what batches of other sizes do to float32 is a hundredth of it."""
_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """What came of the recordings on one side."""

    sightings: Sequence[Sighting]
    observations: Sequence[Observation]


@dataclass(frozen=True, slots=True)
class Shift:
    """One episode that both sides tell, at other times."""

    before: Sighting
    after: Sighting

    @property
    def started_s(self) -> float:
        """How much later it starts after the change, seconds of event time."""
        return self.after.at_s - self.before.at_s

    @property
    def ended_s(self) -> float | None:
        """How much later it ends; None where one of them does not end."""
        if self.before.ended_at_s is None or self.after.ended_at_s is None:
            return None
        return self.after.ended_at_s - self.before.ended_at_s


@dataclass(frozen=True, slots=True)
class Answers:
    """One behaviour's answers on both sides, over the frames that both asked."""

    behavior: str
    frames: int
    flipped: int
    """P(yes) lies on the other side of one half."""
    differing: int
    """P(yes) or share differs by `TOLERANCE` or more."""
    max_abs_dp: float
    mean_abs_dp: float


@dataclass(frozen=True, slots=True)
class Difference:
    """All that the change does."""

    gained: tuple[Sighting, ...]
    lost: tuple[Sighting, ...]
    shifted: tuple[Shift, ...]
    same: int
    """Episodes that both sides tell at the same times."""
    answers: tuple[Answers, ...]
    """Of every behaviour that both ask."""
    only_before: int
    """Frames that were asked before, and not after."""
    only_after: int
    behaviors_before: tuple[str, ...]
    """Asked before only."""
    behaviors_after: tuple[str, ...]
    """Asked after only."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed: no event, no answer, no frame, no behaviour."""
        changed = (self.gained, self.lost, self.shifted, self.behaviors_before, self.behaviors_after)
        return not any(changed) and not (self.only_before or self.only_after) and not any(one.differing for one in self.answers)


def compare(before: Run, after: Run) -> Difference:
    """Compare two runs.

    Episodes of one camera and behaviour belong together if they overlap, in order of time and one to one: what is left of a
    split or a merge is gained or lost.
    """
    gained, lost, shifted, same = _compare_events(before.sightings, after.sightings)
    old, new = _by_frame(before.observations), _by_frame(after.observations)
    asked_before, asked_after = (list(dict.fromkeys(chain.from_iterable(each.values()))) for each in (old, new))
    return Difference(
        gained=gained,
        lost=lost,
        shifted=shifted,
        same=same,
        answers=tuple(_compare_answers(behavior, old, new) for behavior in asked_before if behavior in asked_after),
        only_before=len(old.keys() - new.keys()),
        only_after=len(new.keys() - old.keys()),
        behaviors_before=tuple(behavior for behavior in asked_before if behavior not in asked_after),
        behaviors_after=tuple(behavior for behavior in asked_after if behavior not in asked_before),
    )


def _compare_events(
    before: Sequence[Sighting], after: Sequence[Sighting]
) -> tuple[tuple[Sighting, ...], tuple[Sighting, ...], tuple[Shift, ...], int]:
    left: dict[tuple[str, str], list[Sighting]] = defaultdict(list)
    for one in _in_order(after):
        left[one.camera, one.behavior].append(one)
    lost, shifted, same = [], [], 0
    for one in _in_order(before):
        others = left[one.camera, one.behavior]
        end_s = float("inf") if one.end_s is None else one.end_s
        other = next((each for each in others if each == one or each.overlaps(one.start_s, end_s)), None)
        if other is None:
            lost.append(one)
            continue
        others.remove(other)
        same += other == one
        if other != one:
            shifted.append(Shift(one, other))
    return _in_order(chain.from_iterable(left.values())), tuple(lost), tuple(shifted), same


def _in_order(sightings: Iterable[Sighting]) -> tuple[Sighting, ...]:
    return tuple(sorted(sightings, key=lambda one: (one.camera, one.start_s, one.behavior)))


def _by_frame(observations: Iterable[Observation]) -> dict[tuple[str, float], Mapping[str, Answer]]:
    return {(one.camera_id, one.captured_at_s): one.answers for one in observations}


def _compare_answers(
    behavior: str, old: Mapping[tuple[str, float], Mapping[str, Answer]], new: Mapping[tuple[str, float], Mapping[str, Answer]]
) -> Answers:
    pairs = [(old[frame][behavior], new[frame][behavior]) for frame in old.keys() & new.keys()]
    differences = [abs(one.p_yes - other.p_yes) for one, other in pairs]
    return Answers(
        behavior=behavior,
        frames=len(pairs),
        flipped=sum((one.p_yes > _HALF) != (other.p_yes > _HALF) for one, other in pairs),
        differing=sum(max(abs(one.p_yes - other.p_yes), abs(one.share - other.share)) >= TOLERANCE for one, other in pairs),
        max_abs_dp=max(differences, default=0.0),
        mean_abs_dp=sum(differences) / len(pairs) if pairs else 0.0,
    )
