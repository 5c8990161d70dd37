"""Which offset of a partition a restart may begin at: every record below it is done.

Pure. Knows nothing of what is in a record: it is opened when it was read and settled when nothing of it is left to do.
"""

from collections import deque

from stream.state_records import RecordMark


class Ledger:
    """The open records of one partition under one assignment."""

    def __init__(self) -> None:
        """Begin wherever the first record lies."""
        self.next_offset: int | None = None
        """One past the last record that was read; None before the first record."""
        self._open: dict[int, None] = {}
        """Offsets that are not done, ascending."""
        self._marks: deque[RecordMark] = deque()
        """Of the records that were read, ascending; those below the last done one are forgotten."""
        self._last_done: RecordMark | None = None

    @property
    def resume_offset(self) -> int | None:
        """The lowest offset that is not done, else one past the last record; None before the first record."""
        return next(iter(self._open), self.next_offset)

    @property
    def last_done(self) -> RecordMark | None:
        """The last record below `resume_offset`; None before one is done."""
        return self._last_done

    @property
    def open_records(self) -> int:
        """Records that are not done."""
        return len(self._open)

    def open(self, mark: RecordMark) -> None:
        """Take a record; offsets increase, with gaps (compaction, control records)."""
        assert self.next_offset is None or mark.offset >= self.next_offset, f"offset {mark.offset} after {self.next_offset}"
        self.next_offset = mark.offset + 1
        self._open[mark.offset] = None
        self._marks.append(mark)

    def settle(self, offset: int) -> None:
        """Take a record as done."""
        assert offset in self._open, f"offset {offset} is not open"
        del self._open[offset]
        lowest = next(iter(self._open), self.next_offset)
        while self._marks and lowest is not None and self._marks[0].offset < lowest:
            self._last_done = self._marks.popleft()
