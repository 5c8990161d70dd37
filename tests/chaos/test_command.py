"""`tools/run chaos`: what its JSON holds, how parts of one proof add up, and which exit status follows from them."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tools.broker.jars import kafka_version
from tools.chaos import run, scenarios
from tools.chaos.check import Verdict
from tools.chaos.command import chaos
from tools.chaos.ending import Ending
from tools.chaos.engine import Asked
from tools.chaos.faults import Fault, Kind
from tools.chaos.inject import Injected
from tools.chaos.run import Plan, Report
from tools.chaos.status import CrashPoint, How, Order, Side
from tools.errors import CommandError

app = typer.Typer()
app.command()(chaos)

KINDS = {
    "kill", "stop", "term", "join", "leave", "broker_kill", "broker_restart", "broker_stop", "node_kill", "publisher_kill",
    "network", "crash_point",
}  # fmt: skip
ORDER = Order(CrashPoint.COMMIT, Side.AFTER, How.STOP)
ASKED = Asked(1000, 900)


def verdict(*, lost: int = 0, duplicated: int = 0) -> Verdict:
    """Of a thousand alerts."""
    details = ("an alert was lost",) * lost + ("an alert came twice",) * duplicated
    return Verdict(1000, 1000 - lost + duplicated, lost, duplicated, 0, 0, 0, details)


def report(plan: Plan, found: Verdict, asked: Asked) -> Report:
    """Three faults, one of them busy, and the crash point once reached and once not."""
    faults = [
        Injected(Fault(0, Kind.KILL, 1.0, 0, 2.0, is_aimed=True), "w1", 10.0, is_busy=True),
        *(
            Injected(
                Fault(number, Kind.CRASH_POINT, 1.0, 0, 2.0, is_aimed=False, order=ORDER), "w2", 20.0, False, is_reached=is_so
            )
            for number, is_so in ((1, True), (2, False))
        ),
    ]
    return Report(plan, faults, Counter({"commit": 1}), [1.0, 4.0, 2.0], Ending(found, 900, asked), wall_s=61.25)


@pytest.fixture
def perform(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command on a run that ended so."""

    def command(*options: str, found: Verdict | None = None, asked: Asked = ASKED) -> Result:
        async def ended(plan: Plan, *_: object) -> Report:
            return report(plan, found or verdict(), asked)

        monkeypatch.setattr(run, "chaos", ended)
        return CliRunner().invoke(app, list(options))

    return command


def figures(result: Result) -> dict[str, Any]:
    """What went to standard output as JSON."""
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_figures_of_a_run(perform: Callable[..., Result]) -> None:
    """Every field that the command promises, with every kind of fault and every crash point, also those that did not come."""
    result = perform("--seed", "7", "--json", "-")
    assert result.exit_code == 0, result.output
    told = figures(result)
    assert (told["seed"], told["broker"]) == (7, {"name": "Apache Kafka", "version": kafka_version()})
    assert told["faults"] == dict.fromkeys(KINDS, 0) | {"kill": 1, "crash_point": 2}
    assert (told["faults_total"], told["faults_busy"]) == (3, 1)
    assert told["reached"] == {point.value: int(point is CrashPoint.COMMIT) for point in CrashPoint}
    assert told["reached_orders"] == {"after commit: stop": 1}
    assert (told["frames"], told["asked"], told["reasked_percent"]) == (900, 1000, 10.0)
    assert [told[name] for name in ("expected", "lost", "duplicated", "spurious", "out_of_order", "problems")] == [1000] + [0] * 5
    assert told["recovery_s"] == {"p50": 2.0, "p99": 4.0}


@pytest.mark.parametrize(
    ("naive", "found", "status"),
    [
        pytest.param(False, verdict(lost=1), 1, id="lost"),
        pytest.param(True, verdict(lost=1, duplicated=1), 0, id="control lost and repeated"),
        pytest.param(True, verdict(lost=1), 1, id="control repeated nothing"),
    ],
)
def test_exit_status_says_whether_it_holds(perform: Callable[..., Result], naive: bool, found: Verdict, status: int) -> None:  # noqa: FBT001
    """What was found is a failure, and of the negative control the proof that it can be."""
    assert perform(*["--naive"] * naive, found=found).exit_code == status


