"""Question sets of a deploy: how workers are told them, and how the alerts tell where they came into force."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.chaos.oracle_world import CAMERAS, PARTITIONS, SCRIPT, stream_of, taken
from tools.chaos.check import Published, compare
from tools.chaos.expected import Replay, Rules
from tools.chaos.question_sets import QuestionSet
from tools.chaos.records import sent
from tools.chaos.scenarios.deploy import ONE, THREE, TWO
from tools.chaos.status import Files
from tools.chaos.turns import turns

ASKED = [each.judged(SCRIPT) for each in (ONE, TWO, THREE)]
AT = {0: (60, 110), 1: (73, 131)}
"""By camera, the pictures at which 2 and 3 came into force."""
IN_FORCE = {
    CAMERAS[number].name: [(round(CAMERAS[number].captured_at_s(n) * 1e6), rules) for n, rules in zip(at, ASKED[1:], strict=True)]
    for number, at in AT.items()
}


def history(in_force: dict[str, list[tuple[int, Rules]]]) -> Replay:
    """What the first two cameras' pictures must lead to."""
    replay = Replay(ASKED[0], in_force)
    for number in AT:
        for offset, record in enumerate(stream_of(CAMERAS[number], range(180))):
            one = sent(taken(record, offset), {CAMERAS[number].name: CAMERAS[number]})
            assert one is not None
            replay.take(one)
    replay.finish()
    return replay


def on_topic(replay: Replay) -> list[Published]:
    """The same as a reader finds it."""
    return [
        Published(alert, PARTITIONS[name], offset)
        for name, alerts in replay.alerts.items()
        for offset, alert in enumerate(alerts)
    ]  # fmt: skip


def mistakes(found: Sequence[Published]) -> int:
    """How many there are in alerts that tell themselves where the questions changed."""
    return len(compare(history(turns(found, ASKED)).alerts, found, PARTITIONS).details)


def test_alerts_tell_where_questions_came_into_force() -> None:
    """At the very picture, for each camera on its own; and what is open of a removed behaviour ends once."""
    replay = history(IN_FORCE)
    told = on_topic(replay)
    assert turns(told, ASKED) == IN_FORCE
    assert mistakes(told) == 0
    removed = Counter(each.alert.behavior for each in told if each.alert.reason == "question_removed")
    assert removed.keys() <= {"digging", "circling"}
    assert removed


def test_a_revision_that_no_picture_met_still_ends_what_it_removes() -> None:
    """A camera that is silent, or on its way from one worker to the next but one."""
    last = {name: [(1 << 62, rules) for _, rules in found[:1]] for name, found in IN_FORCE.items()}
    replay = history(last)
    ends = {name: alerts for name, alerts in replay.alerts.items() if alerts[-1].reason == "question_removed"}
    assert ends
    assert turns(on_topic(replay), ASKED) == {name: last[name] for name in ends}
    assert mistakes(on_topic(replay)) == 0


def test_questions_that_come_back_after_newer_ones_are_found() -> None:
    """As an old worker's, who must leave the partition alone."""
    told = on_topic(history(IN_FORCE))
    place = max(number for number, each in enumerate(told) if each.alert.questions == TWO.fingerprint)
    alert = replace(told[place].alert, questions=ONE.fingerprint)
    assert mistakes([*told[:place], replace(told[place], alert=alert), *told[place + 1 :]]) > 0


def test_an_end_that_no_removed_question_explains_is_found() -> None:
    """Barking is asked under every revision."""
    told = on_topic(history(IN_FORCE))
    place, end = next(
        (number, each) for number, each in enumerate(told) if (each.alert.behavior, each.alert.reason) == ("barking", "stopped")
    )
    assert mistakes([*told[:place], replace(end, alert=replace(end.alert, reason="question_removed")), *told[place + 1 :]]) > 0


def test_workers_read_what_the_run_wrote(tmp_path: Path) -> None:
    """And ask what the script is made for as long as nobody wrote anything."""
    files = Files(tmp_path, "w1")
    assert QuestionSet.read(files) == ONE
    TWO.write(files)
    assert QuestionSet.read(files) == TWO
    assert TWO.behaviors == ("flip", "barking", "pacing", "circling")
    assert TWO.columns == (0, 1, 3, 2)
