"""Every failure that notes/exactly-once.md names under "Suite", as a scenario of its own; names begin with the note's number.

Which sentence of the note is held by which scenario stands in tests/chaos/suite.py.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from tools.chaos.scenarios import (
    deploy,
    keyframes,
    load,
    logs,
    membership,
    moving,
    poison,
    quarantine,
    reading,
    state,
    streams,
    wall_clock,
    writing,
)
from tools.chaos.scenarios.playing import perform
from tools.chaos.scenarios.scenario import Scenario

THEMES = (reading, writing, membership, state, logs, streams, wall_clock, moving, keyframes, poison, quarantine, deploy, load)


def _number(name: str) -> int:
    """The note's number; scenarios of ours come behind."""
    number = name.split("-", maxsplit=1)[0]
    return int(number) if number.isdecimal() else 100


_FOUND = {name: each for theme in THEMES for name, each in theme.SCENARIOS.items()}
SCENARIOS: Mapping[str, Scenario] = {name: _FOUND[name] for name in sorted(_FOUND, key=_number)}
"""By name, in the order of the note."""


def play(name: str) -> dict[str, Any]:
    """Play one scenario.

    Returns:
        `name`, `passed`, `figures`, `problems` (sentences).

    Raises:
        CommandError: no broker can be started here.
    """
    return asyncio.run(perform(name, SCENARIOS[name]))
