"""A device whose answers are known: it reads them out of the pictures that were really decoded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from tools.chaos import pictures
from tools.chaos.pictures import BEHAVIORS
from tools.chaos.truth import ANSWERS, Code

STALL_POLL_S = 0.05

_P_YES = np.array([ANSWERS[code][0] for code in Code], np.float32)
_SHARE = np.array([ANSWERS[code][1] for code in Code], np.float32)


@dataclass(slots=True)
class OracleEngine:
    """Answers by what the pictures carry."""

    batch_s: float
    """Time that the device takes for a batch."""
    stall_file: Path
    """While it exists, no batch gets done."""
    journal: Path
    """One line, camera and picture number, is appended for each picture that is asked; what is asked twice stands there twice."""
    columns: tuple[int, ...] = tuple(range(BEHAVIORS))
    """Which of the codes that a picture carries are asked, in the order of the answers."""

    async def ask(self, prepared: object) -> None:
        """Answer other columns from here on."""
        assert isinstance(prepared, tuple), prepared
        self.columns = prepared

    async def infer(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer the first n pictures of a padded batch, uint8 (bucket, S, S, 3).

        Raises:
            DamagedPicture: a picture is none of the script's, or was damaged on its way.
        """
        carried = await asyncio.to_thread(self._read, pixels[:n])
        if self.batch_s:
            await asyncio.sleep(self.batch_s)
        while await asyncio.to_thread(self.stall_file.exists):  # noqa: ASYNC110  (another process removes the file)
            await asyncio.sleep(STALL_POLL_S)
        # those in force at the end: questions that were changed under a batch would show
        codes = np.array([each.codes for each in carried], np.intp)[:, self.columns]
        return Answers(p_yes=_P_YES[codes], share=_SHARE[codes])

    def _read(self, pixels: NDArray[np.uint8]) -> Sequence[pictures.Carried]:
        carried = [pictures.read(picture) for picture in pixels]
        lines = "".join(f"{each.camera} {each.number}\n" for each in carried)
        with self.journal.open("a", encoding="ascii") as file:  # one write: a kill leaves whole lines
            file.write(lines)
        return carried


@dataclass(frozen=True, slots=True)
class Asked:
    """How often the devices were asked, over all journals of a run."""

    total: int
    different: int

    @property
    def again_percent(self) -> float:
        """Part of the questions that had been asked before."""
        return 100 * (self.total - self.different) / self.total if self.total else 0.0


def asked(journals: Sequence[Path]) -> Asked:
    """Add up what the engines' journals say."""
    lines = [line for journal in journals for line in journal.read_text(encoding="ascii").splitlines()]
    return Asked(len(lines), len(set(lines)))
