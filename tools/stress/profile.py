"""What a machine does with an artifact, in a file that `plan` reads."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from multiprocessing import cpu_count
from pathlib import Path
from typing import Any

from pipeline.engine import Engine
from pipeline.questions import QuestionSet
from tools.errors import CommandError
from tools.machine import processor
from tools.stress.figures import Measured, saturation
from tools.stress.kafka.figures import Through

FORMAT = "pawsight.profile/1"


def machine(instance: str | None) -> dict[str, Any]:
    """Name this machine: processor, cores, and what the cloud calls it."""
    return {"processor": processor(), "cores": cpu_count(), "instance": instance}


def profile(measured: Measured, engine: Engine, questions: QuestionSet, on: Mapping[str, Any]) -> dict[str, Any] | None:
    """Join the figures with what they are figures of; None if nothing was measured.

    `p99_ms` and `open_loop_fps` are the open loop's, None without one or if no rate held. `extra_question_percent` is None
    of one question, or where noise hid it. `kafka` is None without a search through Kafka to its end that found any.
    """
    saturated = saturation(measured.grid)
    if saturated is None:
        return None
    manifest, rate = engine.artifact.manifest, measured.open_loop
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": dict(on),
        "device": str(engine.device),
        "backend": manifest.backend,
        "precision": manifest.precision.value,
        "artifact": manifest.id,
        "model": manifest.model_id,
        "questions": len(questions.questions),
        "questions_fingerprint": questions.fingerprint,
        "throughput_fps": round(saturated.throughput_fps, 2),
        "p99_ms": None if rate is None or rate.p99_ms is None else round(rate.p99_ms, 3),
        "open_loop_fps": None if rate is None or rate.p99_ms is None else round(rate.rate_fps, 2),
        "extra_question_percent": measured.extra_question_percent,
        "cpu_s_per_1000_frames": round(saturated.cpu_s_per_1000_frames, 3),
        "kafka": None if measured.kafka is None or measured.kafka.kept is None else _kafka(measured.kafka),
    }


def _kafka(found: Through) -> dict[str, Any] | None:
    """What the whole worker did: asked frames per second of one, its processor time, and the wait for a commit."""
    best = found.best
    if best is None:
        return None
    return {
        "workers": found.workers,
        "worker_fps": round(best.asked_fps / found.workers, 2),
        "commit_p99_ms": round(best.p99_s * 1000, 1) if isfinite(best.p99_s) else None,
        "worker_cpu_s_per_1000_frames": None if best.cpu is None else best.cpu.per_1000(best.frames)["total"],
    }


def save_profile(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file.

    Raises:
        CommandError: it cannot be written.
    """
    try:
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"--profile {path}: {error.strerror}"
        raise CommandError(msg) from error
