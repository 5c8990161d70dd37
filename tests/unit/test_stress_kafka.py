"""What `stress --through kafka` concludes from commits, lags and threads, each by hand, and what its options refuse."""

import re
from fractions import Fraction
from math import ceil, inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import CommandError
from tools.stress.kafka.figures import Attempt, CameraSearch, CpuSeconds, Kept, Through, cpu_seconds
from tools.stress.kafka.lag import Asked, Growth, commit_times, growth, highest_lags
from tools.stress.kafka.options import Said, Wanted, parse
from tools.stress.kafka.pictures import Album, Encoded, Shape
from tools.stress.kafka.rig import Pace
from tools.stress.kafka.workers import Usage

NOTHING = Said(None, None, None, None, None, None, None)


def said(**given_: Any) -> Said:
    """The options through Kafka, these among them."""
    fields = dict.fromkeys(("fps", "size", "form", "workers", "partitions", "cameras"))
    return Said(through="kafka", **(fields | given_))


@pytest.mark.parametrize(
    ("first", "end", "expected"),
    [
        pytest.param(0, 5, [1.0, 1.0, 1.0, 2.0, inf], id="a commit below offset 3, one below 4, none beyond"),
        pytest.param(2, 4, [1.0, 2.0], id="from the middle on, beyond which more is committed"),
        pytest.param(4, 6, [inf, inf], id="nothing of it is committed"),
        pytest.param(3, 3, [], id="no record"),
    ],
)
def test_a_record_is_committed_when_the_first_resume_offset_lies_behind_it(first: int, end: int, expected: list[float]) -> None:
    """The offset that is named is the lowest one that is not done; a commit that moves nothing changes nothing."""
    assert commit_times(first, end, [(0.5, 0), (1.0, 3), (1.5, 3), (2.0, 4)]) == expected


def test_lag_peaks_right_before_a_commit() -> None:
    """Captures at 0, 1, 2 are committed at 0.5, 1.75, 2.25: the lag climbs to 1.75, falls to 0.75, climbs to 1.25, falls."""
    asked = [Asked(0.0, 0.5), Asked(1.0, 1.75), Asked(2.0, 2.25), Asked(3.0, inf)]
    assert highest_lags(asked, 0.5, 1.0, 3) == [1.5, 1.75, 1.5]
    assert highest_lags(asked, 0.25, 1.0, 2) == [inf, 1.75], "before 0.5 nothing is committed"
    assert highest_lags([], 0.0, 1.0, 2) == [inf, inf]


def test_an_older_picture_that_is_committed_later_does_not_raise_the_lag() -> None:
    """Two cameras on a partition: the newest capture counts."""
    assert highest_lags([Asked(2.0, 2.5), Asked(1.0, 2.75)], 2.5, 1.0, 1) == [1.5]


def test_growth_is_the_slope_of_the_line_through_the_lags() -> None:
    """A partition at 1, 2, 3 seconds of lag in parts of 2 s rises by 0.5 a second, one that stands still by 0."""
    assert growth([[1.0, 2.0, 3.0], [0.7, 0.7, 0.7]], 2.0) == Growth(rate=0.25, most=0.5)
    assert growth([[1.0, inf, 1.0]], 2.0).rate == inf


@pytest.mark.parametrize(
    ("rate", "most", "is_growing"),
    [
        pytest.param(0.02, 0.18, False, id="at the bounds"),
        pytest.param(0.021, 0.021, True, id="all fall behind by 2 % of real time"),
        pytest.param(0.0, 0.19, True, id="one rises by over two of the window's twelve parts"),
        pytest.param(-0.5, -0.1, False, id="they catch up"),
        pytest.param(inf, inf, True, id="nothing is committed"),
    ],
)
def test_lag_grows_over_two_percent_on_average_or_two_parts_on_one(rate: float, most: float, *, is_growing: bool) -> None:
    """Twelve parts, between the first and the last of which eleven pass."""
    assert Growth(rate, most).is_growing(12) is is_growing


