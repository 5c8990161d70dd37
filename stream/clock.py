"""A camera's own clock: which pictures are due, which come late, and when a jump is believed.

Pure: event time comes in as an argument. Every picture of a camera passes `admit` in offset order; what it accepts is asked.
Sampling is part of the clock: a picture is due when it is the first of its cell of the camera's sampling grid (cells of
1 / sample_fps seconds, anchored at the first accepted frame), so a stream that was sampled once is sampled the same again.
"""

from dataclasses import dataclass, replace
from enum import Enum

MICROSECONDS_PER_S = 1_000_000

ADOPT_AFTER = 3
"""Out-of-time captures in a row that make a clock: one wrong time never silences a camera, a real jump costs two pictures."""


def whole_microseconds(seconds: float) -> int:
    """Microseconds as an integer; exact for every event time, as floats hold whole microseconds up to the year 2255."""
    return round(seconds * MICROSECONDS_PER_S)


def event_time(seconds: float) -> float:
    """Round to whole microseconds, the resolution of every time in events and state."""
    return round(seconds, 6)


def elapsed_s(later_s: float, earlier_s: float) -> float:
    """Seconds from `earlier_s` to `later_s`, exact to the microsecond.

    Floats near 1.7e9 resolve 0.24 us: without rounding, 2 s between clean times may read 1.9999998 and miss a rule `>= 2`.
    """
    return round(later_s - earlier_s, 6)


@dataclass(frozen=True, slots=True)
class ClockRules:
    """When a picture is due, late or out of the camera's time. Defaults: DESIGN section 6."""

    sample_fps: float = 2.0
    max_gap_s: float = 5.0
    """A picture at most this much before the last accepted one is late; earlier ones are out of time."""
    max_jump_s: float = 3600.0
    """A step forward up to this is believed at once."""

    def __post_init__(self) -> None:
        """Refuse rules under which no picture could be sampled or no run could grow.

        Raises:
            ValueError: naming the value and its limit.
        """
        if not 0 < self.sample_fps < float("inf"):
            msg = f"sample_fps is {self.sample_fps}: give a number over 0"
            raise ValueError(msg)
        if not 0 <= self.max_gap_s < self.max_jump_s < float("inf"):
            msg = f"max_gap_s is {self.max_gap_s} and max_jump_s is {self.max_jump_s}: need 0 <= max_gap_s < max_jump_s"
            raise ValueError(msg)
        if self.sample_fps * self.max_gap_s < 1:
            msg = (
                f"sample_fps {self.sample_fps} asks every {1 / self.sample_fps:g} s, but answers more than "
                f"max_gap_s = {self.max_gap_s} apart never make a run: raise sample_fps or max_gap_s"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ClockState:
    """Where a camera's event time stands; a value that can be stored and taken up by another process."""

    anchor_s: float
    """Capture time that the sampling grid counts from."""
    last_s: float
    """Capture time of the last accepted frame."""
    stream: str | None
    """Stream uuid of the last picture in time: from then on the uuid is no new one, so one wrong time of it is not believed."""
    candidates: tuple[float, ...] = ()
    """Consecutive out-of-time captures that may become the clock (at most two are kept: the third is adopted)."""
    resets: int = 0
    """How often the clock was adopted backwards."""


class Admission(Enum):
    """What becomes of a picture."""

    ACCEPTED = "accepted"
    SAMPLED_OUT = "sampled_out"
    LATE = "late"
    CLOCK = "clock"


def admit(state: ClockState | None, captured_at_s: float, stream: str | None, rules: ClockRules) -> tuple[ClockState, Admission]:
    """Decide what becomes of a camera's next picture, in offset order.

    Args:
        state: the camera's clock; None before its first picture ever.
        captured_at_s: the picture's capture time, whole microseconds.
        stream: its stream uuid; None if the camera sends none.
        rules: may differ from those of the last call: nothing of them is kept in the state.

    Returns:
        The clock after the picture, and the decision. Only an accepted picture moves `last_s`.
    """
    if state is None:
        return ClockState(captured_at_s, captured_at_s, stream), Admission.ACCEPTED
    ahead_s = elapsed_s(captured_at_s, state.last_s)
    if 0 < ahead_s <= rules.max_jump_s:
        if _cell(state, captured_at_s, rules) > _cell(state, state.last_s, rules):
            return replace(state, last_s=captured_at_s, stream=stream, candidates=()), Admission.ACCEPTED
        return replace(state, stream=stream, candidates=()), Admission.SAMPLED_OUT
    if -rules.max_gap_s <= ahead_s <= 0:
        return replace(state, stream=stream, candidates=()), Admission.LATE
    candidates = _row(state, captured_at_s, rules)
    restarted = stream is not None and stream != state.stream
    if restarted or len(candidates) == ADOPT_AFTER:
        return _adopt(state, captured_at_s, stream), Admission.ACCEPTED
    return replace(state, candidates=candidates), Admission.CLOCK


def _cell(state: ClockState, captured_at_s: float, rules: ClockRules) -> int:
    """Index of the cell of the sampling grid that a capture lies in.

    Integers throughout. One microsecond is added because capture times are rounded to whole ones: a third of a second is
    0.333333 and would fall short of the cell that begins there.
    """
    numerator, denominator = rules.sample_fps.as_integer_ratio()
    since_anchor = whole_microseconds(captured_at_s) - whole_microseconds(state.anchor_s) + 1
    return since_anchor * numerator // (denominator * MICROSECONDS_PER_S)


def _row(state: ClockState, captured_at_s: float, rules: ClockRules) -> tuple[float, ...]:
    """The candidates with a new one: it continues them, or begins anew."""
    if state.candidates and 0 < elapsed_s(captured_at_s, state.candidates[-1]) <= rules.max_jump_s:
        return (*state.candidates, captured_at_s)
    return (captured_at_s,)


def _adopt(state: ClockState, captured_at_s: float, stream: str | None) -> ClockState:
    """Believe an out-of-time capture: backwards it begins a new grid, forwards it is only a long gap."""
    if captured_at_s < state.last_s:
        return ClockState(captured_at_s, captured_at_s, stream, resets=state.resets + 1)
    return replace(state, last_s=captured_at_s, stream=stream, candidates=())
