"""The questions file: read as a whole, split by who uses it, refused with the key's name."""

from pathlib import Path

import pytest

from tools.errors import CommandError
from tools.options import DEMO_QUESTIONS
from tools.questions import load_cameras, load_questions, reload_questions

GOOD = """
[stream]
sample_fps = 1.0
lost_after_s = 20.0
[[question]]
behavior = "chewing_furniture"
ask = "is the dog chewing the furniture?"
start_above = 0.7
severity = "warning"
"""


def written(folder: Path, text: str) -> Path:
    """The text as a file."""
    path = folder / "questions.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_split_into_questions_rules_and_clock(tmp_path: Path) -> None:
    """Wording goes to the pipeline, thresholds and times to the debouncer, sampling to the clock."""
    asked = load_questions(written(tmp_path, GOOD))
    assert asked.questions.behaviors == ("chewing_furniture",)
    rule = asked.debounce.by_behavior["chewing_furniture"]
    assert (rule.start_above, rule.stop_below, rule.severity) == (0.7, 0.35, "warning")
    assert (asked.clock.sample_fps, asked.debounce.lost_after_s) == (1.0, 20.0)


def test_a_file_has_a_revision(tmp_path: Path) -> None:
    """1 unless it says otherwise; it goes with the fingerprint of what is asked."""
    plain = load_questions(written(tmp_path, GOOD))
    assert (plain.revision.number, plain.revision.fingerprint) == (1, plain.questions.fingerprint)
    assert load_questions(written(tmp_path, "revision = 7" + GOOD)).revision.number == 7


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "true", '"2"'])
def test_a_revision_that_is_no_whole_number_is_refused(tmp_path: Path, wrong: str) -> None:
    """It must be comparable: nothing is guessed from a text."""
    with pytest.raises(CommandError, match=r"questions\.toml: revision: "):
        load_questions(written(tmp_path, f"revision = {wrong}" + GOOD))


