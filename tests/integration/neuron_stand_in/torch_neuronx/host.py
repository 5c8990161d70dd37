"""The machine that the stand-in pretends to run on: chips, cores that belong to processes, failures on demand.

What a test asks for is said in the environment, read at import as the real runtime does:
STAND_IN_CHIPS (1; two cores each; 0: no device), STAND_IN_NAMES (both, new, old: where the placement API is; none: no trace, as
TorchNeuron), STAND_IN_COMPILER (abort: die by a signal; a text: refuse with it), STAND_IN_HOST (a folder that processes of one
machine share: who holds which core, and the failure that the next execution has).
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CORES_PER_CHIP = 2


@dataclass
class Placed:
    """A loaded program."""

    core: int
    has_weights_there: bool


class Host:
    """One process's view of the machine."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.cores = CORES_PER_CHIP * int(environment.get("STAND_IN_CHIPS", "1"))
        self.names = environment.get("STAND_IN_NAMES", "both")
        self.compiler = environment.get("STAND_IN_COMPILER", "")
        self.target = environment.get("NEURON_PLATFORM_TARGET_OVERRIDE")
        self.shared = Path(environment["STAND_IN_HOST"]) if "STAND_IN_HOST" in environment else None
        self.visible = _visible(environment.get("NEURON_RT_VISIBLE_CORES"), self.cores)
        self.programs: dict[str, Placed] = {}
        """By id, for whatever was loaded last under it."""
        self.placements: list[tuple[str, int]] = []
        """(program id, core of the machine) of every load, in order."""
        self._process = os.getpid()
        self._held: list[IO[str]] = []
        self._is_initialised = False
        self._turn = 0

    def initialise(self) -> None:
        """Take every visible core until the process ends."""
        if os.getpid() != self._process:
            msg = "Incompatible runtime state: NRT_STATE_CHILD"
            raise RuntimeError(msg)
        if self._is_initialised:
            return
        if not self.cores:
            msg = "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged"
            raise RuntimeError(msg)
        for core in self.visible:
            if core >= self.cores or not self._take(core):
                first, last = self.visible[0], self.visible[-1]
                wanted = f"Requested:nc{first}-nc{last} Available:0"
                msg = f"NRT:nrt_allocate_neuron_cores NeuronCore(s) not available - {wanted}"
                raise RuntimeError(msg)
        self._is_initialised = True

    def place(self, program: str, *, start: int, has_weights_there: bool) -> None:
        """Put a program on a core; -1: the next in turn."""
        self.initialise()
        if start == -1:
            start, self._turn = self._turn, (self._turn + 1) % len(self.visible)
        if not 0 <= start < len(self.visible):
            msg = f"core {start} of {len(self.visible)} visible ones"
            raise RuntimeError(msg)
        core = self.visible[start]
        self.programs[program] = Placed(core, has_weights_there)
        self.placements.append((program, core))

    def fail_if_told(self) -> None:
        """Raise what a test has written into the shared folder, once."""
        if self.shared is None:
            return
        told, taken = self.shared / "fail", self.shared / f"failing-{os.getpid()}"
        try:
            told.rename(taken)
        except FileNotFoundError:
            return
        raise RuntimeError(taken.read_text(encoding="utf-8"))

    def _take(self, core: int) -> bool:
        if self.shared is None:
            return True
        lock = (self.shared / f"nc{core}").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._held.append(lock)
        return True

    def release(self) -> None:
        """End the process, as far as the machine can tell."""
        for lock in self._held:
            lock.close()


def _visible(said: str | None, cores: int) -> list[int]:
    if said is None:
        return list(range(cores))
    first, _, last = said.partition("-")
    return list(range(int(first), int(last or first) + 1))
