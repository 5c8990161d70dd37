"""`report` on results and their videos, as a person would call it, and its page in a browser."""

import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.integration.headless import DESKTOP, PHONE, find_browser, opened
from tests.integration.moving_pictures import Video, scene, write
from tests.integration.test_command_line import run
from tests.unit.report_world import Parsed, demo, difference, evaluation, load, through
from tools.errors import CommandError
from tools.recordings import Recording, pictures_at
from tools.report import thumbnails
from tools.report.cards import Wanted
from tools.report.chapters import chapters, moments
from tools.report.page import page as page_of
from tools.report.results import parse

MINUTE = Video(frames=120, gop=8, fps=Fraction(2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the kitchen, and the results of every command about it."""
    folder = tmp_path_factory.mktemp("report")
    write(folder / "kitchen.mp4", MINUTE)
    stress = load() | {"kafka": through(), "warnings": ["too few cores to be sure"]}
    for name, document in (("demo", demo()), ("evaluate", evaluation()), ("diff", difference()), ("stress", stress)):
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    """The page of all of them."""
    results = [str(folder / f"{name}.json") for name in ("demo", "evaluate", "diff", "stress")]
    done = run("report", *results, "--videos", str(folder / "kitchen.mp4"), "--out", str(folder / "report.html"))
    assert done.returncode == 0, done.stderr
    return folder / "report.html"


def test_the_pictures_are_those_that_were_shown_then(tmp_path: Path) -> None:
    """At a picture's time that picture; between two the next; whatever the container, in order, each time once."""
    path = write(tmp_path / "video.mkv", replace(MINUTE, muxer="matroska", frames=40))
    shown = list(scene(MINUTE))
    problems: list[str] = []
    recording = Recording("den", str(path), 1000.0)
    found = list(pictures_at(recording, [1015.0, 1000.0, 1000.5, 1003.2, 1015.0, 1019.9], problems.append))
    assert ([at_s for at_s, _ in found], problems) == ([1000.0, 1000.5, 1003.2, 1015.0, 1019.9], [])
    for (_, picture), number in zip(found, (0, 1, 7, 30, 39), strict=True):
        differences = [float(np.abs(picture.astype(int) - one.astype(int)).mean()) for one in shown[:40]]
        assert int(np.argmin(differences)) == number
    assert list(pictures_at(recording, [2000.0], problems.append)) == []


def test_a_moment_in_a_hole_has_the_picture_behind_it(tmp_path: Path) -> None:
    """A recording of motion, say: nothing from 4 s to 20 s. Behind its end there is none."""
    times_ms = [*range(0, 4000, 500), *range(20_000, 24_000, 500)]
    path = write(tmp_path / "video.mkv", replace(MINUTE, muxer="matroska", frames=16, gop=4, times_ms=times_ms))
    problems: list[str] = []
    found = list(pictures_at(Recording("den", str(path), 1000.0), [999.0, 1010.0, 1020.0, 2000.0], problems.append))
    assert ([at_s for at_s, _ in found], problems) == ([999.0, 1010.0, 1020.0], [])
    shown = list(scene(replace(MINUTE, frames=16)))
    for (_, picture), number in zip(found, (0, 8, 8), strict=True):
        differences = [float(np.abs(picture.astype(int) - one.astype(int)).mean()) for one in shown]
        assert int(np.argmin(differences)) == number


def test_what_was_missed_needs_no_picture(folder: Path) -> None:
    """Where nothing was filmed the card stands without one; an event that was told has one, or it is another video."""
    recording = Recording("kitchen", str(write(folder / "45.mp4", replace(MINUTE, frames=90))), None)
    wanted = list(moments([parse("a test", evaluation())]))
    taken = thumbnails.take(wanted, [recording])
    assert {(one.at_s, one.is_told) for one in wanted} == {(10.0, True), (30.0, True), (48.0, False)}
    assert taken.keys() == {("kitchen", 10.0), ("kitchen", 30.0)}
    parsed = Parsed.of(page_of(chapters([parse("a test", evaluation())], taken), has_pictures=True))
    assert (len(parsed.all("img")), len([one for one in parsed.all("li") if "id" in one.attributes])) == (2, 3)
    with pytest.raises(CommandError, match=r"45\.mp4 shows nothing at 48\.0 s"):
        thumbnails.take([replace(one, is_told=True) for one in wanted], [recording])


def test_pictures_are_not_kept_at_full_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's events are gigabytes: each is encoded and gone before the next but one is decoded."""
    lived: list[int] = []

    def watched(*arguments: Any) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        known: list[ref[NDArray[np.uint8]]] = []
        for at_s, picture in pictures_at(*arguments):
            known.append(ref(picture))
            lived.append(sum(one() is not None for one in known))
            yield at_s, picture

    monkeypatch.setattr(thumbnails, "pictures_at", watched)
    taken = thumbnails.take(
        [Wanted("kitchen", number / 2) for number in range(40)], [Recording("kitchen", str(folder / "kitchen.mp4"), None)]
    )
    assert (len(taken), len(lived)) == (40, 40)
    assert max(lived) <= 2


def test_the_page_holds_the_pictures_of_the_videos(page: Path) -> None:
    """Nine events of three results, each with a JPEG of the recording."""
    parsed = Parsed.of(page.read_text(encoding="utf-8"))
    pictures = [one.attributes["src"] for one in parsed.all("img")]
    assert len(pictures) == 9
    assert all(picture.startswith("data:image/jpeg;base64,/9j/") for picture in pictures)
    assert page.stat().st_size < 200_000


def test_a_browser_opens_it_without_a_request_or_a_complaint(page: Path, tmp_path: Path) -> None:
    """On a desktop and on a phone, light and dark: nothing is fetched, nothing is refused, and it is as wide as the screen."""
    browser = find_browser()
    if browser is None:
        pytest.skip("NO BROWSER, so the page was not opened in one: install chromium (Debian, Ubuntu: apt install chromium)")
    with opened(browser, tmp_path) as shown:
        grounds = set()
        for size in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                shown.open(page, size, scheme)
                assert shown.tell("document.documentElement.scrollWidth") <= size[0]
                assert shown.tell("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
                grounds.add(shown.tell("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        assert shown.complaints == []
        assert {address for address in shown.requests if not address.startswith("data:")} == {page.resolve().as_uri()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{folder}/none.json",), "none.json: No such file"),
        (("{folder}/kitchen.mp4",), "kitchen.mp4 is no JSON"),
        (("{folder}/demo.json", "--videos", "yard={folder}/kitchen.mp4"), "no video is of kitchen: give it as kitchen=FILE"),
        (("{folder}/demo.json", "--videos", "kitchen={folder}/short.mp4"), "short.mp4 shows nothing at 10.0 s"),
        (("{folder}/demo.json", "--videos", "kitchen={folder}/demo.json"), "demo.json is no video that can be read"),
    ],
)
def test_bad_input_is_a_sentence(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    """That names the file; nothing is written."""
    write(folder / "short.mp4", Video(frames=20, gop=10, fps=Fraction(2)))
    target = folder / "not-written.html"
    done = run("report", *(one.format(folder=folder) for one in arguments), "--out", str(target))
    assert done.returncode == 2, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not target.exists()


def test_a_target_that_cannot_be_written_is_named(folder: Path) -> None:
    """A folder that is not there."""
    done = run("report", str(folder / "demo.json"), "--out", str(folder / "none" / "out.html"))
    assert done.returncode == 2
    assert "--out" in done.stderr
    assert "make it first" in done.stderr
