"""What `evaluate` adds for a page: outcomes and false events are those of the figures."""

from dataclasses import replace

from stream.counts import Counts
from stream.debounce_rules import DebounceRule
from tests.unit.report_world import side
from tools.evaluate.matching import match
from tools.evaluate.record import Judged, recorded
from tools.evaluate.truth import Video
from tools.playback import Heard
from tools.report.provenance import run_of
from tools.scenes.script import Episode
from tools.sightings import Sighting

RULE = DebounceRule("barking", 0.65, 0.35, 2.0, 2.0, 2.0)
HAPPENED = {
    "den": [Episode("barking", start_s, end_s) for start_s, end_s in ((10, 20), (30, 40), (50, 51), (60, 61))],
    "yard": [Episode("barking", 70, 80)],
}
SEEN = [Sighting("den", "barking", start_s, start_s + 2, start_s + 8, start_s + 10, "stopped") for start_s in (11, 45, 70)]


def test_the_page_says_what_the_figures_say() -> None:
    """Found, missed, too short and found all the same, too short; false is what the figures call false, by its own camera."""
    heard = Heard([], [], SEEN, Counts())
    (matched,) = match(HAPPENED, SEEN, {"barking": RULE.start_after_s})
    judged = Judged(HAPPENED, heard, {"barking": RULE}, [matched])
    videos = [Video("den", "den.mp4", 90.0), Video("yard", "yard.mp4", 90.0)]
    den, yard = recorded(run_of([side()]), videos, judged)["timelines"]
    assert [one["outcome"] for one in den["lanes"][0]["truth"]] == ["found", "missed", "found", "not expected"]
    assert [one["outcome"] for one in yard["lanes"][0]["truth"]] == ["missed"]
    assert [one["is_false"] for one in den["lanes"][0]["courses"][0]["told"]] == [False, False, True]
    assert [one.start_s for one in matched.false_sightings] == [70]

    otherwise = replace(judged, matched=[replace(matched, false_sightings=(SEEN[0],))])
    den, _ = recorded(run_of([side()]), videos, otherwise)["timelines"]
    assert [one["is_false"] for one in den["lanes"][0]["courses"][0]["told"]] == [True, False, False]
