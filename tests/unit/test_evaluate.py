"""What `evaluate` reads, matches and scores, by hand-computed cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from stream.clock import ClockState
from stream.types import Answer, Observation, Position
from tools.errors import CommandError
from tools.evaluate.frames import Answered, calibration_error, gather, score
from tools.evaluate.matching import Matched, match
from tools.evaluate.truth import Video, read_truth
from tools.scenes.script import Episode
from tools.scenes.truth_table import write_table
from tools.sightings import Sighting

BEHAVIORS = ("barking", "eating")
VIDEOS = (Video("den", "videos/a/den.mp4", 60.0), Video("yard", "videos/b/yard.mp4", None))
T0_S = 1_767_225_600.0

# ---------------------------------------------------------------- truth


def save(folder: Path, *lines: str, name: str = "truth.csv") -> Path:
    """Write a truth file."""
    path = folder / name
    path.write_text("\n".join(("video,behavior,start_s,end_s", *lines)) + "\n", encoding="utf-8")
    return path


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    """In order of time, by camera; a video that no line names shows nothing; a byte order mark is no part of a name."""
    table = save(tmp_path, "den,eating,20,30.5", "den.mp4,barking,1,2", "den,barking,2,4")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    rows = [
        {"video": "videos/a/den.mp4", "behavior": "eating", "start_s": 20, "end_s": 30.5},
        {"video": "den", "behavior": "barking", "start_s": 1, "end_s": 2},
        {"video": "den", "behavior": "barking", "start_s": 2, "end_s": 4},
    ]
    document = tmp_path / "truth.json"
    document.write_text(json.dumps(rows), encoding="utf-8")
    expected = {"den": (Episode("barking", 1, 2), Episode("barking", 2, 4), Episode("eating", 20, 30.5)), "yard": ()}
    assert read_truth(table, VIDEOS, BEHAVIORS) == read_truth(document, VIDEOS, BEHAVIORS) == expected


def test_what_scenes_writes_is_read(tmp_path: Path) -> None:
    """Paths count from the table's folder, and tell apart what has the same name."""
    videos = [Video("7-den", str(tmp_path / "7" / "den.mp4"), 9.0), Video("8-den", str(tmp_path / "8" / "den.mp4"), 9.0)]
    write_table(tmp_path / "truth.csv", {"7/den.mp4": [Episode("barking", 0.5, 8.9)], "8/den.mp4": [Episode("eating", 1.0, 2.0)]})
    found = read_truth(tmp_path / "truth.csv", videos, BEHAVIORS)
    assert found == {"7-den": (Episode("barking", 0.5, 8.9),), "8-den": (Episode("eating", 1.0, 2.0),)}
    save(tmp_path, "den,barking,1,2")
    with pytest.raises(CommandError, match="line 2: 2 videos are called 'den': name one of the cameras 7-den, 8-den"):
        read_truth(tmp_path / "truth.csv", videos, BEHAVIORS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("den,barkign,1,2", r"line 2: nobody asks for behavior 'barkign': do you mean 'barking'\?"),
        ("den,flying,1,2", "line 2: nobody asks for behavior 'flying': asked are barking, eating"),
        ("attic,barking,1,2", "line 2: no video is called 'attic': name one of the cameras den, yard"),
        ("den,barking,1,61", "line 2: end_s = 61 lies past the end of den, which lasts 60 s"),
        ("den,barking,5,5", "line 2: from 5 s to 5 s is no stretch"),
        ("den,barking,-1,5", "line 2: from -1 s to 5 s is no stretch"),
        ("den,barking,1,nan", "line 2: from 1 s to nan s is no stretch"),
        ("den,barking,one,5", "line 2: could not convert string to float: 'one'"),
        ("den,barking,1", "line 2: end_s is missing"),
        (
            "den,barking,1,5\nden,eating,4,6\nden,barking,4.5,6",
            r"line 4: barking from 4.5 s overlaps .* at 5 s \(.*line 2\)",
        ),
    ],
)
def test_a_wrong_line_is_named_with_its_remedy(tmp_path: Path, line: str, said: str) -> None:
    """File, line, value."""
    with pytest.raises(CommandError, match=rf"truth\.csv, {said}"):
        read_truth(save(tmp_path, line), VIDEOS, BEHAVIORS)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("truth.txt", "", r"give a file that ends in \.csv or \.json"),
        ("truth.csv", "video,behavior,start,end\n", "line 1: no column 'start_s'"),
        ("truth.json", "[{]", "is no JSON"),
        ("truth.json", '{"video": "den"}', "give a list of objects"),
        ("truth.json", '[{"video": "den"}]', "entry 1: behavior is missing"),
    ],
)
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Before minutes of answering."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=said):
        read_truth(tmp_path / name, VIDEOS, BEHAVIORS)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(CommandError, match=r"none\.csv: No such file"):
        read_truth(tmp_path / "none.csv", VIDEOS, BEHAVIORS)


# ---------------------------------------------------------------- events


def seen(start_s: float, end_s: float | None, camera: str = "den", reason: str = "stopped") -> Sighting:
    """Told 2 s after its start and 5 s after its end."""
    if end_s is None:
        return Sighting(camera, "barking", start_s, start_s + 2, None, None, None)
    return Sighting(camera, "barking", start_s, start_s + 2, end_s, end_s + 5, reason)


def matched(truth: list[Episode], *found: Sighting) -> Matched:
    """The figures of barking, on which eating has no influence."""
    barking, eating = match({"den": truth, "yard": []}, found, {"barking": 2.0, "eating": 2.0})
    assert eating.behavior == "eating"
    return barking