@pytest.mark.parametrize("phase_s", [0.0, 0.13, 0.5, 0.99])
@pytest.mark.parametrize("fps", [10.0, 0.5, 0.1])
@pytest.mark.parametrize(("load", "is_growing"), [(0.9, False), (1.0, False), (1.05, True), (1.5, True)])
def test_the_rule_tells_load_from_overload(phase_s: float, fps: float, load: float, *, is_growing: bool) -> None:
    """A worker that does 1 / load of what comes, and commits once a second: over its capacity by 5 % is seen in 12 seconds.

    Four partitions of one camera each, side by side. What keeps up is never as far behind as what is given up.
    """
    pace = Pace.of(4.0, batch_s=0.05, ready_after_s=0.0, every_s=1 / fps)
    begun_s = pace.inherent_s + pace.warm_s
    lags = []
    for partition in range(4):
        captured_s = [(number + partition / 4) / fps for number in range(ceil((begun_s + pace.window_s) * fps) + 1)]
        done_s = [each * max(1.0, load) + 0.2 for each in captured_s]
        committed_s = [ceil(each - phase_s) + phase_s for each in done_s]
        lags.append(highest_lags(map(Asked, captured_s, committed_s), begun_s, pace.part_s, pace.parts))
    assert growth(lags, pace.part_s).is_growing(pace.parts) is is_growing
    assert is_growing or max(map(max, lags)) <= pace.inherent_s


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 4000))
def test_search_ends_within_five_percent_of_the_limit(start: int, limit: int, most: int) -> None:
    """Of workers that hold every number up to a limit and none above it."""
    search, tried = CameraSearch(min(start, most), most), 0
    while (cameras := search.next()) is not None:
        assert 1 <= cameras <= most
        search.tell(cameras, is_held=cameras <= limit)
        tried += 1
    assert search.held is not None
    assert search.held == most or search.held <= limit < max(search.held + 1, search.held * 1.05)
    assert tried <= 12 + 5


def test_search_that_finds_nothing_ends() -> None:
    """Not even one camera: halved from eight on."""
    search, tried = CameraSearch(8, 100), []
    while (cameras := search.next()) is not None:
        tried.append(cameras)
        search.tell(cameras, is_held=False)
    assert (tried, search.held) == ([8, 4, 2, 1], None)


def test_processor_time_is_split_by_threads() -> None:
    """Process 7: 10 s in all, 1 and 2 s of them in decoders, 3 s in its first thread; all else, ended or not, is the device."""
    threads = [(7, "python", 3.0), (8, "decode\n", 1.0), (9, "decode\n", 2.0), (10, "device\n", 0.1), (11, "python\n", 3.5)]
    spent = cpu_seconds(threads, 7, process_s=10.0, children_s=0.5)
    assert spent == CpuSeconds(decode=3.5, device=4.0, transaction=3.0)
    assert (spent + spent - spent).per_1000(250) == {"decode": 14.0, "device": 16.0, "transaction": 12.0, "total": 42.0}


def test_processor_time_is_read_behind_a_name_with_parentheses() -> None:
    """Fields 14 to 17 of proc_pid_stat(5), in hundredths of a second."""
    stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 0 0 0 250 50 30 20 20 0 1 0 100 0 0"
    assert Usage.parse(stat) == Usage(own_s=3.0, children_s=0.5)


def test_pace_follows_ticks_and_batches() -> None:
    """Three cells of the grid in parts of a second; parts as long as a slow model's batch, or a slow camera's step."""
    quick = Pace.of(4.0, batch_s=0.05, ready_after_s=0.0, every_s=0.5)
    assert (quick.part_s, quick.parts, quick.warm_s) == (1.0, 12, 4.0)
    slow = Pace.of(4.0, batch_s=6.0, ready_after_s=1.0, every_s=1.0)
    assert (slow.part_s, slow.parts, slow.warm_s, slow.inherent_s) == (6.0, 6, 12.0, 13.0)
    assert Pace.of(4.0, batch_s=0.05, ready_after_s=0.0, every_s=10.0) == Pace(10.0, 6, 20.0, 20.0)


