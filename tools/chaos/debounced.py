"""One camera's clock and behaviours: a second implementation of DESIGN section 6 and of section 7's ids, from their text alone.

Imports nothing of `stream`. Sampling is left out: it is for cameras whose every picture in time is due. Silence (rule ii of
"Lost") needs a clock on the wall: `CameraReplay.lose` is told of it.
Times are whole microseconds of event time, `_us`, so that every comparison is exact.
"""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EVENT_IDS = uuid.UUID("b7d0a2b4-5c1e-5e0f-9a63-2f3d8f6a1c55")
"""Namespace of all event ids, fixed by the project; the name is the JSON list [camera, behaviour, epoch_ms, number, kind]."""

_ADOPT_AFTER = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """When one behaviour starts and ends, as in a question file."""

    behavior: str
    start_above: float
    stop_below: float
    start_after_s: float
    stop_after_s: float
    cooldown_s: float
    max_duration_s: float = 3600.0
    min_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Rules:
    """When answers become alerts."""

    behaviors: tuple[Rule, ...]
    """In the order of the events of one picture."""
    lost_after_s: float
    max_gap_s: float
    max_jump_s: float
    questions: str | None = None
    """What alerts call the questions that these belong to."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a record."""

    at_us: int
    answers: Mapping[str, tuple[float, float]]
    """P(yes) and share by behaviour."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What the alerts topic must say."""

    id: str
    type: str
    camera: str
    at_us: int
    behavior: str | None = None
    episode: int | None = None
    started_at_us: int | None = None
    stopped_at_us: int | None = None
    reason: str | None = None
    last_frame_at_us: int | None = None
    """Of `camera.seen` and `camera.lost`."""
    questions: str | None = None
    """Which questions it follows from."""


@dataclass(slots=True)
class _Behavior:
    """What is remembered of one behaviour of one camera."""

    level: bool = False
    run_from_us: int | None = None
    run_to_us: int = 0
    since_us: int | None = None
    """Start of the open episode."""
    episodes: int = 0
    cooldown_until_us: int | None = None

    def state(self) -> dict[str, Any]:
        """Give what a worker must have stored of it."""
        return {
            "level": "yes" if self.level else "no",
            "run_s": None if self.run_from_us is None else (self.run_from_us / 1e6, self.run_to_us / 1e6),
            "since_s": _seconds(self.since_us),
            "episodes": self.episodes,
            "cooldown_until_s": _seconds(self.cooldown_until_us),
        }


