"""The whole proof, short: real workers, a real broker, faults of every kind, and the negative control that it can fail."""

import asyncio
from pathlib import Path

import pytest

from tools.broker.find import why_no_broker
from tools.chaos.run import Plan, Report, chaos

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER, so nothing is proven: {why_no_broker()}"),
]


def perform(plan: Plan, folder: Path) -> Report:
    """One run."""
    return asyncio.run(chaos(plan, folder, lambda _: None))


@pytest.mark.slow
def test_fifteen_faults_lose_repeat_and_invent_nothing(tmp_path: Path) -> None:
    """Every kind of fault once or more: each alert that must be there is there once, in order, and every other check holds."""
    report = perform(Plan(seed=15, faults=15), tmp_path)
    assert report.problems == []
    assert report.ending is not None
    assert report.ending.verdict.expected > 20 * 15
    assert sum(each.is_busy for each in report.injected) >= len(report.injected) / 2


@pytest.mark.proof
def test_the_negative_control_loses_and_repeats(tmp_path: Path) -> None:
    """The same faults with at-least-once delivery: a harness that finds nothing there is blind."""
    report = perform(Plan(seed=15, faults=10, is_naive=True), tmp_path)
    assert report.ending is not None
    verdict = report.ending.verdict
    assert verdict.lost > 0
    assert verdict.duplicated > 0
