"""What the page is made of: bins, ticks, thinned traces, timelines, and results that are read back."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from stream.clock import ClockState
from stream.counts import Counts
from stream.debounce_rules import DebounceRule
from stream.types import Answer, Observation, Position
from tests.unit.report_world import demo, difference, evaluation, load, side, through, timeline
from tools.demo import figures
from tools.demo.judge import judge
from tools.demo.record import recorded
from tools.demo.stage import Performance
from tools.errors import CommandError
from tools.outputs import check_writable
from tools.report.histogram import histogram, nice_step
from tools.report.lanes import clock, time_ticks
from tools.report.load_results import Load, Profile
from tools.report.provenance import run_of
from tools.report.record import Told, Trace
from tools.report.results import Demo, Difference, Evaluation, parse, read
from tools.report.save import save_page
from tools.report.timelines import MOST_POINTS, Filmed, Happened, Heard, thinned, timelines
from tools.scenes.planning import plan
from tools.screen import write_json
from tools.sightings import Sighting

RULE = DebounceRule("barking", 0.65, 0.35, 1.5, 2.0, 2.0)
BARKING = Sighting("den", "barking", 10.0, 11.5, 18.0, 20.0, "stopped", 0.9)


def observed(at_s: float, p_yes: float, camera: str = "den") -> Observation:
    """The answer to one frame."""
    return Observation(
        Position("recording", 0, 0), camera, at_s, {"barking": Answer(p_yes, 1.0)}, ClockState(at_s, at_s, None), None, 0.0
    )


@pytest.mark.parametrize(("span", "most", "step"), [(10, 10, 1.0), (10, 4, 5.0), (0.7, 22, 0.05), (1000, 22, 50.0), (0, 5, 0.1)])
def test_steps_are_those_a_person_would_choose(span: float, most: int, step: float) -> None:
    """1, 2 or 5 times a power of ten."""
    assert nice_step(span, most) == pytest.approx(step)


@pytest.mark.parametrize("values", [[1.5], [0.0, 0.0], [-2.0, 3.0], [0.001, 0.0011, 7.0], [x / 7 for x in range(1, 300)]])
def test_every_value_lies_in_a_bin(values: list[float]) -> None:
    """And the edges hold all of them; percentiles are values that were there."""
    spread = histogram("x", values)
    assert spread is not None
    assert sum(spread.bins) == spread.count == len(values)
    assert spread.first_s <= min(values)
    assert spread.first_s + spread.step_s * len(spread.bins) > max(values)
    assert len(spread.bins) <= 25
    assert (
        spread.p50_s <= spread.p95_s <= spread.p99_s == pytest.approx(sorted(values)[-(-99 * len(values) // 100) - 1], abs=1e-6)
    )
    assert histogram("x", []) is None


def test_a_long_trace_keeps_its_peaks() -> None:
    """A day of answers is drawn with as many points as a screen has, and a single yes among them is still there."""
    points = [(float(second), 0.1) for second in range(100_000)]
    points[54_321] = (54_321.0, 0.99)
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 2
    assert (54_321.0, 0.99) in kept
    assert kept == sorted(kept)
    assert thinned(points[:10]) == points[:10]


def test_an_axis_of_time_has_words_of_a_clock() -> None:
    """At most seven of them, from the start to no further than the end."""
    assert [tick.word for tick in time_ticks(61.0)] == ["0:00", "0:15", "0:30", "0:45", "1:00"]
    assert [tick.word for tick in time_ticks(7200.0)][:2] == ["0:00:00", "0:30:00"]
    for length_s in (0.4, 1.0, 59.0, 3599.0, *(days * 86_400.0 for days in (1, 6, 6.5, 7, 12, 13, 14, 30, 365))):
        ticks = time_ticks(length_s)
        assert 1 <= len(ticks) <= 7
        assert ticks[-1].share <= 1
    assert (clock(59.96, digits=1), clock(3661.2, digits=1), clock(5.0, 4000.0)) == ("1:00.0", "1:01:01.2", "0:00:05")


def test_timelines_join_what_is_true_with_what_was_told() -> None:
    """By camera and behaviour, in seconds from the recording's start; of a length that nobody knows up to what is known last."""
    happened = [Happened("den", "barking", 9.0, 17.0, "found"), Happened("yard", "barking", 1.0, 2.0, "missed")]
    heard = Heard("", [BARKING], [observed(100.5, 0.25), observed(101.0, 0.75), observed(100.5, 0.5, "yard")], [])
    den, yard = timelines([Filmed("den", "den", 100.0, None), Filmed("yard", "7-yard", 100.0, 30.0)], [RULE], [heard], happened)
    (lane,) = den.lanes
    assert (lane.behavior, lane.start_above, [one.outcome for one in lane.truth or ()]) == ("barking", 0.65, ["found"])
    assert lane.courses[0].told == (Told(10.0, 11.5, 18.0, 20.0, "stopped", 0.9, is_false=False),)
    assert lane.courses[0].trace == Trace((0.5, 1.0), (0.25, 0.75))
    assert (den.length_s, yard.length_s, yard.video) == (20.0, 30.0, "7-yard")
    assert (yard.lanes[0].courses[0].told, [one.outcome for one in yard.lanes[0].truth or ()]) == ((), ["missed"])
    (unknown,) = timelines([Filmed("den", "den", 0.0, 60.0)], [RULE], [Heard("", [BARKING], [])])
    assert unknown.lanes[0].truth is None
    assert (unknown.lanes[0].courses[0].told[0].is_false, unknown.lanes[0].courses[0].trace) == (None, None)


