"""Four rules of the worker, each taken out: the suite finds every one of them."""

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
    ("worker", "scenario", "finds", "tells_twice"),
    [
        pytest.param(
            "tests.chaos.worker_without_back_off",
            "2-late-end-txn",
            "late EndTxn requests were taken: they committed half of a transaction",
            False,  # what was committed by half is adopted
            id="back-off",
        ),
        pytest.param("tests.chaos.worker_without_adoption", "2-late-end-txn", "duplicated: ", True, id="adopted-alerts"),
        pytest.param(
            "tests.chaos.worker_without_membership",
            "15-group-coordinator-lost",
            "starts of producers by a worker that its group does not hear",
            False,
            id="membership-proof",
        ),
        pytest.param("tests.chaos.worker_without_backpressure", "stall", "a worker grew by ", False, id="backpressure"),
    ],
)
def test_the_suite_finds_a_rule_that_was_taken_out(
    monkeypatch: pytest.MonkeyPatch, worker: str, scenario: str, finds: str, *, tells_twice: bool
) -> None:
    """The scenario that passes with the real worker fails with this one, for what the rule is there for.

    The first two differ by adoption alone: only without it are alerts told twice.
    """
    monkeypatch.setattr(run, "WORKER_MODULE", worker)
    result = play(scenario)
    assert any(finds in problem for problem in result["problems"]), result
    assert (result["figures"]["duplicated"] > 0) is tells_twice, result
