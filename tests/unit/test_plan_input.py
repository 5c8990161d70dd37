"""What `tools/run plan` is given: a sentence for every option, table or profile that it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.unit.plan_world import CPU, PRICES, PROFILE, TABLE, profile_file, run, sheet_of
from tools.errors import CommandError
from tools.plan.command import plan
from tools.plan.prices import SHIPPED, load_prices
from tools.plan.profiles import check_artifact, load_profiles
from tools.plan.report import WIDTH, tables


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--fps", "0"), r"--fps 0: give a number over 0"),
        (("--fps", "inf"), r"--fps inf: give a number over 0"),
        (("--asked-share", "1.5"), r"--asked-share 1\.5: give a share over 0 and up to 1"),
        (("--utilisation", "nan"), r"--utilisation nan: give a share"),
        (("--fps", "5", "--publish-fps", "2"), r"--publish-fps 2 is less than --fps 5: .* raise the one"),
        (("--profile", "=x.json"), r"--profile =x\.json: write FILE, or INSTANCE=FILE"),
        (("--profile", "none.json"), r"--profile none\.json: No such file .* measure again"),
        (("--artifact", "."), r"is no artifact"),
    ],
)
def test_options_that_cannot_be_are_named(arguments: tuple[str, ...], sentence: str) -> None:
    """With what would be right."""
    from pipeline.errors import ArtifactError

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plan)
    failed = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(failed, CommandError | ArtifactError)
    assert re.search(sentence, str(failed))


def test_given_figures_reach_the_plan() -> None:
    """Every option by its own figure."""
    options = {"cameras": 77, "fps": 3, "asked-share": 0.4, "questions": 12, "utilisation": 0.6, "publish-fps": 9}
    kept = {"frame-bytes": 123, "retention-hours": 5}
    arguments = [text for name, value in (options | kept).items() for text in (f"--{name}", str(value))]
    status, printed = run(*arguments, "--json", "-")
    assert status == 0
    inputs = {name: each["value"] for name, each in json.loads(printed)["inputs"].items()}
    assert {name: inputs[name] for name in ("cameras", "sampled", "asked_share", "questions", "target_utilisation")} == {
        "cameras": 77, "sampled": 3, "asked_share": 0.4, "questions": 12, "target_utilisation": 0.6,
    }  # fmt: skip
    assert (inputs["published"], inputs["frame_size"], inputs["retention"]) == (9, 123, 5)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("date = 2026-11-26", "", r"p\.toml: there is no date: add the day .* date = 2026-11-26"),
        ("date = 2026-11-26", 'date = "soon"', r"p\.toml, line 1: date: .*'soon'"),
        ('currency = "USD"', 'currency = "EUR"', r"p\.toml, line 2: currency: .*'EUR'"),
        ('source = "a price', 'sauce = "a price', r"p\.toml: source is missing: add it"),
        ("on_demand_usd_per_hour = 0.526", "on_demand_usd_per_hour = 0", r", line 20: instance\.2\.on_demand_usd_per_hour"),
        ("on_demand_usd_per_hour = 0.526", "", r", line 14: instance\.2\.on_demand_usd_per_hour is missing: add it"),
        ('accelerator = "T4"', 'accelerator = "T4"\nspot = 1', r", line 18: unknown key 'instance\.2\.spot': remove it"),
        ("reserved_source", "# reserved_source", r", line 5: inf2\.xlarge has a reserved price without a source: add"),
        ('name = "g5.xlarge"', 'name = "g6.xlarge"', r"p\.toml: two instances are named 'g6\.xlarge': remove one"),
        ("share = 0.83", "share = 1.0", r", line 43: published_saving\.share"),
        ('instance = "inf2.xlarge"', 'instance = "inf3.xlarge"', r"published_saving speaks of 'inf3\.xlarge'"),
        ("vcpus = 4", "vcpus = ", r"p\.toml is no TOML: .*line 9"),
    ],
)
def test_a_wrong_price_table_is_refused_by_its_line(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    """Naming the file, the line where there is one, and the remedy."""
    assert old in TABLE
    path = tmp_path / "p.toml"
    path.write_text(TABLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CommandError, match=sentence):
        load_prices(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"throughput_fps": 0}, r"profile\.json, line 16: throughput_fps: .*: measure again with"),
        ({"machine": {"processor": "x", "cores": 0, "instance": None}}, r", line 6: machine\.cores: .*given: 0"),
        ({"format": "pawsight.profile/9"}, r", line 2: format: .*profile/9"),
        ({"speed": 1}, r", line 21: unknown key 'speed'"),
        ({"date": None}, r", line 3: date"),
        ({"machine": PROFILE["machine"] | {"instance": None}}, r"names no instance to price: write --profile INSTANCE="),
        ({"machine": PROFILE["machine"] | {"instance": "p5.48xlarge"}}, r"has no price of p5\.48xlarge: .*or add the instance"),
        ({"backend": "cuda"}, r"backend cuda, workers on inf2\.xlarge run on neuron"),
    ],
)
def test_a_wrong_profile_is_refused_by_its_line(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    """Naming the file, the line where there is one, and the remedy."""
    with pytest.raises(CommandError, match=sentence) as refused:
        sheet_of(str(profile_file(tmp_path, **changes)))
    assert "profile.json" in str(refused.value)


def test_a_profile_that_is_no_json_or_lacks_a_field(tmp_path: Path) -> None:
    """The parser's own line where it broke; the field's name where it is missing."""
    path = tmp_path / "broken.json"
    path.write_text('{\n "format": }', encoding="utf-8")
    with pytest.raises(CommandError, match=r"broken\.json: it is no JSON \(.*line 2"):
        sheet_of(str(path))
    path.write_text(json.dumps({key: value for key, value in PROFILE.items() if key != "model"}), encoding="utf-8")
    with pytest.raises(CommandError, match=r"broken\.json: model is missing: measure again"):
        sheet_of(str(path))


def test_a_file_name_may_hold_an_equals_sign(tmp_path: Path) -> None:
    """What exists as it stands is a file."""
    path = profile_file(tmp_path, "a=b.json")
    assert sheet_of(str(path)).rows[0].basis == "measured"
    assert sheet_of(f"inf2.xlarge={path}").rows[0].basis == "measured"


def test_questions_that_nobody_measured_are_refused(tmp_path: Path) -> None:
    """With what to measure, or to plan."""
    path = profile_file(tmp_path, extra_question_percent=None)
    with pytest.raises(CommandError, match=r"profile\.json .*8 questions .*measure with 12 questions .*plan --questions 8"):
        sheet_of(str(path), questions=12)


def test_profiles_of_two_models_are_not_compared(tmp_path: Path) -> None:
    """Both files and both models are named."""
    first, other = profile_file(tmp_path), profile_file(tmp_path, "other.json", model="demo", precision="fp32")
    with pytest.raises(CommandError, match=r"other\.json is of the model demo, .*profile\.json of Salesforce/blip-vqa-base"):
        sheet_of(str(first), str(other))


def artifact_folder(folder: Path) -> tuple[Path, str]:
    """Write a manifest of the neuron backend; give its folder and id."""
    from pipeline.artifact import FORMAT, MANIFEST, Image, Manifest, Words
    from pipeline.backends.backend import Precision
    from pipeline.stages import Layout

    manifest = Manifest(
        format=FORMAT, model_id="m", weights="w", code="c", tokenizer="t", backend="neuron", precision=Precision.BF16,
        layout=next(iter(Layout)), buckets=(1,), capacity="8x72", has_separate_weights=False,
        image=Image(size=32, mean=(0, 0, 0), std=(1, 1, 1)), words=Words(start=1, unknown=None, max_positions=8), versions={},
        flags=(), parity=None, files={},
    ).sealed()  # fmt: skip
    folder.mkdir()
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder, manifest.id


def test_a_profile_of_another_artifact_is_refused(tmp_path: Path) -> None:
    """Both ids and both places are named; the right one passes, and another backend's profile has nothing to do with it."""
    folder, name = artifact_folder(tmp_path / "art")

    def check(*said: str) -> None:
        check_artifact(load_profiles(said, PRICES, SHIPPED), folder)

    cpu = f"c7i.2xlarge={profile_file(tmp_path, 'cpu.json', **CPU)}"
    check(str(profile_file(tmp_path, artifact=name)), cpu)
    with pytest.raises(
        CommandError, match=rf"profile\.json is a profile of the artifact 0123456789abcdef, .*art is {name}: measure"
    ):
        check(str(profile_file(tmp_path)), cpu)
    with pytest.raises(CommandError, match=r"art is for neuron, and no --profile is of that backend"):
        check(cpu)


def test_the_shipped_table_is_dated_and_sourced_and_has_every_kind() -> None:
    """Neuron, GPU and CPU, one worker a NeuronCore."""
    shipped = load_prices(SHIPPED)
    assert {each.backend for each in shipped.instance} == {"neuron", "cuda", "cpu"}
    inf2 = shipped.find("inf2.xlarge")
    assert inf2 is not None
    assert (inf2.workers, inf2.vcpus) == (2, 4)
    assert inf2.reserved_source
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(plan)
    assert CliRunner().invoke(app, []).exit_code == 0


def test_notes_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    """A processor's name is no markup."""
    path = profile_file(tmp_path, **(CPU | {"machine": {"processor": "CPU [bold]", "cores": 2, "instance": None}}))
    screen = Console(width=WIDTH, record=True)
    for part in tables(sheet_of(f"c7i.2xlarge={path}")):
        screen.print(part)
    assert "CPU [bold], 2 cores" in screen.export_text()
