"""When a visitor must have been lost, and forgotten: told from when its partition was delivered, not from what came of silence.

A silent camera is lost once it sent nothing for lost_after_s and its partition was live for a grace, and forgotten once it is
lost and sent nothing for forget_after_s (DESIGN section 6). A handover or an outage begins the grace anew, so neither is due
while faults follow each other. A partition is live in a stretch of commits of one owner, close together and none of them behind.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stream.state_codec import PARTITION_KEY, decode_camera, decode_partition
from tools.chaos.stored import Written

MARGIN_S = 10.0
"""What a worker may take beyond the rule: the first proof of a stretch comes some seconds into it (`BEHIND_S`, a question for the
end each second), and a proof, the tick that follows from it and its commit come as late as a busy machine lets them."""
APART_S = 3.0
"""Commits of a partition with living cameras further apart than this are no stretch: there was an outage."""
BEHIND_S = 3.0
"""A commit that leaves a record undone which was sent so long before is of a partition that catches up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What the workers were told."""

    lost_after_s: float
    grace_s: float
    """How long a partition must have been live before silence counts."""
    forget_after_s: float


@dataclass(slots=True)
class Sent:
    """What lies on one partition of the frames topic."""

    offsets: list[int] = field(default_factory=list)
    """Ascending."""
    at_s: list[float] = field(default_factory=list)
    """When each of them was sent, Unix time."""

    def is_done(self, until_s: float, below: int) -> bool:
        """Whether all that was sent until a time lies below an offset; later records are sent later."""
        place = bisect_left(self.offsets, below)
        return place == len(self.offsets) or self.at_s[place] > until_s


@dataclass(frozen=True, slots=True)
class Overdue:
    """Visitors of whom something must have been made long ago."""

    lost: frozenset[str]
    """Must have been lost."""
    kept: frozenset[str]
    """Must have been forgotten, and still have a state."""


def overdue(
    history: Mapping[int, Sequence[Written]], sent: Mapping[int, Sent], visitors: Collection[str], patience: Patience
) -> Overdue:
    """Judge the visitors.

    Args:
        history: all records of the state topic, by partition.
        sent: what lies on the frames topic, by partition.
        visitors: cameras that fell silent.
        patience: what the workers were told.
    """
    lost, kept = set(), set()
    for partition, written in history.items():
        live = stretches(written, sent.get(partition, Sent()))
        for key in {each.key for each in written if each.key.decode() in visitors}:
            visit = _Visit.of([each for each in written if each.key == key])
            if visit.must_be_lost(live, patience):
                lost.add(key.decode())
            if visit.must_be_forgotten(live, patience) and visit.is_stored:
                kept.add(key.decode())
    return Overdue(frozenset(lost), frozenset(kept))


def stretches(written: Iterable[Written], sent: Sent) -> list[tuple[float, float]]:
    """Give from when to when a partition was live, Unix time."""
    live: list[tuple[float, float]] = []
    at_s, goes_on = float("-inf"), False
    for each in written:
        if each.key != PARTITION_KEY or each.value is None:
            continue
        record = decode_partition(each.value)
        # an owner writes an attempt when it takes the partition up, and keeps it until it got on
        is_live = not record.attempt and sent.is_done(each.at_s - BEHIND_S, record.resume_offset)
        if is_live and goes_on and each.at_s - at_s <= APART_S:
            live[-1] = live[-1][0], each.at_s
        elif is_live:
            live.append((each.at_s, each.at_s))
        at_s, goes_on = each.at_s, is_live
    return live


@dataclass(frozen=True, slots=True)
class _Visit:
    """One visitor, as the state topic tells of it; times are those of the commits, so never too early."""

    silent_s: float
    """Since when it sent nothing."""
    lost_s: float
    """When it was lost; infinity if it was not."""
    is_stored: bool
    """Whether anything is left of it at the end."""

    @classmethod
    def of(cls, written: Sequence[Written]) -> "_Visit":
        states = [(each.at_s, each.value is None or decode_camera(each.value).state.lost) for each in written]
        there = [at_s for at_s, is_lost in states if not is_lost]
        # nothing is due of one whose state was lost from the beginning, which is found by its alerts
        silent_s = max(there, default=float("inf"))
        lost_s = min((at_s for at_s, is_lost in states if is_lost and at_s >= silent_s), default=float("inf"))
        return cls(silent_s, lost_s, written[-1].value is not None)

    def must_be_lost(self, live: Iterable[tuple[float, float]], patience: Patience) -> bool:
        return any(
            max(from_s + patience.grace_s, self.silent_s + patience.lost_after_s) + MARGIN_S <= to_s for from_s, to_s in live
        )

    def must_be_forgotten(self, live: Iterable[tuple[float, float]], patience: Patience) -> bool:
        return any(max(from_s, self.lost_s, self.silent_s + patience.forget_after_s) + MARGIN_S <= to_s for from_s, to_s in live)