def test_records_and_pictures_of_a_shape() -> None:
    """A still is ready when it is captured, a segment of a second when it has ended; a slow camera's holds one picture."""
    still = Shape("stills", (640, 480), Fraction(2))
    assert (still.pictures, still.record_s, still.ready_after_s) == (1, Fraction(1, 2), 0)
    segment = Shape("segments", (640, 480), Fraction(10))
    assert (segment.pictures, segment.record_s, segment.ready_after_s) == (10, 1, 1)
    slow = Shape("segments", (640, 480), Fraction(1, 4))
    assert (slow.pictures, slow.record_s) == (1, 4)


def test_scores_are_held_to_their_picture() -> None:
    """Camera 1 begins with the second scene and shows the third after 20 s; a number that is none belongs to nobody."""
    scores = [np.array([[p, 1 - p]], np.float32) for p in (0.1, 0.5, 0.9)]
    records = tuple(Encoded(b"", score - np.float32(1e-3), score + np.float32(1e-3)) for score in scores)
    album = Album(Shape("stills", (64, 64), Fraction(2)), records, ("barking", "eating"))
    assert [album.shown(1, record) for record in (0, 39, 40, 80)] == [1, 1, 2, 0]
    assert not album.is_foreign((2, 0), "barking", 0.9005)
    assert album.is_foreign((2, 0), "eating", 0.9)
    assert album.is_foreign((1, 0), "barking", float("nan"))
    assert album.told_apart == (3, 3)
    assert Album(album.shape, (*records, records[1]), album.behaviors).told_apart == (5, 6), "the second and the last are alike"


def attempt(cameras: int, *, is_held: bool, late_s: float = 0.001) -> Attempt:
    """A trial, held or given up."""
    lag, p50_s, p99_s = (0.001, 0.6, 1.2) if is_held else (inf, float("nan"), float("nan"))
    return Attempt(cameras, cameras * 2.0, is_held, lag, p50_s, p99_s, late_s, CpuSeconds(1, 2, 3), 500, {"workers": 1.5})


def test_document_has_the_promised_fields() -> None:
    """Those of the highest number that held, whatever was tried after it."""
    through = Through(2.0, "stills", "640x480", 1, 12, most=1000, pairs=120, told_apart=119, alerts=7)
    through.attempts = [attempt(30, is_held=True), attempt(60, is_held=False), attempt(42, is_held=True)]
    through.kept = Kept(records=10, committed=10, read=10, dead_letters=0, asked=9, due=10)
    told = through.document()
    assert (told["cameras"], told["fps"], told["p50_ms"], told["p99_ms"]) == (42, 2.0, 600.0, 1200.0)
    assert told["cpu_s_per_1000_frames"] == {"decode": 2.0, "device": 4.0, "transaction": 6.0, "total": 12.0}
    assert told["trials"][1] == {
        "cameras": 60, "asked_fps": 120.0, "held": False, "lag_growth": None, "p50_ms": None, "p99_ms": None,
    }  # fmt: skip
    assert (told["scene_pairs"], told["scene_pairs_told_apart"]) == (120, 119)
    assert through.errors == told["errors"] == 1
    assert "not everything that was published is accounted for" in through.warnings[0]


def test_nothing_found_is_zero_cameras() -> None:
    """And no latency."""
    through = Through(2.0, "stills", "640x480", 1, 12, 1000, pairs=120, told_apart=120, attempts=[attempt(1, is_held=False)])
    told = through.document()
    assert (told["cameras"], told["p50_ms"], told["cpu_s_per_1000_frames"]) == (0, None, None)
    assert through.warnings == []


