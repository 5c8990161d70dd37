"""The debouncer's state machine as a table: every way a behaviour moves between its phases stands in `TABLE`.

Two rules keep it so. All transitions go through `TABLE`; a pair that is not in it is a programmer's error. When a signal is
given (levels, runs, durations, clocks) is no business of this file: that is `stream.debounce`. The README's diagram is
`diagram()`, so it cannot drift.
"""

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """Where a behaviour of a camera stands."""

    IDLE = "idle"
    """Not happening."""
    STARTING = "starting"
    """Seen, not yet for start_after_s."""
    OPEN = "open"
    """An episode is on."""
    STOPPING = "stopping"
    """An episode is on, the behaviour is no longer seen, not yet for stop_after_s."""
    COOLDOWN = "cooldown"
    """An episode ended less than cooldown_s ago."""


class Signal(StrEnum):
    """What happens to a behaviour."""

    YES = "yes"
    NO = "no"
    YES_HELD = "yes for start_after_s"
    NO_HELD = "no for stop_after_s"
    OVERDUE = "on for max_duration_s"
    CUT = "stream lost, question removed"
    RESET = "clock set back"
    COOLED = "cooldown_s over"


class Action(StrEnum):
    """What a transition publishes."""

    START = "started"
    END = "ended"


TABLE: Mapping[tuple[Phase, Signal], tuple[Phase, Action | None]] = {
    (Phase.IDLE, Signal.YES): (Phase.STARTING, None),
    (Phase.IDLE, Signal.NO): (Phase.IDLE, None),
    (Phase.IDLE, Signal.RESET): (Phase.IDLE, None),
    (Phase.STARTING, Signal.YES): (Phase.STARTING, None),
    (Phase.STARTING, Signal.NO): (Phase.IDLE, None),
    (Phase.STARTING, Signal.YES_HELD): (Phase.OPEN, Action.START),
    (Phase.STARTING, Signal.RESET): (Phase.IDLE, None),
    (Phase.OPEN, Signal.YES): (Phase.OPEN, None),
    (Phase.OPEN, Signal.NO): (Phase.STOPPING, None),
    (Phase.OPEN, Signal.OVERDUE): (Phase.COOLDOWN, Action.END),
    (Phase.OPEN, Signal.CUT): (Phase.COOLDOWN, Action.END),
    (Phase.OPEN, Signal.RESET): (Phase.IDLE, Action.END),
    (Phase.STOPPING, Signal.YES): (Phase.OPEN, None),
    (Phase.STOPPING, Signal.NO): (Phase.STOPPING, None),
    (Phase.STOPPING, Signal.NO_HELD): (Phase.COOLDOWN, Action.END),
    (Phase.STOPPING, Signal.OVERDUE): (Phase.COOLDOWN, Action.END),
    (Phase.STOPPING, Signal.CUT): (Phase.COOLDOWN, Action.END),
    (Phase.STOPPING, Signal.RESET): (Phase.IDLE, Action.END),
    (Phase.COOLDOWN, Signal.YES): (Phase.COOLDOWN, None),
    (Phase.COOLDOWN, Signal.NO): (Phase.COOLDOWN, None),
    (Phase.COOLDOWN, Signal.COOLED): (Phase.IDLE, None),
    (Phase.COOLDOWN, Signal.RESET): (Phase.IDLE, None),
}


def diagram() -> str:
    """Draw `TABLE` as a Mermaid state diagram; what changes nothing and publishes nothing is left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.IDLE}"]
    labels: dict[tuple[Phase, Phase], list[str]] = {}
    for (source, signal), (target, action) in TABLE.items():
        if source is not target or action is not None:
            label = signal.value if action is None else f"{signal} / {action}"
            labels.setdefault((source, target), []).append(label)
    lines += [f"    {source} --> {target}: {'<br/>'.join(label)}" for (source, target), label in labels.items()]
    return "\n".join(lines) + "\n"
