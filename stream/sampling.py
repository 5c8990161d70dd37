"""Runs a camera's clock over pictures as they come out of a decoder, aside: a record that turns out bad leaves no trace."""

from collections import Counter
from dataclasses import dataclass, field

from stream.clock import Admission, ClockRules, ClockState, admit


@dataclass(slots=True)
class Sampler:
    """Says of each picture, in order of presentation, whether it is wanted; called from a decoder's thread."""

    state: ClockState | None
    """The camera's clock; None before its first picture ever."""
    stream: str | None
    rules: ClockRules
    done_to_s: float | None = None
    """Capture time of the last picture of this record that was done before; None: all of it is new."""
    outcomes: Counter[Admission] = field(default_factory=Counter)
    clocks: list[ClockState] = field(default_factory=list)
    """The clock right after each new picture."""
    accepted: list[ClockState] = field(default_factory=list)
    """The clock right after each wanted picture."""
    repeated: int = 0
    """Pictures that were done before."""

    def admit(self, captured_at_s: float) -> bool:
        """Take the next picture."""
        if self.done_to_s is not None and captured_at_s <= self.done_to_s:
            self.repeated += 1
            return False
        self.state, admission = admit(self.state, captured_at_s, self.stream, self.rules)
        self.outcomes[admission] += 1
        self.clocks.append(self.state)
        if admission is not Admission.ACCEPTED:
            return False
        self.accepted.append(self.state)
        return True