@dataclass(slots=True)
class CameraReplay:
    """One camera, from its first record on."""

    name: str
    rules: Rules
    totals: Counter[str]
    alerts: list[Alert] = field(default_factory=list)
    last_us: int | None = None
    """Capture time of the last accepted picture; None before the first."""
    set_back: int = 0
    """How often the clock went back."""
    turns: list[tuple[int, Rules]] = field(default_factory=list)
    """Other questions with their rules, each in force from the picture of this capture time on."""
    _epoch_ms: int = 0
    _sightings: int = 0
    _lost: bool = True
    _stream: str | None = None
    _candidates: list[int] = field(default_factory=list)
    _behaviors: dict[str, _Behavior] = field(default_factory=dict)

    def take(self, shot: Shot, stream: str | None) -> None:
        """Take the next picture in order of presentation."""
        while self.turns and self.turns[0][0] == shot.at_us:
            self._turn()
        self.totals["pictures"] += 1
        before_us = self.last_us
        if before_us is None:
            self._epoch_ms = shot.at_us // 1000
        else:
            outcome = self._judge(shot.at_us, stream, before_us)
            if outcome is not None:
                self.totals[outcome] += 1
                return
        self.totals["accepted"] += 1
        self._stream, self._candidates = stream, []
        if before_us is not None and shot.at_us < before_us:
            self._set_back(before_us)
        elif before_us is not None and shot.at_us - before_us > _us(self.rules.lost_after_s):
            self.lose()
        self.last_us = shot.at_us
        if self._lost:
            self._lost = False
            self._sightings += 1
            self._tell("camera.seen", None, self._sightings, shot.at_us, last_frame_at_us=shot.at_us)
        for rule in self.rules.behaviors:
            self._observe(rule, self._behaviors.setdefault(rule.behavior, _Behavior()), shot)

    def finish(self) -> None:
        """No further picture comes: the questions that came since are in force."""
        while self.turns:
            self._turn()

    def lose(self) -> None:
        """Give the camera up: once, until its next accepted picture."""
        if self._lost or self.last_us is None:
            return
        self._lost = True
        at_us = self.last_us + _us(self.rules.lost_after_s)
        for rule in self.rules.behaviors:
            self._end(rule.behavior, at_us, self.last_us, "stream_lost", rule.cooldown_s)
        self._tell("camera.lost", None, self._sightings, at_us, last_frame_at_us=self.last_us)

    def state(self) -> dict[str, Any]:
        """Give the state that a worker must have stored; a cooldown that is over counts as none."""
        assert self.last_us is not None, self.name
        return {
            "camera": self.name,
            "epoch_ms": self._epoch_ms,
            "sightings": self._sightings,
            "lost": self._lost,
            "last_s": self.last_us / 1e6,
            "stream": self._stream,
            "candidates_s": tuple(at_us / 1e6 for at_us in self._candidates),
            "resets": self.set_back,
            "behaviors": {name: each.state() for name, each in self._behaviors.items()},
        }

    def _turn(self) -> None:
        """Take other questions: what is open of a behaviour that is gone ends at the last accepted picture; all else goes on."""
        _, self.rules = self.turns.pop(0)
        asked = {rule.behavior for rule in self.rules.behaviors}
        for behavior in self._behaviors.keys() - asked:
            assert self.last_us is not None, self.name
            self._end(behavior, self.last_us, self.last_us, "question_removed", 0.0)

    def _judge(self, at_us: int, stream: str | None, last_us: int) -> str | None:
        """Say why a picture is dropped; None: it is accepted."""
        jump_us, gap_us = _us(self.rules.max_jump_s), _us(self.rules.max_gap_s)
        ahead_us = at_us - last_us
        if 0 < ahead_us <= jump_us:
            return None
        if -gap_us <= ahead_us <= 0:
            self._stream, self._candidates = stream, []
            return "late"
        in_a_row = bool(self._candidates) and 0 < at_us - self._candidates[-1] <= jump_us
        self._candidates = [*self._candidates, at_us] if in_a_row else [at_us]
        is_new_stream = stream is not None and stream != self._stream
        return None if is_new_stream or len(self._candidates) == _ADOPT_AFTER else "clock"

    def _set_back(self, last_us: int) -> None:
        self.set_back += 1
        for rule in self.rules.behaviors:
            self._end(rule.behavior, last_us, last_us, "clock_reset", 0.0)
        for each in self._behaviors.values():
            each.run_from_us = each.cooldown_until_us = None

    def _observe(self, rule: Rule, state: _Behavior, shot: Shot) -> None:
        now_us = shot.at_us
        is_yes = _level(rule, state, shot)
        if is_yes is not None:
            goes_on = state.run_from_us is not None and is_yes == state.level
            if not goes_on or now_us - state.run_to_us > _us(self.rules.max_gap_s):
                state.run_from_us = now_us
            state.run_to_us, state.level = now_us, is_yes
        if state.since_us is not None and now_us - state.since_us >= _us(rule.max_duration_s):
            self._end(rule.behavior, now_us, now_us, "max_duration", rule.cooldown_s)
            return
        if is_yes is None or state.run_from_us is None:
            return
        held_us = now_us - state.run_from_us
        if state.since_us is None:
            is_cool = state.cooldown_until_us is None or now_us >= state.cooldown_until_us
            if is_yes and is_cool and held_us >= _us(rule.start_after_s):
                state.since_us = state.run_from_us
                state.episodes += 1
                self._tell(
                    "behavior.started",
                    rule.behavior,
                    state.episodes,
                    now_us,
                    episode=state.episodes,
                    started_at_us=state.since_us,
                )
        elif not is_yes and held_us >= _us(rule.stop_after_s):
            self._end(rule.behavior, now_us, state.run_from_us, "stopped", rule.cooldown_s)

    def _end(self, behavior: str, at_us: int, stopped_at_us: int, reason: str, cooldown_s: float) -> None:
        """End a behaviour's episode, if one is open."""
        state = self._behaviors.get(behavior)
        if state is None or state.since_us is None:
            return
        self._tell(
            "behavior.ended",
            behavior,
            state.episodes,
            at_us,
            episode=state.episodes,
            started_at_us=state.since_us,
            stopped_at_us=stopped_at_us,
            reason=reason,
        )
        state.since_us = state.run_from_us = None
        state.cooldown_until_us = at_us + _us(cooldown_s)

    def _tell(self, what: str, behavior: str | None, number: int, at_us: int, **more: Any) -> None:
        kind = what.partition(".")[2]
        name = json.dumps([self.name, behavior, self._epoch_ms, number, kind], separators=(",", ":"))
        self.alerts.append(
            Alert(
                str(uuid.uuid5(EVENT_IDS, name)),
                f"pawsight.{what}",
                self.name,
                at_us,
                behavior=behavior,
                questions=self.rules.questions,
                **more,
            )
        )


def _level(rule: Rule, state: _Behavior, shot: Shot) -> bool | None:
    """Say what is known of a behaviour in a picture: yes, no, or nothing."""
    p_yes, share = shot.answers[rule.behavior]
    if share < rule.min_share:
        return None
    if p_yes >= rule.start_above:
        return True
    return False if p_yes <= rule.stop_below else state.level


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1e6


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
