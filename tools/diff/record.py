"""What `diff` adds to its figures for a page: what ran on either side, and a timeline of every video."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stream.debounce_rules import DebounceRule
from tools.playback import BEGAN_S, Heard
from tools.recordings import Recording, length_s
from tools.report import timelines
from tools.report.provenance import run_of
from tools.report.record import Side
from tools.report.timelines import Filmed


@dataclass(frozen=True, slots=True)
class Played:
    """One side, played."""

    name: str
    """`before` or `after`."""
    heard: Heard
    side: Side
    rules: Sequence[DebounceRule]


def recorded(recordings: Sequence[Recording], played: Sequence[Played]) -> dict[str, Any]:
    """Give what a page needs beside the figures, ready for JSON."""
    rules = {rule.behavior: rule for one in reversed(played) for rule in one.rules}  # where both ask, the thresholds of before
    in_order = dict.fromkeys(rule.behavior for one in played for rule in one.rules)
    runs = [timelines.Heard(one.name, one.heard.sightings, one.heard.observations) for one in played]
    filmed = [Filmed(each.camera, each.camera, BEGAN_S, length_s(each)) for each in recordings]
    return {
        "run": asdict(run_of([one.side for one in played])),
        "timelines": [asdict(one) for one in timelines.timelines(filmed, [rules[behavior] for behavior in in_order], runs)],
        **{f"frames_{one.name}": one.heard.counts.as_dict() for one in played},
    }
