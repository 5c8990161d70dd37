"""What the Neuron runtime's statuses mean."""

import pytest

from pipeline.backends.backend import Failure
from pipeline.backends.nrt_status import POLICY, NrtStatus, status_of, verdict_of

RETRY, BAD, LOST = Failure.RETRY, Failure.BAD_INPUT, Failure.DEVICE_LOST
CODES = {
    1: LOST, 2: BAD, 4: LOST, 5: LOST, 6: LOST, 7: RETRY, 9: LOST, 10: LOST, 11: LOST, 13: LOST, 14: LOST, 101: LOST,
    1002: BAD, 1003: BAD, 1004: LOST, 1005: LOST, 1006: BAD, 1201: LOST, 1202: LOST, 1203: LOST, 1204: LOST, 1205: LOST,
}  # fmt: skip


@pytest.mark.parametrize(("code", "failure"), CODES.items())
def test_each_status_has_its_class(code: int, failure: Failure) -> None:
    """In the text of torch_neuronx, within a TorchScript traceback, and in nrtpy's."""
    said = f"The operation failed in the TorchScript interpreter.\nRuntimeError: Failed to execute the model status={code} x"
    assert verdict_of(said).failure == failure
    assert verdict_of(f"NRT Error NRT_{NrtStatus(code).name}({code}): words").failure == failure


def test_every_status_is_judged() -> None:
    """None is forgotten, here or there."""
    assert set(POLICY) == set(NrtStatus) == set(CODES)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Failed to execute the model status=5 message=Timeout Exceeded", NrtStatus.TIMEOUT),
        ("NRT Error NRT_FAILURE(1): nrt_load", NrtStatus.FAILURE),
        ("nrt_execute failed: NRT_EXEC_HW_ERR_HBM_UE", NrtStatus.EXEC_HW_ERR_HBM_UE),
        ("status=1 while handling status=1006", NrtStatus.EXEC_OOB),
        ("status=424242", None),
        ("NRT_STATE_CHILD", None),
        ("exit_status=5", None),
        ("", None),
    ],
)
def test_status_is_found_in_the_text(said: str, status: NrtStatus | None) -> None:
    """By number, by name, the most specific of several; nothing is guessed."""
    assert status_of(said) is status


@pytest.mark.parametrize(
    ("said", "failure", "remedy"),
    [
        ("status=5 message=Timeout Exceeded", LOST, "terminate or stop and start this instance"),
        ("status=1201", LOST, "terminate or stop and start this instance"),
        ("status=1004: SRAM uncorrectable error", LOST, "terminate or stop and start this instance"),
        ("status=1004", LOST, "restart this worker"),
        ("status=1205", LOST, "reload the driver"),
        ("status=1003", BAD, "--precision fp32"),
        ("status=1005", LOST, "one worker per core"),
        (
            "NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - Requested:nc1-nc1 Available:0",
            LOST,
            "one worker per core",
        ),
        ("The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged", LOST, "choose another device"),
        ("Neuron runtime cannot be initialized; cannot determine the number of available NeuronCores", LOST, "another device"),
        ("Incompatible runtime state: NRT_STATE_CHILD", LOST, "does not survive a fork"),
        ("NEFF version mismatch supported: 1.1 received: 2.0", LOST, "compile it again"),
        ("status=7", RETRY, "tried again"),
        ("something new", LOST, "restart this worker"),
    ],
)
def test_the_remedy_is_that_of_the_failure(said: str, failure: Failure, remedy: str) -> None:
    """Replace the instance, reload the driver, start elsewhere, choose another device."""
    assert (verdict_of(said).failure, remedy in verdict_of(said).remedy) == (failure, True)
