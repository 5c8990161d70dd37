"""What `tools/run plan` says: its tables, marks, notes, chart and document."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.table import Table

from tests.unit.plan_world import CPU, DEMAND, PROFILE, TABLE, assumed, profile_file, run, sheet_of
from tools.errors import CommandError
from tools.plan.plot import alt_text, curve
from tools.plan.prices import SHIPPED, Prices, Pricing, load_prices
from tools.plan.profiles import load_profiles
from tools.plan.report import tables
from tools.plan.sheet import build


def test_the_published_saving_as_a_table() -> None:
    """83 % saved implies, of inf2.xlarge against each GPU on demand: 8.5, 4.4, 5.5; with it reserved 3.7, 1.9, 2.4."""
    shipped = build(DEMAND, assumed(8), load_prices(SHIPPED), (), tuple(Pricing))
    found = {(each.baseline.name, each.pricing.value): round(each.implied.value, 1) for each in shipped.ratios()}
    assert found == {
        ("g4dn.xlarge", "on-demand"): 8.5,
        ("g5.xlarge", "on-demand"): 4.4,
        ("g6.xlarge", "on-demand"): 5.5,
        ("g4dn.xlarge", "reserved"): 3.7,
        ("g5.xlarge", "reserved"): 1.9,
        ("g6.xlarge", "reserved"): 2.4,
    }


def test_a_measured_ratio_stands_beside_the_implied_one(tmp_path: Path) -> None:
    """Two workers of 100/s on inf2.xlarge against one of 50/s on g5.xlarge are 4 times; the faster precision counts."""
    neuron = profile_file(tmp_path)
    machine = PROFILE["machine"] | {"instance": "g5.xlarge"}
    cuda = profile_file(tmp_path, "cuda.json", backend="cuda", device="cuda:0", machine=machine, throughput_fps=50.0)
    slower = profile_file(tmp_path, "fp32.json", precision="fp32", throughput_fps=30.0)
    measured = {each.baseline.name: each.measured for each in sheet_of(str(slower), str(neuron), str(cuda)).ratios()}
    assert measured["g5.xlarge"] is not None
    assert measured["g5.xlarge"].value == pytest.approx(4)
    assert measured["g6.xlarge"] is None


def test_the_json_of_a_measured_and_of_an_unmeasured_instance(tmp_path: Path) -> None:
    """Every figure by hand: the measured instance has them, the other says at what throughput it would cost as much."""
    status, printed = run(
        "--profile", str(profile_file(tmp_path)), "--asked-share", "0.5", "--pricing", "on-demand", "--json", "-"
    )  # fmt: skip
    assert status == 0
    written = json.loads(printed)
    inf2, g5 = (next(each for each in written["profiles"] if each["name"] == name) for name in ("inf2.xlarge", "g5.xlarge"))
    assert [each["name"] for each in written["profiles"]] == [
        "inf2.xlarge", "g4dn.xlarge", "g5.xlarge", "g6.xlarge", "c7i.2xlarge",
    ]  # fmt: skip
    assert (inf2["basis"], inf2["workers"], inf2["instances"], inf2["partitions"]) == ("measured", 15, 8, 30)
    assert inf2["headroom_percent"] == pytest.approx(60)
    assert inf2["usd_per_camera_month"] == pytest.approx(4.427888)
    assert inf2["usd_per_extra_question"] == pytest.approx(0.08855776)
    assert (g5["basis"], g5["workers"], g5["usd_per_camera_month"]) == ("not measured", None, None)
    assert g5["break_even_fps"] == pytest.approx(200 * 1.006 / 0.7582)
    assert written["inputs"]["asked_share"]["marks"] == ["given"]
    assert written["inputs"]["cameras"]["marks"] == ["assumed"]
    assert inf2["marks"]["usd_per_hour"] == ["published"]
    assert inf2["marks"]["throughput_fps"] == ["measured"]
    assert inf2["marks"]["usd_per_camera_month"] == ["measured", "published", "given", "assumed"]


def test_reserved_prices_stand_side_by_side(tmp_path: Path) -> None:
    """The same fleet at 0.328 an hour; instances without a reserved price are not made up."""
    sheet = sheet_of(str(profile_file(tmp_path)))
    costs = {each.name: each.cost.usd_per_month.value for each in sheet.offers if each.cost is not None}
    assert costs == {"inf2.xlarge": pytest.approx(4427.888), "inf2.xlarge reserved": pytest.approx(8 * 0.328 * 730)}
    assert sheet.reference.name == "inf2.xlarge reserved"
    reserved = sheet_of(str(profile_file(tmp_path)), pricings=(Pricing.RESERVED,))
    assert [each.name for each in reserved.offers] == ["inf2.xlarge reserved"]
    assert any("g5.xlarge" in note and "no reserved price" in note for note in reserved.notes)


def test_without_any_profile_break_even_is_a_multiple_of_the_first_row() -> None:
    """Nothing is invented: no workers, no costs, only how the prices compare."""
    sheet = sheet_of(pricings=(Pricing.ON_DEMAND,))
    ratios = {each.name: sheet.break_even_ratio(each) for each in sheet.offers}
    assert ratios["inf2.xlarge"] is not None
    assert ratios["g4dn.xlarge"] is not None
    assert ratios["inf2.xlarge"].value == 1
    assert ratios["g4dn.xlarge"].value == pytest.approx(0.526 / 0.7582)
    assert all(sheet.break_even(each) is None and each.cost is None for each in sheet.offers)


def test_a_profile_of_another_machine_is_assumed_to_hold(tmp_path: Path) -> None:
    """Measured on two cores at home and priced as an instance: the row says assumed, and a note says why."""
    path = profile_file(tmp_path, **CPU)
    sheet = sheet_of(f"c7i.2xlarge={path}")
    row = next(each for each in sheet.rows if each.label == "c7i.2xlarge")
    assert row.basis == "assumed"
    assert any("AMD EPYC, 2 cores" in note and "8 vCPUs" in note for note in sheet.notes)


def test_two_precisions_of_one_instance_are_two_rows(tmp_path: Path) -> None:
    """Named apart by their precision; the same twice is refused."""
    first, second = profile_file(tmp_path), profile_file(tmp_path, "fp32.json", precision="fp32", throughput_fps=30.0)
    assert [row.label for row in sheet_of(str(first), str(second)).rows][:2] == ["inf2.xlarge bf16", "inf2.xlarge fp32"]
    with pytest.raises(CommandError, match=r"profile\.json and .*again\.json are both profiles of inf2\.xlarge bf16"):
        sheet_of(str(first), str(profile_file(tmp_path, "again.json")))


def test_notes_say_what_the_figures_do_not(tmp_path: Path) -> None:
    """A camera too fast for a worker, a rate beyond the latency bound, and a host with too few processors."""
    slow = sheet_of(str(profile_file(tmp_path, throughput_fps=1.0, open_loop_fps=0.5, cpu_s_per_1000_frames=4000.0)))
    assert any("does not keep up" in note and "--fps 1.4 " in note for note in slow.notes)
    assert any("--utilisation 0.5 " in note for note in slow.notes)
    assert any("5.6 processors of 4 vCPUs" in note for note in slow.notes)
    slower = sheet_of(str(profile_file(tmp_path, throughput_fps=0.9, open_loop_fps=0.8)))
    assert any("--fps 1.2 " in note for note in slower.notes), "1.26, rounded down"
    kafka = {"workers": 1, "worker_fps": 50.0, "commit_p99_ms": None, "worker_cpu_s_per_1000_frames": 40.0}
    through = sheet_of(str(profile_file(tmp_path, kafka=kafka))).notes
    assert any(
        "a worker held 50 frames/s through Kafka, and is planned for 70: plan --utilisation 0.5 " in each for each in through
    )
    several = sheet_of(str(profile_file(tmp_path, kafka=kafka | {"workers": 2, "commit_p99_ms": 903.4}))).notes
    seen = "each of 2 workers held 50 frames/s through Kafka (99 % committed within 903 ms of capture), and is planned for 70"
    assert any(seen in each for each in several)
    assert any("5.6 processors of 4 vCPUs" in each for each in through), "70 frames/s x 2 workers x 40 s of 1,000"
    assert (
        sheet_of(str(profile_file(tmp_path, kafka=kafka | {"worker_fps": 70.0, "worker_cpu_s_per_1000_frames": 28.0}))).notes
        == ()
    )
    other = profile_file(tmp_path, "other.json", precision="fp32", questions_fingerprint="g")
    fine = str(profile_file(tmp_path))
    assert sheet_of(fine).notes == ()
    assert any("different questions" in note for note in sheet_of(fine, str(other)).notes)


def test_a_profile_of_another_instance_names_it(tmp_path: Path) -> None:
    """Measured on inf2.8xlarge, taken for inf2.xlarge; what two workers do at once is assumed as well."""
    there = profile_file(tmp_path, machine=PROFILE["machine"] | {"instance": "inf2.8xlarge"})
    assert any("measured on inf2.8xlarge;" in note for note in sheet_of(f"inf2.xlarge={there}").notes)
    work = sheet_of(str(profile_file(tmp_path))).rows[0].working
    assert work is not None
    assert work.speed.throughput_fps.letters == "m"
    assert work.instance_fps.letters == "mpa"


def test_json_says_what_does_not_keep_up_under_other_prices(tmp_path: Path) -> None:
    """The table of --prices counts, and a camera that is too much for a worker is told."""
    table = tmp_path / "dear.toml"
    table.write_text(TABLE.replace("0.7582", "7.5"), encoding="utf-8")
    slow = profile_file(tmp_path, throughput_fps=1.0)
    status, printed = run("--prices", str(table), "--profile", str(slow), "--json", "-")
    found = json.loads(printed)["profiles"][0]
    assert (status, found["keeps_up"], found["usd_per_hour"]) == (0, False, 7.5)


def test_break_even_is_not_with_what_cannot_keep_up(tmp_path: Path) -> None:
    """The cheapest frames are worth nothing where a camera is too much for a worker."""
    neuron = profile_file(tmp_path)
    cheap = profile_file(tmp_path, "cpu.json", throughput_fps=1.4, open_loop_fps=None, **CPU)
    prices = Prices.model_validate(tomllib.loads(TABLE.replace("= 0.357", "= 0.000357")))
    found = load_profiles([str(neuron), f"c7i.2xlarge={cheap}"], prices, SHIPPED)
    assert build(DEMAND, assumed(8), prices, found, (Pricing.ON_DEMAND,)).reference.name == "inf2.xlarge"


def headers() -> Iterator[str]:
    """Give the header of every column, without a profile."""
    for part in tables(sheet_of()):
        if isinstance(part, Table):
            yield from (str(column.header) for column in part.columns)


def test_every_column_header_has_its_unit() -> None:
    """In parentheses."""
    found = list(headers())
    assert len(found) == 27
    assert [header for header in found if not re.search(r"\(.+\)", header, re.DOTALL)] == []


def test_the_tables_fit_100_columns_and_explain_their_marks(tmp_path: Path) -> None:
    """No line is longer, nothing is cut off, no letter or prices' date is left unexplained."""
    status, printed = run("--profile", str(profile_file(tmp_path)), "--cameras", "250000")
    assert status == 0
    assert max(map(len, printed.splitlines())) <= 100
    assert "…" not in printed
    for said in ("m measured, p published, g given", "to save 83%", "2026-11-26", "us-east-1", "not measured", "Tomofun"):
        assert said in printed


