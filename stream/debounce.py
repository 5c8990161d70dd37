"""Answers in, events out: DESIGN section 6, exactly. One camera's state at a time, never a clock, never a message.

Event time only: the same frames give the same events with the same ids, live and in a replay, in whatever batches, and with
the state written and read back between any two of them. The phases of a behaviour are the table of `stream.phases`; this file
says when each of its signals is given.
"""

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stream.camera_state import BehaviorState, CameraState, Episode, Level, Run
from stream.clock import elapsed_s, event_time, whole_microseconds
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.phases import TABLE, Action, Phase, Signal
from stream.types import Answer, BehaviorEvent, CameraEvent, Event, Evidence, Kind, Observation, Reason

__all__ = ["CameraState", "DebounceRule", "DebounceRules", "Silence", "is_silent", "lose", "observe", "retain"]

EVENT_IDS = uuid.UUID("b7d0a2b4-5c1e-5e0f-9a63-2f3d8f6a1c55")
"""Namespace of all event ids; a constant of the project, drawn once. Changing it makes every id new."""


@dataclass(frozen=True, slots=True)
class Silence:
    """What is known about a camera that may have gone silent; times by one clock, its source's, in seconds."""

    arrived_at_s: float
    """When anything of the camera last arrived: at least the state's `arrived_at_s`."""
    asked_at_s: float
    """When the end of its partition was asked for, with everything before it polled and nothing in flight."""
    live_since_s: float
    """Since when such proofs came without a break."""
    grace_s: float
    """How long after an outage, a pause or a restore nobody is called lost."""


def observe(state: CameraState | None, observation: Observation, rules: DebounceRules) -> tuple[CameraState, tuple[Event, ...]]:
    """Apply one frame's answers.

    Args:
        state: the camera's state; None before its first frame ever.
        observation: a frame that the camera's clock accepted after the last one observed.
        rules: those in force now. Behaviours of the state without a rule keep their open episode: see `retain`.
    """
    events: list[Event] = []
    if state is None:
        state = _unseen(observation)
    elif observation.clock.resets > state.clock.resets:
        state, ended = _reset(state)
        events += ended
    elif elapsed_s(observation.captured_at_s, state.clock.last_s) > rules.lost_after_s:
        state, ended = lose(state, rules)
        events += ended
    if state.lost:
        state = replace(state, lost=False, sightings=state.sightings + 1)
        events.append(_camera_event(state, Kind.SEEN, observation.captured_at_s, observation))
    behaviors: dict[str, BehaviorState] = {}
    for behavior, rule in rules.by_behavior.items():
        behaviors[behavior], event = _advance(state, observation, rule, rules.max_gap_s)
        if event is not None:
            events.append(event)
    without_rule = {behavior: kept for behavior, kept in state.behaviors.items() if behavior not in behaviors}
    arrived_at_s = max(state.arrived_at_s, observation.arrived_at_s)
    return (
        replace(state, clock=observation.clock, arrived_at_s=arrived_at_s, behaviors=behaviors | without_rule),
        tuple(events),
    )


def lose(state: CameraState, rules: DebounceRules) -> tuple[CameraState, tuple[Event, ...]]:
    """Give up a camera whose stream is over, however that is known: open episodes end, and the camera is lost once."""
    if state.lost:
        return state, ()
    last_s = state.clock.last_s
    at_s = event_time(last_s + rules.lost_after_s)
    behaviors, ended = _end_all(state, rules.by_behavior, _Ending(Signal.CUT, Reason.STREAM_LOST, at_s, last_s), state.behaviors)
    return replace(state, lost=True, behaviors=behaviors), (*ended, _camera_event(state, Kind.LOST, at_s, None))


def is_silent(state: CameraState, silence: Silence, rules: DebounceRules) -> bool:
    """Tell whether nothing came of a camera for lost_after_s while its partition was proven live: then it is to be lost."""
    silent_for_s = silence.asked_at_s - max(silence.arrived_at_s, state.arrived_at_s)
    live_for_s = silence.asked_at_s - silence.live_since_s
    return not state.lost and silent_for_s >= rules.lost_after_s and live_for_s >= silence.grace_s


def retain(state: CameraState, rules: DebounceRules) -> tuple[CameraState, tuple[Event, ...]]:
    """End the episodes of behaviours that are not asked any more; new wording or thresholds keep theirs open.

    Returns the very state that came in if nothing was open on a removed behaviour.
    """
    last_s = state.clock.last_s
    gone = {behavior: kept for behavior, kept in state.behaviors.items() if behavior not in rules.by_behavior}
    if not any(kept.episode for kept in gone.values()):
        return state, ()
    ending = _Ending(Signal.CUT, Reason.QUESTION_REMOVED, last_s, last_s)
    behaviors, ended = _end_all(state, rules.by_behavior, ending, gone)
    return replace(state, behaviors={**state.behaviors, **behaviors}), ended


