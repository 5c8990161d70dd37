"""Every rule of the debouncer as a scene that can be read."""

from dataclasses import replace
from pathlib import Path

import pytest

from stream.debounce import CameraState, DebounceRule, DebounceRules, Silence, is_silent, lose, observe, retain
from stream.phases import TABLE, Phase, diagram
from stream.types import Answer, BehaviorEvent, CameraEvent, Evidence
from tests.unit.camera_script import ANSWERS, BARKING, RULES, T0_S, observation, play, rules, script, tell

README = Path(__file__).parent.parent.parent / "README.md"

SCENES = [
    pytest.param("Y~~", {}, ["barking #1 started at 2 from 0"], id="level-doubt-holds-the-last-answer"),
    pytest.param("~~~~~", {}, [], id="level-doubt-before-any-answer-is-no"),
    pytest.param("Y?Y", {}, ["barking #1 started at 2 from 0"], id="level-unknown-resets-nothing"),
    pytest.param("YY?", {}, [], id="level-unknown-decides-nothing"),
    pytest.param("?????", {}, [], id="level-an-unsure-model-is-never-believed"),
    pytest.param("Y.Y", {}, ["barking #1 started at 2 from 0"], id="run-a-step-of-max-gap-continues"),
    pytest.param("Y..Y.Y", {}, ["barking #1 started at 5 from 3"], id="run-a-longer-step-begins-anew-at-the-later-frame"),
    pytest.param("Y??YYY", {}, ["barking #1 started at 5 from 3"], id="run-unknown-frames-bridge-no-gap"),
    pytest.param("YYnYYY", {}, ["barking #1 started at 5 from 3"], id="run-the-other-level-begins-anew"),
    pytest.param("nnY", {"start_after_s": 0.0}, ["barking #1 started at 2 from 2"], id="start-at-once"),
    pytest.param("YYY", {"start_after_s": 2.000001}, [], id="start-not-a-microsecond-early"),
    pytest.param("YYYYnnnn", {}, [
        "barking #1 started at 2 from 0", "barking #1 stopped at 6 from 0 to 4",
    ], id="end-stopped-since-the-first-no"),
    pytest.param("YYYnYnYnY", {}, ["barking #1 started at 2 from 0"], id="end-a-blink-ends-nothing"),
    pytest.param("YYYn..n.n", {}, [
        "barking #1 started at 2 from 0", "barking #1 stopped at 8 from 0 to 6",
    ], id="end-a-gap-restarts-the-no-run"),
    pytest.param("YYYYYYYY", {"max_duration_s": 4.0}, [
        "barking #1 started at 2 from 0", "barking #1 max_duration at 4 from 0 to 4", "barking #2 started at 7 from 5",
    ], id="end-max-duration-then-anew-from-the-next-frame"),
    pytest.param("YYYY?", {"max_duration_s": 4.0}, [
        "barking #1 started at 2 from 0", "barking #1 max_duration at 4 from 0 to 4",
    ], id="end-max-duration-needs-no-known-answer"),
    pytest.param("YYYnn" + "n", {"max_duration_s": 5.0}, [
        "barking #1 started at 2 from 0", "barking #1 max_duration at 5 from 0 to 5",
    ], id="end-max-duration-comes-before-stopped"),
    pytest.param("YYYnnnYYYYYYY", {"cooldown_s": 5.0}, [
        "barking #1 started at 2 from 0", "barking #1 stopped at 5 from 0 to 3", "barking #2 started at 10 from 6",
    ], id="cooldown-yes-accumulates-and-starts-when-it-is-over"),
    pytest.param("YYYnnnYYYY?Y", {"cooldown_s": 5.0}, [
        "barking #1 started at 2 from 0", "barking #1 stopped at 5 from 0 to 3", "barking #2 started at 11 from 6",
    ], id="cooldown-ends-on-an-unknown-frame-start-waits-for-a-known-one"),
    pytest.param("YYYnnnYYYnnYYY", {"cooldown_s": 5.0}, [
        "barking #1 started at 2 from 0", "barking #1 stopped at 5 from 0 to 3", "barking #2 started at 13 from 11",
    ], id="cooldown-swallows-what-is-over-before-it"),
    pytest.param("YYYY.....~~~", {}, ["barking #1 started at 2 from 0"], id="lost-not-yet-at-exactly-lost-after"),
    pytest.param("YYYY......." + "YYY", {}, [
        "barking #1 started at 2 from 0", "barking #1 stream_lost at 9 from 0 to 3", "lost at 9", "seen at 11",
        "barking #2 started at 13 from 11",
    ], id="lost-by-a-gap-before-the-frame-that-shows-it"),
    pytest.param("n.......n........n", {}, [
        "lost at 6", "seen at 8", "lost at 14", "seen at 17",
    ], id="lost-and-seen-each-time"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "changes", "story"), SCENES)
