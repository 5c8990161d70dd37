"""The page without a browser: complete in itself, accessible, escaped, and everything is on it."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tools.report
from tests.unit.report_world import PICTURE, Parsed, demo, difference, evaluation, load, rendered, run, side, through
from tools.report import counters
from tools.report.lanes import DASH

STYLE = (Path(tools.report.__file__).parent / "style.css").read_text(encoding="utf-8")
EVERYTHING = (demo(seeds=(1, 2)), evaluation(), difference(), load())


@pytest.fixture(scope="module")
def whole() -> Parsed:
    """A page of every kind of result."""
    return Parsed.of(rendered(*EVERYTHING))


def test_nothing_leaves_the_file(whole: Parsed) -> None:
    """Links lead to what is on the page, pictures are in it, there is no script, and the browser is told to refuse the rest."""
    ids = {element.attributes["id"] for element in whole.elements if "id" in element.attributes}
    addresses = [
        value for element in whole.elements for name, value in element.attributes.items() if name in {"src", "href", "srcset"}
    ]
    assert addresses
    for address in addresses:
        assert address in {PICTURE, "data:,"} or (address[0] == "#" and address[1:] in ids)
    assert not whole.all("script", "iframe", "object", "embed", "form", "base")
    assert not [name for element in whole.elements for name in element.attributes if name.startswith("on")]
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    policy = next(one.attributes["content"] for one in whole.all("meta") if one.attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:")


def test_a_reader_without_eyes_finds_the_way(whole: Parsed) -> None:
    """One h1, no level left out, a language, names on pictures, charts and tables, and what heads a row or a column."""
    levels = [int(one.name[1]) for one in whole.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert whole.all("html")[0].attributes["lang"] == "en"
    assert whole.all("title")[0].text.startswith("Pawsight")
    assert any(one.attributes.get("name") == "viewport" for one in whole.all("meta"))
    assert all(one.attributes["alt"].strip() for one in whole.all("img"))
    assert all(one.attributes["role"] and one.attributes["aria-label"].strip() for one in whole.all("svg"))
    assert all(one.attributes["aria-label"].strip() for one in whole.all("table"))
    assert all(one.attributes["scope"] in {"row", "col"} and one.text.strip() for one in whole.all("th"))


def test_ids_are_unique(whole: Parsed) -> None:
    """However many cameras have the same name."""
    ids = [element.attributes["id"] for element in whole.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids)) > 10


@pytest.mark.parametrize(
    ("document", "pictured"), [(demo(), 3), (evaluation(), 3), (difference(), 3)], ids=["demo", "evaluate", "diff"]
)
def test_every_event_has_its_picture(document: dict[str, Any], pictured: int) -> None:
    """Right, false and missed ones; gained, lost and shifted ones. In the lanes each event leads to its card."""
    parsed = Parsed.of(rendered(document))
    cards = {one.attributes["id"]: one for one in parsed.all("li") if "id" in one.attributes}
    assert len(cards) == len(parsed.all("img")) == pictured
    linked = [one.attributes["href"][1:] for one in parsed.all("a")]
    told = {key for key, card in cards.items() if "missed" not in card.text}
    assert set(linked) == told


def test_what_was_right_and_what_was_not_is_said_in_words() -> None:
    """Not by colour alone."""
    page = Parsed.of(rendered(demo()))
    right, invented, missed = (one.text for one in page.all("li"))
    assert ("right" in right, f"true 0:10.2{DASH}0:18.0" in right, "P(yes) 0.97" in right) == (True, True, True)
    assert "invented" in invented
    assert "missed" in missed
    lane = page.all("svg")[0].attributes["aria-label"]
    assert lane == "barking: true 0:10 to 0:18, 0:48 to 0:55 (missed); events 0:10 to 0:18, 0:30 to 0:38."
    gone, gained, shifted = (one.text for one in Parsed.of(rendered(difference())).all("li"))
    assert ("lost" in gone, "gained" in gained, "shifted" in shifted) == (True, True, True)
    assert "told 0:42.5 (+1.0 s)end told 0:51.0 (+1.0 s)before 0:40.0" in shifted
    assert "0.90 → 0.80" in shifted


def test_without_videos_the_events_are_there_all_the_same() -> None:
    """And the page says how to get the pictures."""
    parsed = Parsed.of(rendered(demo(), has_pictures=False))
    assert not parsed.all("img")
    assert len([one for one in parsed.all("li") if "id" in one.attributes]) == 3
    assert "--videos" in parsed.all("footer")[0].text


def test_counters_are_summed_up(whole: Parsed) -> None:
    """Every part is named; of a run that is over nothing may be left that nobody accounts for, one way or the other."""
    lines = [one.text for one in whole.all("p") if one.attributes.get("class") == "balance"]
    assert "9 records received = 8 used + 1 dead letters + 0 unaccounted for: adds up" in lines
    assert "100 pictures decoded = 20 asked + 78 between two samples + 2 late + 0 unaccounted for: adds up" in lines
    for balance in counters.balances({"received": 5, "used": 2, "decoded": 5, "answered": 3, "late": 1}):
        assert sum(count for _, count in balance.parts) == balance.whole == 5
        assert not balance.holds
    for used in (1, 3):
        records, pictures = counters.balances({"received": 2, "used": used})
        assert (records.holds, pictures.holds) == (False, True)
    losing = demo()
    losing["frames"]["answered"] -= 1
    (_, wrong) = (one.text for one in Parsed.of(rendered(losing)).all("p") if one.attributes.get("class") == "balance")
    assert wrong.endswith("+ 1 unaccounted for: does not add up")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a' onload='x", "&amp; &lt;b>"])
def test_whatever_text_comes_is_text(text: str) -> None:
    """A camera's name, a command line, a question, a file's name."""
    hostile, changed, grid = demo(camera=text), difference(), load()
    hostile["run"]["command"] = hostile["broker"]["name"] = hostile["latency"][0]["what"] = text
    hostile["run"]["sides"][0]["asked"][0]["ask"] = text
    hostile["timelines"][0]["lanes"][0]["behavior"] = text
    changed["before"] = text
    changed["behaviors_only_before"] = [text]
    grid["machine"]["processor"] = text
    grid["warnings"] = [text]
    parsed = Parsed.of(rendered(hostile, changed, grid))
    assert not parsed.all("script")
    assert {one.attributes["src"] for one in parsed.all("img")} == {PICTURE}
    assert not [name for element in parsed.elements for name in element.attributes if name.startswith("on")]
    said = [one.text for one in parsed.all("h4", "dd", "h2", "strong", "td", "p")]
    assert sum(text in each for each in said) >= 8
    assert any(text in one.attributes["alt"] for one in parsed.all("img"))


def test_the_stress_chart_names_every_cell(whole: Parsed) -> None:
    """As `#server-#client`, with the figures in words and in a table."""
    latency, throughput = (
        one.attributes["aria-label"] for one in whole.all("svg") if "#server-#client" in one.attributes["aria-label"]
    )
    assert "1-8 88 / 140 ms" in latency
    assert "1-8 90 frames/s" in throughput
    assert {"1-1", "1-8"} <= {one.text for one in whole.all("th")}


def test_a_stress_test_tells_its_command_if_it_knows_it() -> None:
    """With when it ended and on what commit; a result of an earlier version is shown without."""
    text = Parsed.of(rendered(load() | {"run": run(side(), command="tools/run stress --open-loop")})).all("body")[0].text
    assert "tools/run stress --open-loop" in text
    assert "commit" in text
    assert "commit" not in Parsed.of(rendered(load())).all("body")[0].text


def test_what_went_through_kafka_is_shown() -> None:
    """The most cameras, each number that was tried, and whose processor time it was."""
    parsed = Parsed.of(rendered(load() | {"kafka": through()}))
    text = parsed.all("body")[0].text
    for said in ("cameras at 2 frames/s", "1,980 ms", "0.1 %", "processor s per 1,000 frames: device", "20.2"):
        assert said in text
    assert [one.text for one in parsed.all("td")][-10:] == ["32.0", "yes", "0.1 %", "420", "1,980", "51.0", "no", "-", "-", "-"]


def test_only_what_was_checked_is_said_to_be_right() -> None:
    """Answers of another picture are the grid's and the open loop's, if either ran; through Kafka it is known at the end only."""
    cells = [load()["grid"][0] | {"errors": 1}]
    wrong = load() | {"grid": cells, "open_loop": load()["open_loop"] | {"errors": 2}}
    neither = load() | {"grid": [], "saturation": None, "open_loop": None}
    for document, said in ((load(), ["0"]), (wrong, ["3"]), (neither, [])):
        assert tile("answers of another picture", document) == said
    for kafka, said in ((through(), ["0"]), (through() | {"conservation": None}, ["not known"])):
        assert tile("lost, repeated or wrong", neither | {"kafka": kafka}) == said


def tile(name: str, document: dict[str, Any]) -> list[str]:
    """What the page says of a figure."""
    parsed = Parsed.of(rendered(document))
    return [one.text for before, one in pairwise(parsed.all("dt", "dd")) if (before.name, before.text) == ("dt", name)]


def colours(text: str) -> dict[str, str]:
    """The variables of a block of the style sheet."""
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio by WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def blended(colour: str, ground: str, share: float) -> str:
    """A colour that lets its ground through."""
    parts = zip(bytes.fromhex(colour[1:]), bytes.fromhex(ground[1:]), strict=True)
    return f"#{bytes(round(share * one + (1 - share) * other) for one, other in parts).hex()}"


def test_everything_can_be_told_from_its_ground() -> None:
    """Text at 4.5 to 1 or more, all marks at 3 to 1, pale ones, too, and P(yes) over what is true; light and dark."""
    texts, grounds = {"ink", "soft", "link", "good", "bad"}, {"ground", "panel", "rule", "truth"}
    pale = [rule for rule in re.findall(r"{([^{}]*)}", STYLE) if re.search(r"[^-]opacity", rule)]
    light, dark = (colours(block) for block in STYLE.split("@media (prefers-color-scheme: dark)")[:2])
    assert light.keys() == dark.keys()
    for scheme in (light, dark):
        marks = {name: scheme[name] for name in scheme.keys() - texts - grounds}
        assert {"curve", "event", "before", "edge", "s1", "s2", "s3", "s4"} <= marks.keys()
        for rule in pale:
            name, share = re.findall(r"var\(--(\w+)\).*[^-]opacity: ([.\d]+)", rule)[0]
            marks[rule] = blended(scheme[name], scheme["ground"], float(share))
        assert {name for name in texts for ground in ("ground", "panel") if contrast(scheme[name], scheme[ground]) < 4.5} == set()
        assert {name for name, colour in marks.items() if contrast(colour, scheme["ground"]) < 3} == set()
        assert contrast(scheme["curve"], scheme["truth"]) >= 3