def test_parts_of_a_proof_add_up(perform: Callable[..., Result], tmp_path: Path) -> None:
    """Sums, recoveries of all, the share of what was asked again by how much was asked, and each part's seed and commit."""
    file = tmp_path / "parts.json"
    assert perform("--seed", "1", "--resume", str(file)).exit_code == 0
    told = figures(perform("--seed", "2", "--resume", str(file), "--json", "-", asked=Asked(3000, 900)))
    (first, second) = json.loads(file.read_text())
    assert (first["seed"], second["seed"]) == (1, 2)
    assert told["parts"] == [{"seed": number, "commit": part["commit"]} for number, part in ((1, first), (2, second))]
    assert all(part["commit"] for part in told["parts"])
    assert told["faults"] == dict.fromkeys(KINDS, 0) | {"kill": 2, "crash_point": 4}
    assert (told["reached"]["commit"], told["reached"]["seek"], told["reached_orders"]) == (2, 0, {"after commit: stop": 2})
    sums = ("faults_total", "faults_busy", "frames", "asked", "expected", "lost", "wall_s")
    assert [told[name] for name in sums] == [6, 2, 1800, 4000, 2000, 0, 122.4]
    assert told["recovery_s"] == {"p50": 2.0, "p99": 4.0}
    assert told["reasked_percent"] == 55.0


def test_a_finding_of_an_earlier_part_is_not_outlived(perform: Callable[..., Result], tmp_path: Path) -> None:
    """The sum decides: a clean part behind one that lost an alert still ends with 1."""
    file = tmp_path / "parts.json"
    assert perform("--resume", str(file), found=verdict(lost=1)).exit_code == 1
    result = perform("--resume", str(file), "--json", "-")
    assert (result.exit_code, figures(result)["lost"]) == (1, 1)


def test_parts_of_older_commits_count(perform: Callable[..., Result], tmp_path: Path) -> None:
    """Crash points that they do not know add nothing."""
    file = tmp_path / "parts.json"
    perform("--resume", str(file))
    (old,) = json.loads(file.read_text())
    del old["asked"], old["reached_orders"], old["reached"]["seek"]
    file.write_text(json.dumps([old]))
    told = figures(perform("--resume", str(file), "--json", "-"))
    assert (told["expected"], told["asked"], told["reached"]["commit"], told["reached"]["seek"]) == (2000, 1000, 2, 0)


@pytest.mark.parametrize(("passed", "status"), [([True, True], 0), ([True, False], 1)])
def test_scenarios_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch, passed: list[bool], status: int) -> None:
    """Name, whether it passed, and figures of each that was named; one that did not pass is a failure."""
    names = list(scenarios.SCENARIOS)[:2]
    ends = dict(zip(names, passed, strict=True))

    def played(name: str) -> dict[str, Any]:
        return {"name": name, "passed": ends[name], "figures": {"expected": 5}, "problems": []}

    monkeypatch.setattr(scenarios, "play", played)
    result = CliRunner().invoke(app, [*(word for name in names for word in ("--scenario", name)), "--json", "-"])
    assert result.exit_code == status
    told = [{key: each[key] for key in ("name", "passed", "figures")} for each in figures(result)["scenarios"]]
    assert told == [{"name": name, "passed": ends[name], "figures": {"expected": 5}} for name in names]


def test_a_folder_with_another_runs_logs_is_refused(tmp_path: Path) -> None:
    """They would be judged with this run's: what an earlier worker left would be this one's, too."""
    (tmp_path / "w1.leaks.jsonl").write_text("{}", encoding="utf-8")
    result = CliRunner().invoke(app, ["--keep", str(tmp_path)])
    assert isinstance(result.exception, CommandError)
    assert "the folder is not empty" in str(result.exception)
