"""One event of every kind and reason, as the debouncer emits them."""

from dataclasses import replace

from stream.alerts import AlertContext
from stream.debounce import DebounceRules, lose, retain
from stream.types import Event
from tests.unit.camera_script import play, rules, script

CONTEXT = AlertContext("/pawsight/pets", "Salesforce/blip-vqa-base", "sha256:0123", "89abcdef01234567")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def sample_events() -> list[Event]:
    """Seen, started, stopped, max_duration, clock_reset, stream_lost with lost, question_removed; some with a trace."""
    frames = [replace(frame, traceparent=TRACE) for frame in script("YYYnnnYYYYYYYY")]
    state, events = play(frames, rules(max_duration_s=5.5))
    state, more = play(script("YYYY", begin_s=14), state=state)
    events += more
    state, more = play(script("YYY", begin_s=1, resets=1), state=state)
    events += more
    assert state is not None
    removed = retain(state, DebounceRules.of([], max_gap_s=2.0, lost_after_s=6.0))[1]
    return [*events, *removed, *lose(state, rules())[1]]