def test_a_performance_is_recorded_as_it_was_judged() -> None:
    """Found, missed and invented; delays of what was found, and of every picture's answer."""
    (scene,) = plan(401, 1)
    first, *others = scene.episodes
    right = Sighting(scene.camera, first.behavior, first.start_s + 0.2, first.start_s + 1.7, first.end_s, None, None)
    wrong = Sighting(scene.camera, "barking", scene.duration_s - 0.2, scene.duration_s, None, None, None)
    rules = [DebounceRule(name, 0.65, 0.35, 1.5, 2.0, 2.0) for name in dict.fromkeys(each.behavior for each in scene.episodes)]
    verdict = judge({scene.camera: scene.episodes}, [right, wrong], {rule.behavior: rule.start_after_s for rule in rules})
    seen = [observed(scene.recorded_at_s + 1.0, 0.5, scene.camera)]
    counts = Counts(received=2, used=2, decoded=1, answered=1)
    shown = recorded([scene], ["401-den"], Performance((), counts, tuple(seen), (0.4,)), verdict, rules)
    (drawn,) = shown.timelines
    assert (drawn.video, drawn.length_s) == ("401-den", scene.duration_s)
    assert sum(one.outcome == "missed" for lane in drawn.lanes for one in lane.truth or ()) == len(others)
    assert sorted(one.is_false for lane in drawn.lanes for one in lane.courses[0].told) == [False, True]
    delays, answers = shown.latency
    assert (delays.p50_s, delays.count, answers.p50_s) == (pytest.approx(1.7), 1, 0.4)

    one = figures.Result(401, (scene.camera,), verdict, counts, 9.0, shown)
    for results in ([one], [one, one]):
        read_back = parse("demo.json", figures.as_json(results, {"name": "Kafka", "version": "4"}, run_of([side()])))
        assert isinstance(read_back, Demo)
        assert [(each.timelines, each.latency, each.frames) for each in read_back.seeds] == [
            (shown.timelines, shown.latency, counts.as_dict()) for _ in results
        ]


@pytest.mark.parametrize(
    ("document", "kind"),
    [(demo(), Demo), (demo(seeds=(1, 2)), Demo), (evaluation(), Evaluation), (difference(), Difference), (load(), Load)],
)
def test_results_are_told_apart_by_themselves(document: dict[str, Any], kind: type, tmp_path: Path) -> None:
    """And read back as they were written."""
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    found = read(path)
    assert isinstance(found, kind)
    if isinstance(found, Evaluation):
        assert found.timelines == (timeline(),)


