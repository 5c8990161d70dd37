"""`scenes` and `evaluate` one after the other, as a person would call them."""

import json
from pathlib import Path

from PIL import Image

from tests.integration.test_command_line import run
from tests.unit.report_world import Parsed


def test_a_rendered_video_is_judged_by_its_own_truth(tmp_path: Path) -> None:
    """Every episode of an unseen scene found, none invented, each behaviour listed, charts drawn; a typo stops it beforehand."""
    videos, truth = tmp_path / "videos", tmp_path / "videos" / "truth.csv"
    rendered = run("scenes", "--out", str(videos), "--seeds", "401-401", "--cameras", "1")
    assert rendered.returncode == 0, rendered.stderr
    lines = truth.read_text(encoding="utf-8").splitlines()[1:]

    page, drawings = tmp_path / "evaluate.html", tmp_path / "plots"
    done = run("evaluate", str(videos), "--truth", str(truth), "--json", "-", "--plots", str(drawings), "--report", str(page))
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    behaviors = {one["behavior"]: one for one in figures["behaviors"]}
    assert len(behaviors) == 8
    assert sum(one["episodes"] for one in behaviors.values()) == figures["episodes"] == len(lines)
    assert (figures["found_percent"], figures["false_percent"], figures["false_per_camera_hour"]) == (100.0, 0.0, 0.0)
    barking = behaviors["barking"]
    assert (barking["precision"], barking["recall"], barking["f1"], barking["splits"]) == (1.0, 1.0, 1.0, 0)
    assert 1.0 < barking["delay_p50_s"] < 3.0
    assert barking["average_precision"] > 0.9
    assert barking["ece"] < 0.1
    drawn = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert drawn == ["precision-recall.png", "reliability.png", "thresholds.png", f"timeline-{figures['videos'][0]}.png"]
    with Image.open(tmp_path / "plots" / drawn[-1]) as picture:
        assert "barking 1 true, 1 events" in picture.info["Description"]

    parsed = Parsed.of(page.read_text(encoding="utf-8"))
    assert len(parsed.all("img")) == figures["events"] == len(lines)
    assert all("right" in one.text for one in parsed.all("li"))
    sums = [one.text for one in parsed.all("p") if one.attributes.get("class") == "balance"]
    assert [one.endswith(" + 0 unaccounted for: adds up") for one in sums] == [True, True]
    assert f"{figures['frames']['answered']} asked" in sums[1]

    truth.write_text(truth.read_text(encoding="utf-8").replace("barking", "braking"), encoding="utf-8")
    refused = run("evaluate", str(videos), "--truth", str(truth))
    assert refused.returncode == 2
    assert "do you mean 'barking'?" in " ".join(refused.stderr.split())
