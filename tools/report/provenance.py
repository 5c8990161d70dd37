"""What ran, told by the device that ran it."""

import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing import cpu_count

from pipeline.engine import Engine
from stream.debounce_rules import DebounceRule
from tools.assembly import Device
from tools.machine import commit, processor
from tools.questions import QuestionFile
from tools.report.record import Asked, Run, Side


def readable(text: str) -> str:
    """Give a text of the command line without the bytes that are none, as a file's name may have: no JSON could hold them."""
    return text.encode("utf-8", "replace").decode()


def side_of(device: Device, name: str = "") -> Side:
    """Say what a device answers with, while it is open."""
    return side_with(device.engine, device.asked, name)


def side_with(engine: Engine, asked: QuestionFile, name: str = "") -> Side:
    """Say what an engine answers with, if it is asked what stands in a file."""
    manifest, rules = engine.artifact.manifest, asked.debounce.by_behavior
    return Side(
        name=readable(name),
        device=str(engine.device),
        model=manifest.model_id,
        precision=manifest.precision.value,
        artifact=manifest.seal,
        weights=manifest.weights,
        versions=dict(manifest.versions),
        questions=asked.questions.fingerprint,
        revision=asked.revision.number,
        asked=tuple(_asked(one.ask, rules[one.behavior]) for one in asked.questions.questions),
    )


def _asked(ask: str, rule: DebounceRule) -> Asked:
    return Asked(rule.behavior, ask, rule.start_above, rule.stop_below, rule.start_after_s, rule.stop_after_s)


def run_of(sides: Sequence[Side]) -> Run:
    """Say what ran, at its end: this process, by its command line."""
    return Run(
        command=readable(shlex.join(["tools/run", *sys.argv[1:]])),
        ended_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=commit(),
        python=platform.python_version(),
        processor=processor(),
        cores=cpu_count(),
        sides=tuple(sides),
    )