def test_the_curve_passes_through_the_plan_and_ends_where_a_camera_is_too_much(tmp_path: Path) -> None:
    """At the planned rate it has the planned cost; 1.5 of a worker's 1.75 frames/s end it."""
    sheet = sheet_of(str(profile_file(tmp_path)))
    rates, costs = curve(sheet, sheet.offers[0])
    assert costs[min(range(len(rates)), key=lambda place: abs(rates[place] - 1.0))] == pytest.approx(4.427888)
    assert rates[-1] == pytest.approx(2.0)
    slow = sheet_of(str(profile_file(tmp_path, throughput_fps=1.5 / 0.7)))
    assert curve(slow, slow.offers[0])[0][-1] == pytest.approx(1.5)
    assert "inf2.xlarge 4.428 USD (measured)" in alt_text(sheet)
    assert "Not measured: g4dn.xlarge" in alt_text(sheet)


@pytest.mark.parametrize("name", ["cost.png", "cost.svg"])
def test_the_chart_holds_its_description(tmp_path: Path, name: str) -> None:
    """For those who cannot see it."""
    status, _ = run("--profile", str(profile_file(tmp_path)), "--plot", str(tmp_path / name))
    assert status == 0
    assert b"Cost per camera-month at 2 asked frames/s per camera" in (tmp_path / name).read_bytes()


def test_no_chart_without_a_cost(tmp_path: Path) -> None:
    """Nothing measured is nothing to draw."""
    status, sentence = run("--plot", str(tmp_path / "cost.png"))
    assert status == 2
    assert "give a --profile" in sentence
    assert not (tmp_path / "cost.png").exists()