def test_thresholds_leave_the_fingerprint_alone(tmp_path: Path) -> None:
    """What the answers mean depends on the wording only."""
    before = load_questions(written(tmp_path, GOOD)).questions.fingerprint
    after = load_questions(written(tmp_path, GOOD.replace("0.7", "0.8"))).questions.fingerprint
    reworded = load_questions(written(tmp_path, GOOD.replace("the dog", "a dog"))).questions.fingerprint
    assert before == after != reworded


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("start_above", "start_abvoe", "start_abvoe.*did you mean 'start_above'"),
        ("start_above = 0.7", "start_above = 1.7", "start_above"),
        ("start_above = 0.7", "start_above = 0.2", "stop_below"),
        ("sample_fps = 1.0", "sample_fps = 0.1", "sample_fps"),
        ("lost_after_s = 20.0", "lost_after_s = 2.0", "lost_after_s"),
        ("[[question]]", "[[questoin]]", "questoin"),
        ('"chewing_furniture"', '"Chewing Furniture"', "Chewing Furniture"),
        ("[stream]", "[stream", "no TOML"),
        ('ask = "is the dog chewing the furniture?"', 'ask = " "', "empty"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    """The message holds the file and the key or value at fault."""
    assert old in GOOD
    with pytest.raises(CommandError, match=rf"(?s)questions\.toml.*{named}"):
        load_questions(written(tmp_path, GOOD.replace(old, new)))


def test_a_behavior_asked_twice_is_refused(tmp_path: Path) -> None:
    """Events are keyed by behaviour: two questions for one would mix."""
    with pytest.raises(CommandError, match="chewing_furniture"):
        load_questions(written(tmp_path, GOOD + GOOD[GOOD.index("[[question]]") :]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message holds the path."""
    with pytest.raises(CommandError, match=r"none\.toml"):
        load_questions(tmp_path / "none.toml")


def test_the_demo_asks_eight_questions() -> None:
    """The shipped file is valid and asks what the demo checkpoint was trained on."""
    assert len(load_questions(DEMO_QUESTIONS).questions.questions) == 8


def test_cameras_are_optional_and_checked(tmp_path: Path) -> None:
    """Without a file every camera is enabled; a typo in one is named."""
    assert load_cameras(None).enabled("anything")
    path = tmp_path / "cameras.toml"
    path.write_text('[[camera]]\nid = "den"\nsampel_fps = 1.0\n', encoding="utf-8")
    with pytest.raises(CommandError, match="sampel_fps"):
        load_cameras(path)
    path.write_text('[[camera]]\nid = "den"\n[camera.thresholds.eating]\nstart_above = 0.9\n', encoding="utf-8")
    with pytest.raises(CommandError, match=r"'den'.*'eating', which is not asked"):
        load_cameras(path, load_questions(written(tmp_path, GOOD)))


OTHER = """
[[question]]
behavior = "sleeping"
ask = "is the dog sleeping?"
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("revision = 2", "revision = 2", id="nothing has changed"),
        pytest.param("start_above = 0.7", "start_above = 0.8", id="a threshold, under the same revision"),
        pytest.param("revision = 2", "revision = 3", id="another revision of the same questions"),
        pytest.param("revision = 2\n" + GOOD, "revision = 3\n" + GOOD + OTHER, id="one question more"),
        pytest.param("revision = 2", "revision = 3 # rolled back", id="a comment"),
    ],
)
def test_a_file_that_changed_is_taken_by_a_worker_at_work(tmp_path: Path, old: str, new: str) -> None:
    """What it says then is what a worker that starts would ask."""
    text = "revision = 2\n" + GOOD
    before = load_questions(written(tmp_path, text))
    assert old in text
    path = written(tmp_path, text.replace(old, new))
    assert reload_questions(path, before, load_cameras(None)) == load_questions(path)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("sample_fps = 1.0", "sample_fps = 2.0", "stream.sample_fps.*restart the worker"),
        ("lost_after_s = 20.0", "lost_after_s = 25.0", "stream.lost_after_s.*restart the worker"),
        ("[stream]", "[stream]\nmax_gap_s = 4.0", "stream.max_gap_s.*restart the worker"),
        ("[stream]", "[stream]\nforget_after_s = 99.0", "stream.forget_after_s.*restart the worker"),
        ("[stream]", "[stream]\nmax_jump_s = 99.0", "stream.max_jump_s.*restart the worker"),
        ("revision = 2", "revision = 1", "revision 1 is older than 2.*above 2.*--accept-older-revision"),
        ("the dog", "a dog", "questions have changed, and revision is still 2: raise it"),
        ("start_above", "start_abvoe", "did you mean 'start_above'"),
        ("revision = 2", "revision = [", "no TOML"),
        (
            "revision = 2",
            'revision = 3\n[[question]]\nbehavior = "chewing_furniture"\nask = "x?"\n',
            "asked twice",
        ),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    """The sentence holds the file, the key at fault and the way out."""
    text = "revision = 2\n" + GOOD
    before = load_questions(written(tmp_path, text))
    assert old in text
    text = text.replace(old, new, 1)
    if "chewing_furniture" in new:
        text = text.replace("[stream]\nsample_fps = 1.0\nlost_after_s = 20.0\n", "")
    with pytest.raises(CommandError, match=rf"(?s)questions\.toml.*{named}"):
        reload_questions(written(tmp_path, text), before, load_cameras(None))


def test_an_older_revision_is_taken_if_an_operator_said_so(tmp_path: Path) -> None:
    """As the worker was told at its start."""
    before = load_questions(written(tmp_path, "revision = 2\n" + GOOD))
    path = written(tmp_path, GOOD.replace("the dog", "a dog"))
    assert reload_questions(path, before, load_cameras(None), accept_older=True).revision.number == 1


def test_cameras_thresholds_must_fit_what_is_taken(tmp_path: Path) -> None:
    """The camera is named, and that its file is read at the start only."""
    before = load_questions(written(tmp_path, GOOD))
    cameras = tmp_path / "cameras.toml"
    cameras.write_text('[[camera]]\nid = "den"\n[camera.thresholds.chewing_furniture]\nstart_above = 0.8\n', encoding="utf-8")
    registry = load_cameras(cameras, before)
    path = written(tmp_path, "revision = 2\n" + GOOD.replace("chewing_furniture", "chewing_shoes"))
    with pytest.raises(CommandError, match=r"camera 'den': thresholds of 'chewing_furniture'.*read at the start"):
        reload_questions(path, before, registry)


def test_candidates_are_read_and_yes_and_no_where_none_are_given(tmp_path: Path) -> None:
    """Any words of the model's for either side; what is wrong with them is said with the file's name."""
    assert (load_questions(written(tmp_path, GOOD)).questions.questions[0].yes) == ("yes",)
    chosen = GOOD + 'yes = ["chewing", "biting the table"]\nno = ["nothing", "sleeping"]\n'
    question = load_questions(written(tmp_path, chosen)).questions.questions[0]
    assert (question.yes, question.no) == (("chewing", "biting the table"), ("nothing", "sleeping"))
    with pytest.raises(CommandError, match=r"questions\.toml: candidate 'no' of behavior 'chewing_furniture' stands there twice"):
        load_questions(written(tmp_path, GOOD + 'yes = ["yes", "no"]\n'))