def test_scene(text: str, changes: dict[str, float], story: list[str]) -> None:
    """The rules of DESIGN section 6, one scene each; every camera is first seen at its first frame."""
    _, events = play(script(text), rules(**changes))
    assert tell(events) == [f"seen at {len(text) - len(text.lstrip('.'))}", *story]


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (Answer(0.65, 1.0), "yes"),
        (Answer(0.6499, 1.0), "no"),
        (Answer(0.35, 1.0), "no"),
        (Answer(0.9, 0.5), "yes"),
        (Answer(0.9, 0.4999), "no"),
        (Answer(float("nan"), 1.0), "no"),
        (Answer(0.9, float("nan")), "no"),
    ],
)
def test_thresholds_are_inclusive(answer: Answer, level: str) -> None:
    """P at start_above is yes, at stop_below is no, share at min_share is known; what is no number is unknown."""
    state, _ = observe(None, observation(0, {"barking": answer}), RULES)
    assert state.behaviors["barking"].level == level


@pytest.mark.parametrize("answer", [Answer(float("nan"), 1.0), Answer(0.9, float("nan")), Answer(0.9, 0.4)])
def test_unknown_answer_leaves_a_behavior_as_it_was(answer: Answer) -> None:
    """UNKNOWN is as if the frame had not asked: it neither adds to a run nor resets one."""
    state, _ = play(script("Y"))
    assert state is not None
    after, events = observe(state, observation(1, {"barking": answer}), RULES)
    assert (after.behaviors, events) == (state.behaviors, ())


def test_answer_exactly_at_stop_below_ends() -> None:
    """A p of exactly stop_below is a no."""
    state, _ = play(script("YYY"))
    _, events = play([observation(s, {"barking": Answer(0.35, 1.0)}) for s in (3, 4, 5)], state=state)
    assert tell(events) == ["barking #1 stopped at 5 from 0 to 3"]


def test_events_carry_what_decided() -> None:
    """Score and share are those of the deciding frame, evidence the first frame of the yes run, severity the rule's."""
    frames = [replace(frame, traceparent=f"trace-{i}") for i, frame in enumerate(script("YYYnn~"))]
    _, (seen, started, ended) = play(frames)
    assert isinstance(seen, CameraEvent)
    assert isinstance(started, BehaviorEvent)
    assert isinstance(ended, BehaviorEvent)
    assert (started.score, started.share, started.threshold, started.severity) == (0.9, 1.0, 0.65, "warning")
    assert (ended.score, ended.share, ended.threshold, ended.severity) == (0.5, 1.0, 0.35, "warning")
    assert started.evidence == ended.evidence == Evidence("frames", 3, 0, 0, T0_S)
    assert (seen.traceparent, started.traceparent, ended.traceparent) == ("trace-0", "trace-2", "trace-5")
    assert (started.duration_s, ended.duration_s) == (None, 3.0)


def test_ids_are_the_same_for_ever() -> None:
    """An id depends on camera, behaviour, epoch, episode and kind alone: these were drawn once and must never change."""
    _, events = play(script("YYYnnn"))
    assert [event.event_id for event in events] == [
        "dc401bc0-7abc-56d1-af4c-e110240f46bd",
        "304bde40-0b7b-5e9e-b796-a9a8e733267e",
        "aa4b4771-c051-52f1-965e-b6c043fe00be",
    ]