def test_an_episode_is_found_by_what_overlaps_it() -> None:
    """Delays count from the truth's edges to the event times of the events."""
    one = matched([Episode("barking", 10, 20), Episode("barking", 30, 40)], seen(10.5, 19))
    assert (one.episodes, one.found, one.sightings, one.false, one.splits, one.merges) == (2, 1, 1, 0, 0, 0)
    assert (one.start_delays_s, one.end_delays_s) == ((2.5,), (4.0,))
    assert (one.precision, one.recall, one.f1) == (1.0, 0.5, 2 / 3)


def test_what_touches_nothing_true_is_false() -> None:
    """Beside the episode, on another camera, about another behaviour."""
    one = matched([Episode("barking", 10, 20)], seen(20, 22), seen(8, 10), seen(12, 14, camera="yard"))
    assert (one.found, one.sightings, one.false, one.precision, one.recall, one.f1) == (0, 3, 3, 0.0, 0.0, 0.0)
    other = matched([Episode("eating", 10, 20)], seen(12, 14))
    assert (other.episodes, other.false, other.recall, other.f1) == (0, 1, None, None)


def test_splits_and_merges_are_counted() -> None:
    """Three events of one episode are two splits; one event over three episodes is two merges."""
    split = matched([Episode("barking", 10, 20)], seen(10, 12), seen(13, 15), seen(17, 19))
    assert (split.found, split.false, split.splits, split.merges) == (1, 0, 2, 0)
    assert (split.start_delays_s, split.end_delays_s) == ((2.0,), (4.0,))
    merged = matched([Episode("barking", start_s, start_s + 4) for start_s in (10, 15, 20)], seen(10, 24))
    assert (merged.found, merged.false, merged.splits, merged.merges) == (3, 0, 0, 2)


def test_an_episode_that_the_rule_is_too_slow_for_is_not_expected() -> None:
    """Nor is an event about it false."""
    one = matched([Episode("barking", 10, 11.9), Episode("barking", 30, 32)], seen(10, 11.9))
    assert (one.episodes, one.too_short, one.found, one.false) == (1, 1, 0, 0)


def test_what_never_ended_lasts() -> None:
    """It finds all that comes after, and has no end to be late."""
    one = matched([Episode("barking", 10, 20), Episode("barking", 30, 40)], seen(11, None))
    assert (one.found, one.merges, one.end_delays_s) == (2, 1, ())


def test_what_ended_with_its_recording_says_nothing_of_the_delay() -> None:
    """The stream's loss comes lost_after_s later, whatever the rule."""
    one = matched([Episode("barking", 10, 20)], seen(11, 20, reason="stream_lost"))
    assert (one.found, one.start_delays_s, one.end_delays_s) == (1, (3.0,), ())


# ---------------------------------------------------------------- frames


def observed(at_s: float, p_yes: float, share: float = 1.0) -> Observation:
    """An answer about barking in the den."""
    position = Position("frames", 0, 0, 0, 1)
    answers = {"barking": Answer(p_yes, share)}
    return Observation(position, "den", T0_S + at_s, answers, ClockState(T0_S, T0_S + at_s, None), None, 0.0)


def test_frames_are_set_beside_the_truth_of_their_moment() -> None:
    """An episode holds its start and not its end; near an edge nobody is judged; a low share is no answer."""
    truth = {"den": [Episode("barking", 10, 20), Episode("eating", 0, 60)]}
    told = [observed(at_s, at_s / 100) for at_s in (9.4, 9.6, 10.4, 10.5, 15, 19.5, 19.6, 20.5)] + [observed(16, 0.9, 0.4)]
    (one,) = gather(told, truth, T0_S, {"barking": 0.5}, margin_s=0.5)
    assert one.p_yes.tolist() == [0.094, 0.105, 0.15, 0.195, 0.205]
    assert one.is_true.tolist() == [False, True, True, True, False]
    assert (one.unknown, one.cameras) == (1, ("den",) * 5)
    (without_margin,) = gather([observed(10, 0.1), observed(20, 0.2)], truth, T0_S, {"barking": 0.5}, margin_s=0.0)
    assert without_margin.is_true.tolist() == [True, False]


def test_figures_of_answers_by_hand() -> None:
    """Ranked yes, no, yes, no: precision 1 at the first, 2/3 at the second; three of four pairs in order."""
    one = score(Answered("barking", np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]), ("den",) * 4, 3))
    assert (one.frames, one.positives, one.unknown) == (4, 2, 3)
    assert one.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert one.roc_auc == pytest.approx(3 / 4)
    assert one.brier == pytest.approx((0.01 + 0.64 + 0.09 + 0.01) / 4)


def test_frames_of_one_kind_tell_nothing_apart() -> None:
    """No figure is better than one that means nothing."""
    one = score(Answered("barking", np.array([0.9, 0.8]), np.array([True, True]), ("den",) * 2, 0))
    assert (one.average_precision, one.roc_auc, one.brier, one.ece) == (None, None, None, None)


def test_calibration_error_by_hand() -> None:
    """Two at 0.1 of which none is true, two at 0.9 of which one is: (2 x 0.1 + 2 x 0.4) / 4; a certain 1.0 has its bin."""
    p_yes = np.array([0.1, 0.1, 0.9, 0.9])
    assert calibration_error(p_yes, np.array([False, False, True, False])) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0