def test_a_profile_is_a_result() -> None:
    """What `stress --profile` writes, without an open loop."""
    names = ("date", "device", "precision", "artifact", "model", "questions_fingerprint", "format")
    known = dict.fromkeys(names, "x") | {"machine": {"cores": 2}, "questions": 8, "throughput_fps": 9.5}
    assert isinstance(parse("profile.json", known | {"p99_ms": None, "open_loop_fps": None}), Profile)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "is no result of ours: give what `--json` of tools/run demo, evaluate, diff or stress wrote"),
        ('{"profiles": []}', "is no result of ours"),
        (json.dumps({key: value for key, value in evaluation().items() if key != "timelines"}), "timelines: Field required"),
        (
            json.dumps(evaluation() | {"timelines": [asdict(timeline()) | {"length_s": 0}]}),
            "timelines.0.length_s: Input should be greater",
        ),
        (json.dumps(load() | {"grid": [load()["grid"][0] | {"p50_ms": float("nan")}]}), "grid.0.p50_ms: Input should be"),
    ],
)
def test_what_is_no_result_is_refused_with_the_files_name(text: str, said: str, tmp_path: Path) -> None:
    """And what to do: run the command again, or give another file."""
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert said in str(refused.value)


def numbers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document has numbers that are not whole."""
    if isinstance(value, float):
        yield place
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from numbers(part, (*place, key))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("document", [demo(), evaluation(), difference(), load() | {"kafka": through()}])
def test_what_python_takes_for_a_number_and_json_does_not_is_refused(document: dict[str, Any], number: str) -> None:
    """Wherever it stands; two that a page works out by itself are not read."""
    written = json.dumps(document)
    for *place, last in numbers(json.loads(written)):
        broken = json.loads(written)
        reduce(lambda part, key: part[key], place, broken)[last] = json.loads(number)
        if last not in {"started_s", "ended_s"}:
            with pytest.raises(CommandError, match=rf"a file: .*{last}: Input should be "):
                parse("a file", broken)


@pytest.mark.parametrize("place", ["gained", "lost", "before", "after"])
def test_an_event_of_a_camera_that_has_no_timeline_is_refused(place: str) -> None:
    """There is no video to take its picture from, and no lane to show it on."""
    broken = difference()
    (broken[place][0] if place in {"gained", "lost"} else broken["shifted"][0][place])["camera"] = "yard"
    with pytest.raises(CommandError, match=r"diff\.json: Value error, an event of yard, of which there is no timeline: not as"):
        parse("diff.json", broken)


def test_a_name_that_is_no_text_leaves_a_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a file's name that are no UTF-8, on the command line or in what was found."""
    bad = os.fsdecode(b"den\xff")
    monkeypatch.setattr("sys.argv", ["tools/run", "evaluate", f"{bad}.mp4"])
    ran = run_of([side()])
    assert ran.command == "tools/run evaluate 'den?.mp4'"
    save_page("--out", tmp_path / "out.html", [parse("a test", demo(camera=bad) | {"run": asdict(ran)})], None)
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<h4>den?</h4>" in text


def test_a_trace_without_answers_is_refused() -> None:
    """It could not be drawn."""
    broken = evaluation()
    broken["timelines"][0]["lanes"][0]["courses"][0]["trace"] = {"at_s": [], "p_yes": []}
    with pytest.raises(CommandError, match=r"courses\.0\.trace: Value error, 0 times and 0 answers"):
        parse("evaluate.json", broken)


def test_a_page_that_could_not_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    """Not after minutes of work."""
    with pytest.raises(CommandError, match=r"--report .*it is a folder"):
        check_writable("--report", tmp_path)
    with pytest.raises(CommandError, match=r"there is no folder .*: make it first"):
        check_writable("--report", tmp_path / "none" / "out.html")
    there = tmp_path / "there.html"
    there.write_text("as it was", encoding="utf-8")
    check_writable("--report", there)
    check_writable("--report", tmp_path / "new.html")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("there.html", "as it was")]
    for locked in (Path("/proc/out.html"), Path(sys.executable).resolve()):  # for root, too: no files are made here, and it runs
        with pytest.raises(CommandError, match=rf"--report {locked}: .*: give a file that can be written"):
            check_writable("--report", locked)


def test_lists_of_numbers_stand_on_a_line(tmp_path: Path) -> None:
    """A trace would fill pages else; nothing but white space differs from what json writes."""
    value = {
        "at_s": [0.5, -1.0, 1e-6],
        "none": [],
        "mixed": [1, "a\n 2"],
        "nested": [[1, 2], [3]],
        "text": "[\n 1\n ]",
        "all": [1, None],
    }
    target = tmp_path / "value.json"
    write_json(str(target), value)
    text = target.read_text(encoding="utf-8")
    assert '"at_s": [0.5, -1.0, 1e-06],' in text
    assert json.loads(text) == value