def test_all_ways_of_losing_a_camera_emit_the_same() -> None:
    """A gap (i) gives the very same events as silence and the end of a source (ii, iii: `lose`): ids, times, reasons."""
    state, _ = play(script("YYYY"), rules(cooldown_s=3.0))
    assert state is not None
    _, by_gap = observe(state, observation(20, {"barking": ANSWERS["n"]}, traceparent="trace"), rules(cooldown_s=3.0))
    _, by_call = lose(state, rules(cooldown_s=3.0))
    assert tell(by_call) == ["barking #1 stream_lost at 9 from 0 to 3", "lost at 9"]
    assert by_gap[:-1] == by_call
    assert tell(by_gap[-1:]) == ["seen at 20"]


def test_a_camera_is_lost_once() -> None:
    """After a loss neither silence nor a late gap loses it again; its next frame is seen."""
    state, _ = play(script("YYYY"))
    assert state is not None
    lost, events = lose(state, RULES)
    assert tell(events) == ["barking #1 stream_lost at 9 from 0 to 3", "lost at 9"]
    assert lose(lost, RULES) == (lost, ())
    _, later = play(script("n", begin_s=30), state=lost)
    assert tell(later) == ["seen at 30"]


@pytest.mark.parametrize(
    ("arrived", "asked", "live_since", "silent"),
    [
        (0.0, 6.0, -10.0, True),
        (0.0, 5.999, -10.0, False),
        (0.0, 6.0, 4.0, True),
        (0.0, 6.0, 4.001, False),
        (1.0, 6.0, -10.0, False),
        (-99.0, 5.0, -10.0, False),
    ],
    ids=["silent", "too-short", "grace-just-over", "in-grace", "heard-of-since", "state-knows-better"],
)
def test_silence_needs_a_proof_older_than_the_grace(arrived: float, asked: float, live_since: float, *, silent: bool) -> None:
    """A camera is silent when nothing arrived for lost_after_s and the partition was proven live for the grace."""
    state, _ = play(script("n"))
    assert state is not None
    state = replace(state, arrived_at_s=0.0)
    assert is_silent(state, Silence(arrived, asked, live_since, 2.0), RULES) is silent
    assert not is_silent(replace(state, lost=True), Silence(arrived, asked, live_since, 2.0), RULES)


def test_clock_reset_ends_on_the_old_clock_and_forgets() -> None:
    """A clock set back ends what is open at the last accepted frame, without cooldown, and the new run counts alone."""
    state, _ = play(script("YYYY", begin_s=100), rules(cooldown_s=50.0))
    _, events = play(script("YYYY", begin_s=0, resets=1), rules(cooldown_s=50.0), state)
    assert tell(events) == ["barking #1 clock_reset at 103 from 100 to 103", "barking #2 started at 2 from 0"]


def test_clock_reset_forgets_a_run_and_a_cooldown_without_an_episode() -> None:
    """What was growing or cooling on the old clock is gone too."""
    state, _ = play(script("YYYnnnYY", begin_s=100), rules(cooldown_s=50.0))
    assert state is not None
    assert state.behaviors["barking"].phase is Phase.COOLDOWN
    _, events = play(script("YYY", resets=1), rules(cooldown_s=50.0), state)
    assert tell(events) == ["barking #2 started at 2 from 0"]


def test_forward_jump_is_a_long_gap() -> None:
    """A clock adopted forwards is told by its distance alone: lost, then seen."""
    state, _ = play(script("YYY"))
    _, events = play(script("Y", begin_s=90_000), state=state)
    assert tell(events) == ["barking #1 stream_lost at 8 from 0 to 2", "lost at 8", "seen at 90000"]


def test_removed_question_ends_its_episode_and_keeps_its_count() -> None:
    """question_removed only when the name is gone; if it comes back its episodes count on, so no id repeats."""
    state, first = play(script("YYYY"))
    assert state is not None
    chewing = DebounceRules.of([replace(BARKING, behavior="chewing")], max_gap_s=2.0, lost_after_s=6.0)
    removed, events = retain(state, chewing)
    assert tell(events) == ["barking #1 question_removed at 3 from 0 to 3"]
    assert retain(removed, chewing)[0] is removed
    meanwhile, _ = play([observation(4, {"chewing": ANSWERS["n"]})], chewing, removed)
    _, back = play(script("YYY", begin_s=5), RULES, meanwhile)
    assert tell(back) == ["barking #2 started at 7 from 5"]
    assert not {event.event_id for event in back} & {event.event_id for event in [*first, *events]}


