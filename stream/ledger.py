"""Which offset of a partition a restart may begin at: every record below it is done.

Pure. Counts frames, knows nothing of what is in them; a record is done when each of its frames was answered, or at once when
none is to be asked, or when its dead letter was delivered.
"""

from dataclasses import dataclass

from stream.types import Position


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """What went through a ledger. Records: opened = done + open. Frames: opened = closed + dropped + open."""

    records: int = 0
    """Records opened or settled."""
    records_done: int = 0
    frames: int = 0
    """Frames opened."""
    frames_closed: int = 0
    """Frames answered."""
    frames_dropped: int = 0
    """Frames of records that were settled before all were answered."""
    stale: int = 0
    """Closings that belonged to another incarnation, and were ignored."""


class Ledger:
    """The open records of one partition under one assignment."""

    def __init__(self, incarnation: int, next_offset: int | None = None) -> None:
        """Begin before `next_offset`; None: wherever the first record lies."""
        self.incarnation = incarnation
        self._next_offset = next_offset
        self._open: dict[int, int] = {}
        """Frames that are not answered, by offset, ascending; 0 for a held record."""
        self._records = 0
        self._frames = 0
        self._frames_closed = 0
        self._frames_dropped = 0
        self._stale = 0

    @property
    def next_offset(self) -> int | None:
        """The lowest offset that the next record may have; after a failed poll, the place to read on from."""
        return self._next_offset

    @property
    def resume_offset(self) -> int | None:
        """The lowest offset that is not done, else one past the last record; None before the first record."""
        return next(iter(self._open), self._next_offset)

    @property
    def open_records(self) -> int:
        """Records that are not done."""
        return len(self._open)

    @property
    def counts(self) -> LedgerCounts:
        """The figures of the conservation law."""
        return LedgerCounts(
            records=self._records,
            records_done=self._records - len(self._open),
            frames=self._frames,
            frames_closed=self._frames_closed,
            frames_dropped=self._frames_dropped,
            stale=self._stale,
        )

    def expects(self, offset: int) -> bool:
        """Tell whether a record may come now. Gaps are normal (compaction, control records); going back is not."""
        return self._next_offset is None or offset >= self._next_offset

    def open(self, offset: int, frames: int, *, held: bool = False) -> None:
        """Take a record; offsets increase.

        Args:
            offset: of the record.
            frames: how many of its frames are to be answered; with none of them it is done at once, unless
            held: it stays open until `settle`, as a dead letter does until it was delivered.
        """
        assert self.expects(offset), f"offset {offset} came after {self._next_offset}"
        assert frames >= 0, frames
        self._next_offset = offset + 1
        self._records += 1
        self._frames += frames
        if frames or held:
            self._open[offset] = frames

    def close(self, position: Position) -> None:
        """Take one answered frame; what belongs to another assignment is ignored."""
        if position.incarnation != self.incarnation:
            self._stale += 1
            return
        assert self._open.get(position.offset, 0) > 0, f"{position} is not open"
        self._frames_closed += 1
        self._open[position.offset] -= 1
        if not self._open[position.offset]:
            del self._open[position.offset]

    def settle(self, offset: int) -> None:
        """Take a record as done, whatever is open of it; one that was never opened passes as a record without frames."""
        if offset not in self._open:
            self.open(offset, 0)
            return
        self._frames_dropped += self._open.pop(offset)