def _unseen(observation: Observation) -> CameraState:
    """A camera right before its first frame ever: as if lost, so that the frame sees it."""
    return CameraState(
        camera_id=observation.camera_id,
        epoch_ms=whole_microseconds(observation.captured_at_s) // 1000,
        clock=observation.clock,
        arrived_at_s=observation.arrived_at_s,
        lost=True,
        sightings=0,
    )


def _reset(state: CameraState) -> tuple[CameraState, tuple[Event, ...]]:
    """The clock was set back: end what is open on the old clock, forget every run and cooldown."""
    last_s = state.clock.last_s
    behaviors, ended = _end_all(state, {}, _Ending(Signal.RESET, Reason.CLOCK_RESET, last_s, last_s), state.behaviors)
    cleared = {
        behavior: replace(kept, phase=_move(kept, Signal.RESET)[0], run=None, cooldown_until_s=None)
        for behavior, kept in behaviors.items()
    }
    return replace(state, behaviors=cleared), ended


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why and when an episode ends; without an answer where no frame decided."""

    signal: Signal
    reason: Reason
    at_s: float
    stopped_at_s: float
    answer: Answer | None = None
    threshold: float | None = None
    traceparent: str | None = None


def _advance(
    camera: CameraState, observation: Observation, rule: DebounceRule, max_gap_s: float
) -> tuple[BehaviorState, BehaviorEvent | None]:
    """Take one behaviour over one frame: cooldown, level, run, then what became due."""
    now_s, answer = observation.captured_at_s, _answer(observation, rule)
    state = camera.behaviors.get(rule.behavior, BehaviorState())
    if state.cooldown_until_s is not None and now_s >= state.cooldown_until_s:
        state = replace(state, phase=_move(state, Signal.COOLED)[0], cooldown_until_s=None)
    level = _level(answer, rule, state.level)
    if level is not None:
        run = _run(state, level, observation, max_gap_s)
        signal = Signal.YES if level is Level.YES else Signal.NO
        state = replace(state, phase=_move(state, signal)[0], level=level, run=run)
    due = _due(state, level, now_s, rule)
    if due is None:
        return state, None
    if _move(state, due)[1] is Action.START:
        return _start(camera, state, observation, rule)
    ending = _decided(state, due, observation, rule)
    return _end(camera, state, rule.behavior, ending, rule.cooldown_s)


def _answer(observation: Observation, rule: DebounceRule) -> Answer | None:
    """What the model said about a behaviour; None if it was not asked, or said nothing that is a number."""
    answer = observation.answers.get(rule.behavior)
    return None if answer is None or math.isnan(answer.p_yes) or math.isnan(answer.share) else answer


def _level(answer: Answer | None, rule: DebounceRule, last: Level) -> Level | None:
    """What an answer says; None: unknown, as if the frame had not asked."""
    if answer is None or answer.share < rule.min_share:
        return None
    if answer.p_yes >= rule.start_above:
        return Level.YES
    return Level.NO if answer.p_yes <= rule.stop_below else last


def _run(state: BehaviorState, level: Level, observation: Observation, max_gap_s: float) -> Run:
    """The run that a known answer continues or begins."""
    now_s, run = observation.captured_at_s, state.run
    if run is not None and level is state.level and elapsed_s(now_s, run.last_s) <= max_gap_s:
        return replace(run, last_s=now_s)
    at = observation.position
    evidence = Evidence(at.topic, at.partition, at.offset, at.index, now_s) if level is Level.YES else None
    return Run(now_s, now_s, evidence)


def _due(state: BehaviorState, level: Level | None, now_s: float, rule: DebounceRule) -> Signal | None:
    """The signal of a duration that was reached at this frame; max_duration_s also on a frame without a known answer."""
    if state.episode is not None and elapsed_s(now_s, state.episode.started_at_s) >= rule.max_duration_s:
        return Signal.OVERDUE
    if level is None or state.run is None:
        return None
    held_s = elapsed_s(now_s, state.run.began_s)
    if state.phase is Phase.STARTING and held_s >= rule.start_after_s:
        return Signal.YES_HELD
    if state.phase is Phase.STOPPING and held_s >= rule.stop_after_s:
        return Signal.NO_HELD
    return None


def _decided(state: BehaviorState, due: Signal, observation: Observation, rule: DebounceRule) -> _Ending:
    """The ending that this very frame decides: no held for stop_after_s, or max_duration_s is over."""
    now_s, answer = observation.captured_at_s, _answer(observation, rule)
    if due is Signal.OVERDUE:
        return _Ending(due, Reason.MAX_DURATION, now_s, now_s, answer, None, observation.traceparent)
    assert state.run is not None, state
    return _Ending(due, Reason.STOPPED, now_s, state.run.began_s, answer, rule.stop_below, observation.traceparent)


def _move(state: BehaviorState, signal: Signal) -> tuple[Phase, Action | None]:
    return TABLE[state.phase, signal]


def _start(
    camera: CameraState, state: BehaviorState, observation: Observation, rule: DebounceRule
) -> tuple[BehaviorState, BehaviorEvent]:
    assert state.run is not None, state
    assert state.run.evidence is not None, state
    number, answer = state.episodes + 1, observation.answers[rule.behavior]
    event = BehaviorEvent(
        event_id=_event_id(camera, rule.behavior, number, Kind.STARTED),
        kind=Kind.STARTED,
        camera_id=camera.camera_id,
        behavior=rule.behavior,
        episode=number,
        severity=rule.severity,
        at_s=observation.captured_at_s,
        started_at_s=state.run.began_s,
        stopped_at_s=None,
        reason=None,
        score=answer.p_yes,
        share=answer.share,
        threshold=rule.start_above,
        evidence=state.run.evidence,
        traceparent=observation.traceparent,
    )
    episode = Episode(state.run.began_s, rule.severity, state.run.evidence)
    return replace(state, phase=_move(state, Signal.YES_HELD)[0], episodes=number, episode=episode), event


def _end(
    camera: CameraState, state: BehaviorState, behavior: str, ending: _Ending, cooldown_s: float
) -> tuple[BehaviorState, BehaviorEvent]:
    """End the open episode: runs are cleared, so episodes never overlap, and the cooldown begins."""
    phase, action = _move(state, ending.signal)
    assert action is Action.END, (state, ending)
    assert state.episode is not None, state
    event = BehaviorEvent(
        event_id=_event_id(camera, behavior, state.episodes, Kind.ENDED),
        kind=Kind.ENDED,
        camera_id=camera.camera_id,
        behavior=behavior,
        episode=state.episodes,
        severity=state.episode.severity,
        at_s=ending.at_s,
        started_at_s=state.episode.started_at_s,
        stopped_at_s=ending.stopped_at_s,
        reason=ending.reason,
        score=None if ending.answer is None else ending.answer.p_yes,
        share=None if ending.answer is None else ending.answer.share,
        threshold=ending.threshold,
        evidence=state.episode.evidence,
        traceparent=ending.traceparent,
    )
    cooldown_until_s = event_time(ending.at_s + cooldown_s) if phase is Phase.COOLDOWN else None
    return replace(state, phase=phase, run=None, episode=None, cooldown_until_s=cooldown_until_s), event


def _end_all(
    camera: CameraState, rules: Mapping[str, DebounceRule], ending: _Ending, behaviors: Mapping[str, BehaviorState]
) -> tuple[dict[str, BehaviorState], tuple[BehaviorEvent, ...]]:
    """End every open episode of `behaviors` that no frame decides about; one without a rule has no cooldown."""
    after, events = dict(behaviors), []
    for behavior, state in behaviors.items():
        if state.episode is not None:
            cooldown_s = rules[behavior].cooldown_s if behavior in rules else 0.0
            after[behavior], event = _end(camera, state, behavior, ending, cooldown_s)
            events.append(event)
    return after, tuple(events)


def _camera_event(state: CameraState, kind: Kind, at_s: float, observation: Observation | None) -> CameraEvent:
    return CameraEvent(
        event_id=_event_id(state, None, state.sightings, kind),
        kind=kind,
        camera_id=state.camera_id,
        at_s=at_s,
        last_frame_at_s=state.clock.last_s if observation is None else observation.captured_at_s,
        traceparent=None if observation is None else observation.traceparent,
    )


def _event_id(camera: CameraState, behavior: str | None, number: int, kind: Kind) -> str:
    """Name an event for ever; the JSON list keeps apart what a plain joining of names could confuse."""
    name = json.dumps([camera.camera_id, behavior, camera.epoch_ms, number, kind.value], separators=(",", ":"))
    return str(uuid.uuid5(EVENT_IDS, name))
