"""The processes that faults are done to: workers and publishers as children, and the fleet that puts back who ends by itself."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.broker.leash import Leashed, start_on_leash
from tools.chaos.status import Files, Status

TEND_EVERY_S = 0.2
BACK_OFF_S = 1.0
"""How long one who ended by itself stays away, as under an orchestrator."""


@dataclass(frozen=True, slots=True)
class End:
    """How a child's process ended."""

    child: str
    code: int
    """Exit status; negative for a signal."""
    is_by_itself: bool
    """Whether the run did not end it; what a crash point ends, ends by itself."""
    at_s: float
    """Unix time."""


@dataclass(slots=True, eq=False)
class Child:
    """One program, started as `python -m MODULE JSON`. It dies with the run, however that ends, also when it stands still."""

    name: str
    """Its Kafka client id too, by which a proxy knows it."""
    module: str
    arguments: Mapping[str, Any]
    """What it gets as JSON, beside `name` and `folder`."""
    folder: Path
    """Of its log (`NAME.log`, all its lives) and its status files."""
    ends: list[End] = field(default_factory=list)
    python_path: Path | None = None
    """Of its next lives and their children: what is wrong with its machine."""
    is_wanted: bool = field(default=False, init=False)
    """Whether it should run."""
    _leashed: Leashed | None = field(default=None, init=False)

    @property
    def files(self) -> Files:
        """Its status files."""
        return Files(self.folder, self.name)

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / f"{self.name}.log"

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it one that stands still. Notes an end that was not noted yet."""
        leashed = self._leashed
        if leashed is None:
            return False
        if leashed.process.poll() is None:
            return True
        self._note(leashed)
        return False

    @property
    def pid(self) -> int:
        """Process id; 0 if it does not run."""
        leashed = self._leashed
        return leashed.process.pid if self.is_running and leashed is not None else 0

    @property
    def status(self) -> Status | None:
        """What it told last."""
        return Status.read(self.files)

    @property
    def is_busy(self) -> bool:
        """Whether a fault now hits frames in flight or an open transaction."""
        status = self.status
        return self.is_running and status is not None and status.is_busy

    def start(self) -> None:
        """Start it; nothing is waited for."""
        assert not self.is_running, self.name
        self.files.status.unlink(missing_ok=True)
        told = json.dumps({"name": self.name, "folder": str(self.folder), **self.arguments})
        machine = [] if self.python_path is None else ["env", f"PYTHONPATH={self.python_path}"]
        self._leashed = start_on_leash([*machine, sys.executable, "-m", self.module, told], self.log, grace_s=0)
        self.is_wanted = True

    def kill(self) -> None:
        """End it with kill -9."""
        self.is_wanted = False
        leashed = self._leashed
        if leashed is not None:
            leashed.process.kill()
            leashed.process.wait()
            self._note(leashed)

    def pause(self) -> None:
        """Make it stand still (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def hang_up(self) -> None:
        """Have it read its questions again (SIGHUP)."""
        self._signal(signal.SIGHUP)

    def terminate(self, timeout_s: float) -> int | None:
        """Send SIGTERM and wait for the end.

        Returns:
            Its exit status, 0 if it does not run or had not begun yet; None if it did not end in time and was killed.
        """
        self.is_wanted = False
        leashed = self._leashed
        if leashed is None:
            return 0
        leashed.process.send_signal(signal.SIGTERM)
        try:
            code = leashed.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        self._note(leashed)
        # before its first status it has taken nothing in, and nobody is there to hear a signal
        return 0 if code == -signal.SIGTERM and self.status is None else code

    def rss_bytes(self) -> int:
        """Its resident memory now; 0 if it does not run."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

    def descriptors(self) -> int:
        """Number of its open file descriptors; 0 if it does not run."""
        try:
            return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())
        except OSError:
            return 0

    def _signal(self, number: signal.Signals) -> None:
        if self._leashed is not None:
            self._leashed.process.send_signal(number)

    def _note(self, leashed: Leashed) -> None:
        if self._leashed is leashed:  # else another thread was faster
            self._leashed = None
            self.ends.append(End(self.name, leashed.process.returncode, self.is_wanted, time.time()))
            leashed.let_go()


class Fleet:
    """The workers: how many there are changes, and who ends by itself is started again."""

    def __init__(self, make: Callable[[int], Child], size: int) -> None:
        """Prepare workers number 1 to `size`; `make` gives the worker of a number, which is never used twice."""
        self.workers: list[Child] = []
        """Those that belong to the fleet now."""
        self.gone: list[Child] = []
        """Those that left it."""
        self._make = make
        self._size = size
        self._made = 0

    @property
    def ends(self) -> list[End]:
        """Every end of every worker, in order."""
        return sorted((end for child in (*self.workers, *self.gone) for end in child.ends), key=lambda end: end.at_s)

    @property
    def is_busy(self) -> bool:
        """Whether any worker is."""
        return any(worker.is_busy for worker in self.workers)

    def start(self) -> None:
        """Start all."""
        for _ in range(self._size):
            self.join()

    def join(self) -> Child:
        """Start one more."""
        self._made += 1
        child = self._make(self._made)
        self.workers.append(child)
        child.start()
        return child

    async def leave(self, child: Child, timeout_s: float) -> int | None:
        """Take a worker out by SIGTERM; gives its exit status, None if it had to be killed."""
        self.workers.remove(child)
        self.gone.append(child)
        return await asyncio.to_thread(child.terminate, timeout_s)

    async def tend(self) -> None:
        """Start again whoever ended by itself, until cancelled."""
        while True:
            for child in self.workers:
                if child.is_wanted and not child.is_running and time.time() - child.ends[-1].at_s > BACK_OFF_S:
                    child.start()
            await asyncio.sleep(TEND_EVERY_S)

    async def stop(self, timeout_s: float) -> list[int | None]:
        """SIGTERM to all at once; gives their exit statuses, None for one that had to be killed."""
        return list(await asyncio.gather(*(asyncio.to_thread(child.terminate, timeout_s) for child in self.workers)))
