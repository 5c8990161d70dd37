"""Compiles in a child process, whose words are kept in a log: a compiler that crashes is a failed compile, not a dead command.

The child (`python -m pipeline.compiling`) reads one request from its standard input and tells its progress in lines of JSON
behind a mark; whatever else it or the compilers under it say goes to the log.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import killpg
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline import errors
from pipeline.artifact import Artifact, open_artifact
from pipeline.backends.backend import Precision, Spec
from pipeline.capacity import Capacity
from pipeline.errors import CompileFailed, PipelineError
from pipeline.questions import Question, QuestionSet
from pipeline.stages import Layout

_MARK = "@pawsight "
_LAST_LINES = 12
_ROOT = Path(__file__).parent.parent

Report = Callable[[str, int, int], None]
"""Progress: what is being done, steps done, steps in all."""


class Request(BaseModel):
    """What the child is to compile."""

    model_config = ConfigDict(frozen=True)

    model: str
    """As the user named it: folder or hub id."""
    location: str
    """The same from any folder."""
    backend: str
    precision: Precision
    layout: Layout = Layout.FUSED
    buckets: tuple[int, ...]
    capacity: str
    has_separate_weights: bool = False
    questions: tuple[Question, ...]
    """Asked when the answers are compared."""
    pictures: str
    """.npy of uint8 (n, height, width, 3) RGB, of any size, to compare the answers on."""
    is_forced: bool = False
    out: str

    @property
    def spec(self) -> Spec:
        """What the compiler is asked for."""
        return Spec(
            self.backend, self.precision, self.layout, self.buckets, Capacity.parse(self.capacity), self.has_separate_weights
        )


@dataclass(frozen=True, slots=True)
class _Ended:
    status: int
    error: PipelineError | None
    is_done: bool


def compile_in_child(request: Request, log: Path, report: Report) -> Artifact:
    """Compile, or take what is already there.

    Args:
        request: what to compile.
        log: file that the child's words are added to.
        report: told of every step.

    Raises:
        PipelineError: as `pipeline.compile.compile_artifact`; CompileFailed if the child died.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        msg = f"{log} cannot be written ({error.strerror}): give another folder"
        raise CompileFailed(msg) from error
    command = [sys.executable, "-m", "pipeline.compiling"]
    with (
        log.open("a", encoding="utf-8") as words,
        subprocess.Popen(  # noqa: S603  (this file)
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            start_new_session=True,
        ) as child,
    ):
        try:
            ended = _follow(child, request, words.write, report)
        except BaseException:  # Ctrl-C, too: no compiler runs on behind our back
            killpg(child.pid, signal.SIGKILL)
            raise
    if ended.error is not None:
        raise ended.error
    if not ended.is_done:
        raise CompileFailed(_last_words(ended.status, log))
    return open_artifact(Path(request.out))


def _follow(child: "subprocess.Popen[str]", request: Request, keep: Callable[[str], int], report: Report) -> _Ended:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(request.model_dump_json())
    child.stdin.close()
    error, is_done = None, False
    for line in child.stdout:
        if not line.startswith(_MARK):
            keep(line)
            continue
        match json.loads(line.removeprefix(_MARK)):
            case {"step": step, "done": done, "total": total}:
                report(step, done, total)
            case {"error": name, "message": message}:
                error = getattr(errors, name)(message)
            case _:
                is_done = True
    return _Ended(child.wait(), error, is_done)


def _last_words(status: int, log: Path) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
    return "\n".join([f"the compiler's process {how}; the end of {log}:", *said])


def _tell(**what: object) -> None:
    sys.stdout.write(_MARK + json.dumps(what) + "\n")
    sys.stdout.flush()


def _child() -> int:
    """Compile what standard input asks for."""
    from pipeline.checkpoint import load
    from pipeline.compile import Trial, compile_artifact
    from pipeline.preprocess import fit

    request = Request.model_validate_json(sys.stdin.read())
    try:
        checkpoint = replace(load(request.location), model_id=request.model)
        pictures = np.stack([fit(picture, checkpoint.image.size) for picture in np.load(request.pictures)])
        trial = Trial(QuestionSet(request.questions), pictures, request.is_forced)
        compile_artifact(
            checkpoint, request.spec, trial, Path(request.out), lambda step, done, total: _tell(step=step, done=done, total=total)
        )
    except PipelineError as error:
        _tell(error=type(error).__name__, message=str(error))
        return 1
    _tell(finished=True)
    return 0


if __name__ == "__main__":
    sys.exit(_child())
