"""What a worker that ended in order left behind: nothing may be. It tells so of each of its lives, and the judgement reads it.

NAME.leaks.jsonl    appended by the worker, one line for each life that ended in order: the fields of `Leaks`
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.chaos.status import Files

_SUFFIX = ".leaks.jsonl"
_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class Leaks:
    """What was left of one life, after every client was stopped and the worker's own part of the program was over."""

    tasks: list[str]
    """On the event loop, beside the one that looks."""
    descriptors: list[str]
    """Open, and not open when the life began: then standard input and output and what the event loop waits by were, no more."""
    retiring: int
    """Kafka clients that were still being stopped."""

    def append(self, files: Files) -> None:
        """Tell it behind what earlier lives told."""
        with (files.folder / f"{files.name}{_SUFFIX}").open("a", encoding="utf-8") as told:
            told.write(json.dumps(asdict(self)) + "\n")

    @property
    def sentences(self) -> list[str]:
        """One for each thing that was left."""
        left = [f"{task} was left" for task in self.tasks] + [f"{each} was left open" for each in self.descriptors]
        return left + ([f"{self.retiring} Kafka clients were not stopped"] if self.retiring else [])


def descriptors() -> dict[int, str]:
    """Give what each open descriptor of this process is, without the one that looks; nothing where the machine has no /proc."""
    found = {}
    with suppress(FileNotFoundError):
        for each in list(_DESCRIPTORS.iterdir()):
            with suppress(FileNotFoundError):  # the one that listed them is closed by now
                found[int(each.name)] = str(each.readlink())
    return found


def opened(before: Mapping[int, str], after: Mapping[int, str]) -> list[str]:
    """Name the descriptors that are open now, and were not, or were another thing."""
    return [f"descriptor {number} ({what})" for number, what in sorted(after.items()) if before.get(number) != what]


def leaks(folder: Path) -> list[str]:
    """Name what workers left behind, in any life that ended in order; that none did is a mistake, too."""
    lives = [
        (path.name.removesuffix(_SUFFIX), Leaks(**json.loads(line)))
        for path in sorted(folder.glob(f"*{_SUFFIX}"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    if not lives:
        return ["no worker told what it left behind"]
    return [f"{name}: {sentence}" for name, life in lives for sentence in life.sentences]
