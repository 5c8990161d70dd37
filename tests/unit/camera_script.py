"""A camera as a line of text: one character a second, and its events as lines of text.

Y yes    n no    ~ between the thresholds    ? unknown (share too small)    . no frame
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stream.clock import ClockState, elapsed_s, event_time
from stream.debounce import CameraState, DebounceRule, DebounceRules, observe
from stream.types import Answer, BehaviorEvent, Event, Kind, Observation, Position

T0_S = 1_767_225_600.0
CAMERA = "den"
ANSWERS = {"Y": Answer(0.9, 1.0), "n": Answer(0.1, 1.0), "~": Answer(0.5, 1.0), "?": Answer(0.9, 0.1)}

BARKING = DebounceRule("barking", 0.65, 0.35, start_after_s=2.0, stop_after_s=2.0, cooldown_s=0.0, severity="warning")
RULES = DebounceRules.of([BARKING], max_gap_s=2.0, lost_after_s=6.0)


def rules(**changes: object) -> DebounceRules:
    """The rules with some numbers of barking changed."""
    return replace(RULES, by_behavior={"barking": replace(BARKING, **changes)})


def observation(at_s: float, answers: Mapping[str, Answer], *, resets: int = 0, traceparent: str | None = None) -> Observation:
    """A frame captured `at_s` seconds after T0; its offset is the number of milliseconds."""
    captured_at_s = event_time(T0_S + at_s)
    return Observation(
        position=Position("frames", 3, round(at_s * 1000)),
        camera_id=CAMERA,
        captured_at_s=captured_at_s,
        answers=answers,
        clock=ClockState(T0_S, captured_at_s, None, resets=resets),
        traceparent=traceparent,
        arrived_at_s=captured_at_s + 0.25,
    )


def script(text: str, *, begin_s: float = 0.0, resets: int = 0) -> list[Observation]:
    """The frames of a script."""
    return [
        observation(begin_s + second, {"barking": ANSWERS[sign]}, resets=resets)
        for second, sign in enumerate(text)
        if sign != "."
    ]


def play(
    frames: Iterable[Observation], under: DebounceRules = RULES, state: CameraState | None = None
) -> tuple[CameraState | None, list[Event]]:
    """Observe one frame after the other."""
    events: list[Event] = []
    for frame in frames:
        state, more = observe(state, frame, under)
        events += more
    return state, events


def tell(events: Iterable[Event]) -> list[str]:
    """Say what happened, in seconds since T0."""
    return [_line(event) for event in events]


def _line(event: Event) -> str:
    at_s = f"{elapsed_s(event.at_s, T0_S):g}"
    if not isinstance(event, BehaviorEvent):
        return f"{event.kind} at {at_s}"
    began_s = f"{elapsed_s(event.started_at_s, T0_S):g}"
    if event.kind is Kind.STARTED:
        return f"{event.behavior} #{event.episode} started at {at_s} from {began_s}"
    assert event.stopped_at_s is not None
    return f"{event.behavior} #{event.episode} {event.reason} at {at_s} from {began_s} to {elapsed_s(event.stopped_at_s, T0_S):g}"