def test_new_thresholds_keep_an_open_episode() -> None:
    """A rule that changes under an open episode neither ends nor repeats it; the episode keeps its severity."""
    state, _ = play(script("YYYY"))
    assert state is not None
    stricter = rules(start_above=0.95, stop_below=0.92, severity="critical")
    assert retain(state, stricter) == (state, ())
    _, events = play(script("YYY", begin_s=4), stricter, state)
    assert tell(events) == ["barking #1 stopped at 6 from 0 to 4"]
    assert isinstance(events[0], BehaviorEvent)
    assert events[0].severity == "warning"


def test_behaviors_do_not_touch_each_other() -> None:
    """Two behaviours of one camera run side by side; events of one frame come in the order of the rules."""
    both = DebounceRules.of([BARKING, replace(BARKING, behavior="chewing", start_after_s=1.0)], max_gap_s=2.0, lost_after_s=6.0)
    frames = [observation(s, {"chewing": ANSWERS["nYYYn"[s]], "barking": ANSWERS["YYYnn"[s]]}) for s in range(5)]
    _, events = play(frames, both)
    assert tell(events) == ["seen at 0", "barking #1 started at 2 from 0", "chewing #1 started at 2 from 1"]


def test_behavior_that_a_frame_did_not_ask_is_unknown() -> None:
    """A missing answer is as an unknown one."""
    frames = [*script("Y"), observation(1, {}), *script("Y", begin_s=2)]
    assert tell(play(frames)[1]) == ["seen at 0", "barking #1 started at 2 from 0"]


def test_state_is_told_about_arrival_and_clock() -> None:
    """The state keeps the clock and the arrival time of the last accepted frame, so that a later owner counts on."""
    state, _ = play(script("nnn"))
    assert isinstance(state, CameraState)
    assert (state.clock.last_s, state.arrived_at_s, state.epoch_ms) == (T0_S + 2, T0_S + 2.25, round(T0_S * 1000))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"behavior": "Chewing Furniture"}, "lower-case identifier"),
        ({"start_above": 0.3}, "0 <= stop_below < start_above <= 1"),
        ({"start_above": 0.35}, "0 <= stop_below < start_above <= 1"),
        ({"start_above": float("nan")}, "start_above"),
        ({"min_share": 1.5}, "min_share is 1.5"),
        ({"start_after_s": -1.0}, "start_after_s is -1.0"),
        ({"cooldown_s": float("inf")}, "cooldown_s is inf"),
        ({"max_duration_s": 1.0}, "more than start_after_s = 2.0"),
        ({"severity": " "}, "severity is empty"),
    ],
)
def test_rule_that_cannot_work_is_refused(changes: dict[str, object], complaint: str) -> None:
    """A rule that would never start, never end or flutter is refused with the value and its limit."""
    with pytest.raises(ValueError, match=complaint):
        replace(BARKING, **changes)


def test_rules_that_contradict_each_other_are_refused() -> None:
    """Two rules for one name and a loss before a gap are refused."""
    with pytest.raises(ValueError, match="'barking' has two rules"):
        DebounceRules.of([BARKING, BARKING])
    with pytest.raises(ValueError, match=r"lost_after_s is 4\.0 and max_gap_s is 5\.0"):
        DebounceRules.of([BARKING], lost_after_s=4.0)
    assert DebounceRule("x", 0.65, 0.35, 2.0, 5.0, 60.0).max_duration_s == 3600


def test_every_phase_can_be_entered_and_left() -> None:
    """The table has no dead end and no phase that nothing leads to."""
    for phase in Phase:
        assert any(source is phase and target is not phase for (source, _), (target, _) in TABLE.items())
        assert any(source is not phase and target is phase for (source, _), (target, _) in TABLE.items())


def test_readme_shows_the_table() -> None:
    """The README's state diagram is the one that the table draws."""
    assert diagram() in README.read_text(encoding="utf-8")