@pytest.mark.parametrize(
    ("tried", "sentence"),
    [
        pytest.param([(30, True, 0.01), (60, False, 0.4), (42, False, 0.01)], None, id="42 failed in time"),
        pytest.param(
            [(30, True, 0.01), (60, False, 0.01), (42, False, 0.4)], "at 42, which do not hold, .* 400 ms late", id="late"
        ),
        pytest.param([(30, True, 0.01), (42, False, 0.4), (42, False, 0.01)], None, id="in time at the second try"),
        pytest.param([(30, False, 0.4), (30, True, 0.01)], None, id="held at the second try"),
        pytest.param([(1, False, 0.4)], "at 1, which do not hold", id="none holds"),
        pytest.param([(30, True, 0.4)], "which counts as latency", id="held, and late"),
    ],
)
def test_cameras_that_were_late_are_told(tried: list[tuple[int, bool, float]], sentence: str | None) -> None:
    """Those of the number above which nothing holds: then what this machine can publish may be the limit."""
    attempts = [attempt(cameras, is_held=is_held, late_s=late_s) for cameras, is_held, late_s in tried]
    through = Through(2.0, "stills", "640x480", 1, 12, 1000, pairs=120, told_apart=120, attempts=attempts)
    assert len(through.warnings) == (sentence is not None)
    assert sentence is None or re.search(sentence, through.warnings[0])


@pytest.mark.parametrize(
    ("alerts", "told_apart", "sentence"),
    [(0, 120, "no alert came that could be compared"), (5, 0, "tell no scene from another"), (5, 1, None)],
)
def test_a_check_that_could_not_fail_is_told(alerts: int, told_apart: int, sentence: str | None) -> None:
    """No alert, or scenes that all get the same scores, would hide an answer of another picture."""
    kept = Kept(records=10, committed=10, read=10, dead_letters=0, asked=10, due=10)
    through = Through(2.0, "stills", "640x480", 1, 12, 1000, pairs=120, told_apart=told_apart, alerts=alerts, kept=kept)
    assert len(through.warnings) == (sentence is not None)
    assert sentence is None or sentence in through.warnings[0]


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"fps": 0.0}, "--fps 0: give 0.1 to 60"),
        ({"fps": float("nan")}, "--fps nan"),
        ({"size": "0x10"}, "--size 0x10: give width and height, 32 to 4096 pixels"),
        ({"size": "640"}, "--size 640: give width and height"),
        ({"size": "641x480", "form": "segments"}, "even sides, such as 640x480; or send --as stills"),
        ({"workers": 0}, "--workers 0: give 1 or more"),
        ({"workers": 13}, "--workers 13 share --partitions 12: some would have none"),
        ({"partitions": 2, "cameras": 20_001}, "2 partitions take 20000 cameras at most: give --partitions 3"),
        ({"cameras": 0}, "--cameras 0: give 1 or more"),
    ],
)
def test_wrong_use_is_a_sentence(given_: dict[str, Any], sentence: str) -> None:
    """That names the value and what would be right."""
    with pytest.raises(CommandError, match=sentence):
        parse(said(**given_), "all")


def test_options_of_kafka_alone_are_refused() -> None:
    """As they would change nothing; one question a request is nothing that a worker does."""
    assert parse(NOTHING, "one") is None
    with pytest.raises(CommandError, match=r"--fps 5\.0 is of the cameras .*: add --through kafka"):
        parse(Said(None, 5.0, None, None, None, None, None), "all")
    with pytest.raises(CommandError, match="--ask one is of the engine alone"):
        parse(said(), "one")


def test_defaults() -> None:
    """A worker, a dozen partitions, stills of 640 x 480, as often as the questions ask."""
    wanted = parse(said(), "all")
    assert wanted == Wanted(None, (640, 480), "stills", 1, 12, 120_000)
    assert wanted.shape(0.5).rate == Fraction(1, 2)
    assert parse(said(size="640X482", form="segments"), "all") == Wanted(None, (640, 482), "segments", 1, 12, 120_000)
    assert Wanted(7.5, (64, 64), "segments", 1, 1, 1).shape(2.0) == Shape("segments", (64, 64), Fraction(15, 2))
