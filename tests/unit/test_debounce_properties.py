"""The debouncer against an oracle that keeps no state: it looks back over the whole history at every frame."""

from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.camera_state import CameraState
from stream.clock import ClockRules, ClockState, admit
from stream.debounce import DebounceRule, DebounceRules, lose, observe, retain
from stream.state_codec import decode_camera, encode_camera
from stream.state_records import CameraRecord, Cursor
from stream.types import Answer, BehaviorEvent, CameraEvent, Event, Kind, Observation, Position
from tests.unit.camera_script import T0_S, observation, play, tell

MAX_GAP_S, LOST_AFTER_S = 2.0, 5.0

quarters = st.integers(0, 16).map(lambda n: n / 4)
rule_numbers = st.builds(
    DebounceRule,
    behavior=st.just("barking"),
    start_above=st.just(0.65),
    stop_below=st.just(0.35),
    start_after_s=quarters,
    stop_after_s=quarters,
    cooldown_s=st.sampled_from([0.0, 1.0, 3.0, 10.0]),
    max_duration_s=st.sampled_from([4.25, 8.0, 3600.0]),
)
# Mostly in step and mostly of one mind, so that episodes grow; gaps, doubts and losses in between.
steps_s = st.sampled_from([0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 2.25, 5.0, 5.25, 9.0])
answers = st.sampled_from(
    [Answer(0.9, 1.0)] * 4 + [Answer(0.1, 1.0)] * 4 + [Answer(0.5, 1.0), Answer(0.65, 0.5), Answer(0.9, 0.2)]
)
films = st.lists(st.tuples(steps_s, answers), min_size=1, max_size=60)


def frames_of(film: list[tuple[float, Answer]]) -> list[Observation]:
    """The film's frames; the first lies at 0."""
    at_s, frames = -film[0][0], []
    for step_s, answer in film:
        at_s += step_s
        frames.append(observation(at_s, {"barking": answer}))
    return frames


def rules_of(*rules: DebounceRule) -> DebounceRules:
    """The rules under the small gap and loss of these properties."""
    return DebounceRules.of(rules, max_gap_s=MAX_GAP_S, lost_after_s=LOST_AFTER_S)


@dataclass
class Oracle:
    """The rules of DESIGN section 6 as they are written, for one behaviour, from the list of all frames."""

    frames: list[tuple[float, Answer]]
    rule: DebounceRule

    def level(self, i: int) -> str | None:
        """YES, NO or None (unknown) of frame i."""
        p, share = self.frames[i][1].p_yes, self.frames[i][1].share
        if share < self.rule.min_share:
            return None
        if p >= self.rule.start_above:
            return "YES"
        if p <= self.rule.stop_below:
            return "NO"
        return next((known for j in range(i - 1, -1, -1) if (known := self.level(j))), "NO")

    def run_began(self, i: int, cleared: int) -> float:
        """When the run of the known frame i began, looking back no further than behind frame `cleared`."""
        began = self.frames[i][0]
        for j in range(i - 1, cleared, -1):
            level, at = self.level(j), self.frames[j][0]
            if level is None:
                continue
            if level != self.level(i) or began - at > MAX_GAP_S:
                break
            began = at
        return began

    def story(self) -> list[str]:
        """What must be told."""
        lines, started, episode, cleared, until = ["seen at 0"], None, 0, -1, float("-inf")
        for i, (now, _) in enumerate(self.frames):
            last = self.frames[i - 1][0] if i else now
            if now - last > LOST_AFTER_S:
                lost = last + LOST_AFTER_S
                if started is not None:
                    lines.append(f"barking #{episode} stream_lost at {lost:g} from {started:g} to {last:g}")
                    started, cleared, until = None, i - 1, lost + self.rule.cooldown_s
                lines += [f"lost at {lost:g}", f"seen at {now:g}"]
            level = self.level(i)
            began = self.run_began(i, cleared) if level else now
            if started is not None and now - started >= self.rule.max_duration_s:
                lines.append(f"barking #{episode} max_duration at {now:g} from {started:g} to {now:g}")
                started, cleared, until = None, i, now + self.rule.cooldown_s
            elif started is None and level == "YES" and now - began >= self.rule.start_after_s and now >= until:
                started, episode = began, episode + 1
                lines.append(f"barking #{episode} started at {now:g} from {began:g}")
            elif started is not None and level == "NO" and now - began >= self.rule.stop_after_s:
                lines.append(f"barking #{episode} stopped at {now:g} from {started:g} to {began:g}")
                started, cleared, until = None, i, now + self.rule.cooldown_s
        return lines


@settings(max_examples=400)
@given(films, rule_numbers)
def test_tells_what_the_rules_tell(film: list[tuple[float, Answer]], rule: DebounceRule) -> None:
    """Levels, runs, starts, ends, cooldown, max_duration and losses are those of the rules as written."""
    frames = frames_of(film)
    oracle = Oracle([(frame.captured_at_s - T0_S, frame.answers["barking"]) for frame in frames], rule)
    assert tell(play(frames, rules_of(rule))[1]) == oracle.story()


