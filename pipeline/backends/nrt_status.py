"""What the Neuron runtime says when something fails, and what to do about it.

torch_neuronx raises plain `RuntimeError`s whose text holds the runtime's status; no typed exceptions are known. Codes are those
of `nrt_status.rst` of the AWS Neuron SDK (2.31), the policy that of its "Hardware Errors" troubleshooting page. Texts without
a code are those seen in issues 718, 835, 1028 and 1083 of aws-neuron-sdk.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from pipeline.backends.backend import Failure


class NrtStatus(IntEnum):
    """NRT_STATUS codes."""

    FAILURE = 1
    INVALID = 2
    RESOURCE = 4
    TIMEOUT = 5
    HW_ERROR = 6
    QUEUE_FULL = 7
    LOAD_NOT_ENOUGH_NC = 9
    UNSUPPORTED_NEFF_VERSION = 10
    FAIL_HOST_MEM_ALLOC = 11
    UNINITIALIZED = 13
    CLOSED = 14
    EXEC_UNIT_UNRECOVERABLE = 101
    EXEC_BAD_INPUT = 1002
    EXEC_COMPLETED_WITH_NUM_ERR = 1003
    EXEC_COMPLETED_WITH_ERR = 1004
    EXEC_NC_BUSY = 1005
    EXEC_OOB = 1006
    EXEC_HW_ERR_HBM_UE = 1201
    EXEC_HW_ERR_NC_UE = 1202
    EXEC_HW_ERR_DMA_ABORT = 1203
    EXEC_SW_NQ_OVERFLOW = 1204
    EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means and what an operator does about it."""

    failure: Failure
    """While a program runs."""
    remedy: str
    """A sentence's second half."""
    is_artifact_at_fault: bool = False
    """The program cannot be loaded on any device of this host."""


_REPLACE = Verdict(Failure.DEVICE_LOST, "the chip is defective: terminate or stop and start this instance to get another")
_RELOAD = Verdict(
    Failure.DEVICE_LOST,
    "the memory can be repaired: reload the driver (`modprobe -r neuron; modprobe neuron`) or reboot this host",
)
_RESTART = Verdict(Failure.DEVICE_LOST, "restart this worker; if it fails again, replace the instance")
_PLACEMENT = Verdict(
    Failure.DEVICE_LOST,
    "the core belongs to another process (see `neuron-ls`): start one worker per core, each with its own --device neuron:N",
)
_NO_DEVICE = Verdict(
    Failure.DEVICE_LOST,
    "there is no Neuron device or driver here: install aws-neuronx-dkms on the host, pass /dev/neuron0 to the container, "
    "or choose another device",
)
_MEMORY = Verdict(Failure.DEVICE_LOST, "memory is short: compile fewer buckets or a smaller capacity, or take a larger instance")
_BAD_INPUT = Verdict(Failure.BAD_INPUT, "the batch was refused, the device is well: report it with this message")
_NOT_A_NUMBER = Verdict(
    Failure.BAD_INPUT, "the model answered something that is no number: compile it with --precision fp32 and compare"
)
_CROWDED = Verdict(Failure.RETRY, "more batches were submitted than the device takes at once: the batch is tried again")
_FORKED = Verdict(Failure.DEVICE_LOST, "the runtime does not survive a fork: load the artifact in the process that runs it")
_OTHER_RUNTIME = Verdict(
    Failure.DEVICE_LOST,
    "it was compiled for another Neuron SDK: compile it again with the pins of tools/deploy, or install that SDK's runtime",
    is_artifact_at_fault=True,
)

POLICY: Mapping[NrtStatus, Verdict] = {
    # says nothing of what failed; after a fatal error only a new process may use the core
    NrtStatus.FAILURE: _RESTART,
    NrtStatus.INVALID: _BAD_INPUT,
    NrtStatus.RESOURCE: _MEMORY,
    # the core hangs: NEURON_RT_EXEC_TIMEOUT is far above any batch's time
    NrtStatus.TIMEOUT: _REPLACE,
    NrtStatus.HW_ERROR: _REPLACE,
    # the only failure that passes by itself: the batch was never started
    NrtStatus.QUEUE_FULL: _CROWDED,
    NrtStatus.LOAD_NOT_ENOUGH_NC: _PLACEMENT,
    NrtStatus.UNSUPPORTED_NEFF_VERSION: _OTHER_RUNTIME,
    NrtStatus.FAIL_HOST_MEM_ALLOC: _MEMORY,
    NrtStatus.UNINITIALIZED: _NO_DEVICE,
    NrtStatus.CLOSED: _NO_DEVICE,
    NrtStatus.EXEC_UNIT_UNRECOVERABLE: _RESTART,
    NrtStatus.EXEC_BAD_INPUT: _BAD_INPUT,
    NrtStatus.EXEC_COMPLETED_WITH_NUM_ERR: _NOT_A_NUMBER,
    # with an uncorrectable error (see _TEXTS) the instance is to be replaced; without one it may have been the model's
    NrtStatus.EXEC_COMPLETED_WITH_ERR: _RESTART,
    # somebody else's model runs on the core; trying again would be a contest with another worker, not a cure
    NrtStatus.EXEC_NC_BUSY: _PLACEMENT,
    NrtStatus.EXEC_OOB: _BAD_INPUT,
    NrtStatus.EXEC_HW_ERR_HBM_UE: _REPLACE,
    NrtStatus.EXEC_HW_ERR_NC_UE: _REPLACE,
    NrtStatus.EXEC_HW_ERR_DMA_ABORT: _REPLACE,
    # completions were dropped, so the runtime no longer knows what has run
    NrtStatus.EXEC_SW_NQ_OVERFLOW: _RESTART,
    NrtStatus.EXEC_HW_ERR_REPAIRABLE_HBM_UE: _RELOAD,
}

# `status=5 message=Timeout Exceeded` (torch_neuronx), `NRT Error NRT_FAILURE(1)` (nrtpy), `NRT_EXEC_OOB` (the runtime's log)
_CODE = re.compile(r"\bstatus=(\d+)|\bNRT_[A-Z0-9_]+\((\d+)\)")
_NAME = re.compile(r"\bNRT_([A-Z][A-Z0-9_]+)\b")
_TEXTS: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (re.compile(r"NRT_STATE_CHILD"), _FORKED),
    (re.compile(r"NEFF version mismatch"), _OTHER_RUNTIME),
    (re.compile(r"NeuronCore\(s\) not available"), _PLACEMENT),
    (re.compile(r"(could not|cannot) be initialized"), _NO_DEVICE),
    (re.compile(r"(?<!repairable )uncorrectable", re.IGNORECASE), _REPLACE),
)


def verdict_of(text: str) -> Verdict:
    """Judge an error's text; what is not known means that the device is lost, since nothing says that it is well."""
    for pattern, verdict in _TEXTS:
        if pattern.search(text):
            return verdict
    status = status_of(text)
    return _RESTART if status is None else POLICY[status]


def status_of(text: str) -> NrtStatus | None:
    """Find the runtime's status in an error's text; None if it has none that is known."""
    codes = {int(with_key or in_brackets) for with_key, in_brackets in _CODE.findall(text)}
    known = [status for status in NrtStatus if status in codes]
    if known:
        return known[-1]  # the most specific: execution's codes are the larger ones
    named = set(_NAME.findall(text))
    return next((status for status in reversed(NrtStatus) if status.name in named), None)
