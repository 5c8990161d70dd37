"""The workers under load: `tools worker` as processes of their own, what they say of themselves, and their processor time."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from types import TracebackType
from typing import Self

from pipeline.errors import DeviceLost
from tools.broker.leash import Leashed, start_on_leash
from tools.errors import CommandError
from tools.stress.kafka.figures import CpuSeconds, cpu_seconds

STOP_TIMEOUT_S = 60
"""A worker drains within 30 s after SIGTERM, and leaves the group."""
_DEVICE_LOST = 3
_TICKS_PER_S = 100
"""Of the times in /proc: Linux's USER_HZ on every machine that PyTorch runs on."""
_LOG_LINES = 12
_COUNTED = re.compile(r"records (\d+), asked (\d+), events \d+")


@dataclass(frozen=True, slots=True)
class Counted:
    """What workers say they have done, all together."""

    records: int
    asked: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What /proc says of a process or thread."""

    own_s: float
    """Processor time, user and system."""
    children_s: float
    """Of children that have ended and were waited for."""

    @classmethod
    def parse(cls, stat: str) -> "Usage":
        """Read the text of a `stat` file (proc_pid_stat(5)): behind the name, which may hold anything, fields 3 and on."""
        fields = stat.rpartition(")")[2].split()
        user, system, child_user, child_system = (int(each) for each in fields[11:15])
        return cls((user + system) / _TICKS_PER_S, (child_user + child_system) / _TICKS_PER_S)


def usage(pid: int) -> Usage | None:
    """Read a process's processor time; None where it is gone, or the system has no /proc."""
    with suppress(OSError):
        return Usage.parse(Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace"))
    return None


def cpu_of(pid: int) -> CpuSeconds | None:
    """Read a worker's processor time, split by its threads; None where the system does not tell."""
    whole = usage(pid)
    if whole is None:
        return None
    living_s = sum(child.own_s + child.children_s for each in _children(pid) if (child := usage(each)) is not None)
    return cpu_seconds(_threads(pid), pid, whole.own_s, whole.children_s + living_s)


def _threads(pid: int) -> Iterator[tuple[int, str, float]]:
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it ended meanwhile
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace")
            yield int(folder.name), name, Usage.parse((folder / "stat").read_text(encoding="ascii", errors="replace")).own_s


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(child) for child in listed.read_text(encoding="ascii").split()]
    return found


class Workers:
    """A group of `tools worker` processes, as a context manager: SIGTERM to all at its end. None outlives this process."""

    def __init__(self, count: int, options: Sequence[str]) -> None:
        """Prepare `count` workers; `options` follow `tools`, the command's name among them."""
        self._command = [sys.executable, "-m", "tools", *options]
        self._folder = Path(tempfile.mkdtemp(prefix="pawsight-stress-"))
        self._logs = [self._folder / f"worker-{number}.log" for number in range(1, count + 1)]
        self._leashed: list[Leashed] = []
        self.counted: Counted | None = None
        """None until all have stopped in order."""

    def __enter__(self) -> Self:
        """Start all; they compile nothing, but take seconds to load."""
        try:
            for log in self._logs:
                self._leashed.append(start_on_leash(self._command, log, grace_s=STOP_TIMEOUT_S))
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop all, within a bound, and hear what they counted.

        Raises:
            CommandError: one did not stop in order.
        """
        for each in self._leashed:
            each.let_go()
        try:
            codes = [_await_end(each.process) for each in self._leashed]
            if error is None:
                self.counted = self._heard(codes)
        finally:
            rmtree(self._folder, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        """Process ids."""
        return [each.process.pid for each in self._leashed]

    def check(self) -> None:
        """Return if all run.

        Raises:
            DeviceLost: one lost its device.
            CommandError: one ended for another reason; with the end of its log.
        """
        for each, log in zip(self._leashed, self._logs, strict=True):
            code = each.process.poll()
            if code is not None:
                msg = f"{log.stem} ended with exit status {code}. The end of what it said:\n{_tail(log)}"
                raise DeviceLost(msg) if code == _DEVICE_LOST else CommandError(msg)

    def cpu(self) -> CpuSeconds | None:
        """Read the processor time of all; None where the system does not tell."""
        each = [cpu_of(pid) for pid in self.pids]
        told = [one for one in each if one is not None]
        return sum(told, CpuSeconds(0.0, 0.0, 0.0)) if len(told) == len(each) else None

    def _heard(self, codes: Sequence[int]) -> Counted:
        records = asked = 0
        for code, log in zip(codes, self._logs, strict=True):
            said = _COUNTED.search(" ".join(log.read_text(encoding="utf-8", errors="replace").split()))
            if code != 0 or said is None:
                msg = f"{log.stem} did not stop in order (exit status {code}). The end of what it said:\n{_tail(log)}"
                raise CommandError(msg)
            records, asked = records + int(said[1]), asked + int(said[2])
        return Counted(records, asked)


def _await_end(process: "subprocess.Popen[bytes]") -> int:
    try:
        return process.wait(STOP_TIMEOUT_S + 5)  # the leash kills it before that
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
