"""What a worker process tells the chaos run, in two small files, and what it is told in two others.

NAME.status.json    written by the worker, a whole new file each time: {"in_flight": 3, "transactions_open": 1, "tick_s": ...}
NAME.order.json     written by the run: {"point": "commit", "side": "before", "how": "exit"}; who obeys it removes it
NAME.questions.json written by the run: `tools.chaos.question_sets`
NAME.reached.jsonl  appended by the worker, one line for each order that it obeyed: the order and "at_s"
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

FINDING = "finding: "
"""How a line in a worker's log begins that says what must not be, although the worker goes on."""
FRESH_S = 5.0
"""A status older than this tells nothing: its worker stands still or is gone."""


class CrashPoint(StrEnum):
    """Places in the delivery of one partition at which a worker can end (notes/exactly-once.md 20)."""

    CLEAR = "clear"
    """The first phase of the producer's start: what the last writer left open is ended."""
    INIT = "init"
    """The second phase: the last writer is fenced."""
    HIGH_WATERMARK = "high_watermark"
    """The read of the state topic's high watermark."""
    RESTORED = "restored"
    """A restored record of state, each `tools.chaos.crashing_port.RESTORED_EVERY`th."""
    ADOPT = "adopt"
    """Adopting the alerts that the state does not know."""
    MEMBERSHIP = "membership"
    """The proof of membership in the group before the last writer is fenced; there is none where the group has no offset yet."""
    MEMBERSHIP_AGAIN = "membership_again"
    """The proof of membership before anything is read."""
    SEEK = "seek"
    """The seek to where reading goes on."""
    QUARANTINE = "quarantine"
    """The mark that a restore was begun."""
    BEGIN = "begin"
    ALERT = "alert"
    DEAD_LETTER = "dead_letter"
    STATE = "state"
    COMMIT = "commit"
    GROUP_COMMIT = "group_commit"
    """The commit of group offsets in the background."""
    TOMBSTONE = "tombstone"
    """Forgetting a camera."""


IN_RESTORE = frozenset(
    {
        CrashPoint.CLEAR,
        CrashPoint.INIT,
        CrashPoint.HIGH_WATERMARK,
        CrashPoint.RESTORED,
        CrashPoint.ADOPT,
        CrashPoint.MEMBERSHIP,
        CrashPoint.MEMBERSHIP_AGAIN,
        CrashPoint.SEEK,
        CrashPoint.QUARANTINE,
    }
)
"""Points that a worker comes by only when it takes over a partition."""


class Side(StrEnum):
    """Before or after what the point is named for."""

    BEFORE = "before"
    AFTER = "after"


class How(StrEnum):
    """What the worker does there."""

    EXIT = "exit"
    """End as by kill -9."""
    STOP = "stop"
    """Stand still as by SIGSTOP, until the run lets it go on."""
    ERROR = "error"
    """Fail with an error."""


class InjectedError(Exception):
    """The error of `How.ERROR`: no Kafka error, so that nothing can mistake it for one it knows."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of one worker lie."""

    folder: Path
    name: str

    @property
    def status(self) -> Path:
        """What it does now."""
        return self.folder / f"{self.name}.status.json"

    @property
    def order(self) -> Path:
        """What it is to do at a crash point."""
        return self.folder / f"{self.name}.order.json"

    @property
    def questions(self) -> Path:
        """What it is to ask."""
        return self.folder / f"{self.name}.questions.json"

    @property
    def reached(self) -> Path:
        """Which orders it obeyed."""
        return self.folder / f"{self.name}.reached.jsonl"


@dataclass(frozen=True, slots=True)
class Status:
    """What a worker does now. It writes one whenever a field changes, and at least every second."""

    in_flight: int
    """Frames that were polled and are not yet committed."""
    transactions_open: int
    """Transactions between begin and the answer to their commit."""
    tick_s: float
    """When this was written, Unix time."""

    @property
    def is_busy(self) -> bool:
        """Whether a fault now hits frames in flight or an open transaction."""
        return self.in_flight + self.transactions_open > 0 and time.time() - self.tick_s < FRESH_S

    def write(self, files: Files) -> None:
        """Replace the status file, at once or not at all."""
        new = files.status.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(files.status)

    @classmethod
    def read(cls, files: Files) -> Self | None:
        """The last status that was written; None before the first."""
        try:
            return cls(**json.loads(files.status.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


@dataclass(frozen=True, slots=True)
class Order:
    """To crash once at a point."""

    point: CrashPoint
    side: Side
    how: How

    def give(self, files: Files) -> None:
        """Leave the order for the worker, which obeys it the next time it comes by."""
        new = files.order.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(files.order)

    @classmethod
    def given(cls, files: Files) -> Self | None:
        """The order that nobody obeyed yet."""
        try:
            fields = json.loads(files.order.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return cls(CrashPoint(fields["point"]), Side(fields["side"]), How(fields["how"]))


def withdraw(files: Files) -> None:
    """Take back an order that was not obeyed."""
    files.order.unlink(missing_ok=True)


def reached(files: Files) -> list[Order]:
    """Orders that were obeyed, in order."""
    if not files.reached.exists():
        return []
    lines = [json.loads(line) for line in files.reached.read_text(encoding="utf-8").splitlines()]
    return [Order(CrashPoint(line["point"]), Side(line["side"]), How(line["how"])) for line in lines]


@contextmanager
def crash_point(files: Files, point: CrashPoint) -> Iterator[None]:
    """Wrap what the point is named for; obeys an order before or after it, at most once, also across processes.

    Raises:
        InjectedError: so it was ordered.
    """
    _obey(files, point, Side.BEFORE)
    yield
    _obey(files, point, Side.AFTER)


def _obey(files: Files, point: CrashPoint, side: Side) -> None:
    order = Order.given(files)
    if order is None or (order.point, order.side) != (point, side):
        return
    try:
        files.order.unlink()
    except FileNotFoundError:
        return  # withdrawn, or obeyed by another task
    with files.reached.open("a", encoding="utf-8") as log:
        log.write(json.dumps(asdict(order) | {"at_s": time.time()}) + "\n")
    match order.how:
        case How.EXIT:
            signal.raise_signal(signal.SIGKILL)
        case How.STOP:
            signal.raise_signal(signal.SIGSTOP)
        case How.ERROR:
            msg = f"crash point {side} {point}"
            raise InjectedError(msg)
