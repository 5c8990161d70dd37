"""When a partition was seen to its end: what the silence of a camera is judged by.

Pure: end offsets, positions and times come in as arguments. A question is asked, its answer is the end offset at that time, and
the proof is given once everything below that end was handed out. A partition has one question at a time: those that piled up
behind a broker that stood still would be answered one by one, as if nothing had interrupted the partition.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)

BREAK_S = 5.0
"""Proofs further apart than this are not without a break: there was an outage, a pause, or a backlog."""


@dataclass(slots=True)
class _Partition:
    is_asked: bool = False
    """A question is under way."""
    asked_at_s: float | None = None
    """Of the answer that waits for its proof."""
    end: int = 0
    proven_at_s: float | None = None
    live_since_s: float = 0.0


class EndProofs(Generic[P]):
    """The proofs of the partitions that are open."""

    def __init__(self) -> None:
        """Begin with no partition."""
        self._partitions: dict[P, _Partition] = {}

    def keep(self, partitions: Iterable[P]) -> None:
        """Hold exactly these partitions; what was proven of one before an interruption counts no more."""
        self._partitions = {key: self._partitions.get(key, _Partition()) for key in partitions}

    def ask(self) -> list[P]:
        """Give the partitions whose end is to be asked for now: no question of theirs is under way or left to prove."""
        asked = [key for key, state in self._partitions.items() if not state.is_asked and state.asked_at_s is None]
        for key in asked:
            self._partitions[key].is_asked = True
        return asked

    def has_answer(self, partition: P) -> bool:
        """Whether an answer waits for its proof."""
        state = self._partitions.get(partition)
        return state is not None and state.asked_at_s is not None

    def answered(self, partition: P, asked_at_s: float, end: int) -> None:
        """Take an answer: `end` was the partition's end at `asked_at_s` or later."""
        if (state := self._partitions.get(partition)) is not None and state.is_asked:
            state.is_asked, state.asked_at_s, state.end = False, asked_at_s, end

    def unanswered(self, partitions: Iterable[P]) -> None:
        """Their question failed, or nobody waits for its answer any more."""
        for key in partitions:
            if (state := self._partitions.get(key)) is not None:
                state.is_asked = False

    def prove(self, partition: P, position: int) -> tuple[float, float] | None:
        """Give (asked_at_s, live_since_s) if everything below the answered end lies below `position`, once per answer."""
        state = self._partitions.get(partition)
        if state is None or state.asked_at_s is None or position < state.end:
            return None
        asked_at_s, state.asked_at_s = state.asked_at_s, None
        if state.proven_at_s is None or asked_at_s - state.proven_at_s > BREAK_S:
            state.live_since_s = asked_at_s
        state.proven_at_s = asked_at_s
        return asked_at_s, state.live_since_s
