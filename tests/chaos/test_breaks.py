"""Three rules of the protocol, each taken out: the suite finds every one of them."""

import pytest

from tools.broker.find import why_no_broker
from tools.chaos import run
from tools.chaos.scenarios import play

pytestmark = [
    pytest.mark.proof,
    pytest.mark.timeout(600),
    pytest.mark.skipif(why_no_broker() is not None, reason=f"NO KAFKA BROKER, so nothing is proven: {why_no_broker()}"),
]


@pytest.mark.parametrize(
    ("worker", "scenario"),
    [
        pytest.param("tests.chaos.worker_without_back_off", "2-late-end-txn", id="back-off"),
        pytest.param("tests.chaos.worker_without_adoption", "2-late-end-txn", id="adopted-alerts"),
        pytest.param("tests.chaos.worker_without_membership", "15-group-coordinator-lost", id="membership-proof"),
    ],
)
def test_the_suite_finds_a_rule_that_was_taken_out(monkeypatch: pytest.MonkeyPatch, worker: str, scenario: str) -> None:
    """The scenario that passes with the real worker fails with this one."""
    monkeypatch.setattr(run, "WORKER_MODULE", worker)
    result = play(scenario)
    assert not result["passed"], result
