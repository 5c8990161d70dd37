"""The demo's judge: matched one to one by overlap; a second event on one episode is invented."""

from typing import Any

from stream.timestamps import to_rfc3339
from tools.demo.judge import judge
from tools.scenes.script import Episode
from tools.sightings import Sighting, sightings

T0_S = 1_767_225_600.0
TRUTH = {"den": (Episode("barking", 10.0, 18.0), Episode("barking", 30.0, 38.0))}
START_AFTER = {"barking": 1.5}


def seen(start_s: float, end_s: float | None, *, at_s: float | None = None, told_s: float | None = None) -> Sighting:
    """Barking in the den."""
    return Sighting(
        "den", "barking", start_s, start_s + 1.5 if at_s is None else at_s, end_s, told_s, None if told_s is None else "stopped"
    )


def alert(kind: str, episode: int, **data: Any) -> dict[str, Any]:
    """A structured alert about barking in the den."""
    return {"type": f"pawsight.behavior.{kind}", "data": {"camera": "den", "behavior": "barking", "episode": episode, **data}}


def test_every_episode_found_once_holds() -> None:
    """Two episodes, two sightings that overlap them."""
    verdict = judge(TRUTH, [seen(10.5, 18.5), seen(30.2, None)], START_AFTER)
    assert (verdict.found, verdict.missed, verdict.late, verdict.holds) == (2, 0, 0, True)


def test_a_second_sighting_of_one_episode_is_invented() -> None:
    """A split episode counts as found once and invented once."""
    verdict = judge(TRUTH, [seen(10.5, 13.0), seen(15.0, 18.0), seen(30.0, 38.0)], START_AFTER)
    assert (verdict.found, len(verdict.invented), verdict.holds) == (2, 1, False)


def test_a_sighting_beside_the_episode_is_missed_and_invented() -> None:
    """No overlap, no match."""
    verdict = judge(TRUTH, [seen(18.5, 22.0), seen(30.0, 38.0)], START_AFTER)
    assert (verdict.found, verdict.missed, len(verdict.invented)) == (1, 1, 1)


def test_a_sighting_of_another_behavior_or_camera_matches_nothing() -> None:
    """Overlap in time is not enough."""
    verdict = judge(
        TRUTH,
        [Sighting("den", "eating", 10.0, 11.5, 18.0, None, None), Sighting("attic", "barking", 30, 31.5, 38, None, None)],
        START_AFTER,
    )
    assert (verdict.found, len(verdict.invented)) == (0, 2)


def test_at_is_late_one_second_after_the_rule_could_hold() -> None:
    """Truth 10.0, start_after_s 1.5: told at 12.5 is in time, at 13.0 late."""
    in_time, late = (judge(TRUTH, [seen(10.5, 18.0, at_s=at_s)], START_AFTER) for at_s in (12.5, 13.0))
    assert (in_time.late, late.late) == (0, 1)


def test_a_start_over_a_second_off_does_not_hold() -> None:
    """Found is not enough: started_at must lie within 1 s of the truth."""
    verdict = judge(TRUTH, [seen(8.5, 18.0), seen(30.9, 38.0)], START_AFTER)
    assert (verdict.found, verdict.off_start, verdict.holds) == (2, 1, False)


def test_alerts_are_joined_by_episode() -> None:
    """The start gives start and at, the end the stop; times count from the recording's start."""
    alerts = [
        {"type": "pawsight.camera.seen", "data": {"camera": "den"}},
        alert("started", 1, started_at=to_rfc3339(T0_S + 10), at=to_rfc3339(T0_S + 11.5)),
        alert("started", 2, started_at=to_rfc3339(T0_S + 30), at=to_rfc3339(T0_S + 31.5)),
        alert("ended", 1, stopped_at=to_rfc3339(T0_S + 18), at=to_rfc3339(T0_S + 23), reason="stopped"),
    ]
    assert sightings(alerts, {"den": T0_S}) == [seen(10.0, 18.0, told_s=23.0), seen(30.0, None)]