@given(films, rule_numbers, st.data())
def test_state_can_be_written_and_read_between_any_two_frames(
    film: list[tuple[float, Answer]], rule: DebounceRule, data: st.DataObject
) -> None:
    """A worker that dies anywhere is taken up by another with the very same events."""
    frames, rules = frames_of(film), rules_of(rule)
    handovers = data.draw(st.sets(st.integers(0, len(frames) - 1)))
    state: CameraState | None = None
    events: list[Event] = []
    for index, frame in enumerate(frames):
        if state is not None and index in handovers:
            state = decode_camera(encode_camera(CameraRecord(state, Cursor(index)))).state
        state, more = observe(state, frame, rules)
        events += more
    assert (state, events) == play(frames, rules)


happenings = st.sampled_from(["frame"] * 12 + ["removed", "lost", "clock set back"])


@given(st.lists(st.tuples(happenings, steps_s, answers), max_size=60), rule_numbers)
def test_episodes_alternate_whatever_happens(film: list[tuple[str, float, Answer]], rule: DebounceRule) -> None:
    """Started, ended, started ...; episodes count 1, 2, 3 and never overlap; all ids differ; seen and lost take turns."""
    asked, nothing = rules_of(rule), DebounceRules.of([], max_gap_s=MAX_GAP_S, lost_after_s=LOST_AFTER_S)
    state, events = play([observation(0, {})], asked)
    at_s, resets = 0.0, 0
    for happening, step_s, answer in film:
        assert state is not None
        if happening == "removed":
            state, more = retain(state, nothing)
        elif happening == "lost":
            state, more = lose(state, asked)
        else:
            at_s, resets = (at_s + step_s, resets) if happening == "frame" else (at_s - 100, resets + 1)
            state, more = observe(state, observation(at_s, {"barking": answer}, resets=resets), asked)
        events += more
    assert state is not None
    events += lose(state, asked)[1]
    assert len({event.event_id for event in events}) == len(events)
    cameras = [event.kind for event in events if isinstance(event, CameraEvent)]
    assert cameras == [Kind.SEEN, Kind.LOST] * (len(cameras) // 2)
    own = [event for event in events if isinstance(event, BehaviorEvent)]
    assert [event.kind for event in own] == [Kind.STARTED, Kind.ENDED] * (len(own) // 2)
    assert [event.episode for event in own] == [n // 2 + 1 for n in range(len(own))]
    assert all(event.duration_s is None or event.duration_s >= 0 for event in own)
    for ended, started in pairwise(own[1:]):
        if started.kind is Kind.STARTED and resets == 0:
            assert ended.stopped_at_s is not None
            assert started.started_at_s > ended.stopped_at_s


@given(films, rule_numbers)
def test_behaviors_are_independent(film: list[tuple[float, Answer]], rule: DebounceRule) -> None:
    """Another behaviour that is asked in the same frames changes nothing."""
    frames = frames_of(film)
    chewing = replace(rule, behavior="chewing", start_after_s=0.0, stop_after_s=0.0)
    both = [replace(frame, answers={"chewing": Answer(0.9, 1.0), **frame.answers}) for frame in frames]
    alone = tell(play(frames, rules_of(rule))[1])
    assert [line for line in tell(play(both, rules_of(chewing, rule))[1]) if not line.startswith("chewing")] == alone


@given(st.lists(st.tuples(st.sampled_from([-9.0, -1.5, -0.5, 0.0, 0.5, 0.5, 0.5, 1.0, 7.0]), answers), max_size=60), rule_numbers)
def test_late_and_odd_frames_change_nothing(film: list[tuple[float, Answer]], rule: DebounceRule) -> None:
    """Leaving out what the clock does not accept tells the same story, and so does playing the accepted frames again."""
    clock_rules = ClockRules(sample_fps=2.0, max_gap_s=MAX_GAP_S, max_jump_s=60.0)

    def through_the_clock(shots: list[tuple[float, Answer]]) -> list[Observation]:
        clock: ClockState | None = None
        accepted = []
        for at_s, answer in shots:
            before = clock
            clock, admission = admit(clock, T0_S + at_s, None, clock_rules)
            if admission.value == "accepted":
                accepted.append(replace(observation(at_s, {"barking": answer}), clock=clock))
            else:
                assert before is not None
                assert replace(clock, candidates=()) == replace(before, candidates=())
        return accepted

    at_s, shots = 0.0, []
    for step_s, answer in film:
        at_s += step_s
        shots.append((at_s, answer))
    accepted = through_the_clock(shots)
    _, events = play(accepted, rules_of(rule))
    again = [replace(frame, position=Position("elsewhere", 0, 0)) for frame in accepted]
    assert tell(play(again, rules_of(rule))[1]) == tell(events)
    assert [event.event_id for event in play(again, rules_of(rule))[1]] == [event.event_id for event in events]
    assert sum(event.reason == "clock_reset" for event in events if isinstance(event, BehaviorEvent)) <= (
        accepted[-1].clock.resets if accepted else 0
    )
