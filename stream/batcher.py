"""Fills one device batch: by size, or by a deadline that is armed once, at its first frame.

Pure: it never sleeps and reads no clock, it says when it wants to be woken (`due_s`). Frames leave in the order in which they
came, so no camera overtakes another.
"""

from collections.abc import Sequence

from stream.types import Batch, Frame


class Batcher:
    """Collects frames into the smallest compiled bucket that holds them."""

    def __init__(self, buckets: Sequence[int], max_wait_s: float) -> None:
        """Batch into `buckets` (compiled batch sizes), no frame waiting longer than `max_wait_s` for others.

        Raises:
            ValueError: no bucket, or a size or wait that is none.
        """
        if not buckets or min(buckets) < 1:
            msg = f"batch buckets are {list(buckets)}: give one or more sizes of at least 1"
            raise ValueError(msg)
        if not 0 <= max_wait_s < float("inf"):
            msg = f"max_wait_s is {max_wait_s}: give seconds, 0 or more"
            raise ValueError(msg)
        self._buckets = sorted(set(buckets))
        self._max_wait_s = max_wait_s
        self._frames: list[Frame] = []
        self._due_s: float | None = None

    def add(self, frame: Frame, now_s: float) -> Batch | None:
        """Take a frame; the batch, if it is full now."""
        if self._due_s is None:
            self._due_s = now_s + self._max_wait_s
        self._frames.append(frame)
        return self.flush() if len(self._frames) == self._buckets[-1] else None

    def due_s(self) -> float | None:
        """When the waiting frames must leave, on the caller's clock; None while nothing waits."""
        return self._due_s

    def take_due(self, now_s: float) -> Batch | None:
        """Give the waiting frames if their time has come."""
        return self.flush() if self._due_s is not None and now_s >= self._due_s else None

    def flush(self) -> Batch | None:
        """Give the waiting frames now."""
        frames, self._frames, self._due_s = tuple(self._frames), [], None
        if not frames:
            return None
        return Batch(frames, next(bucket for bucket in self._buckets if bucket >= len(frames)))

    def forget(self, topic: str, partition: int) -> int:
        """Drop the waiting frames of a partition that is no longer ours; say how many there were."""
        lost = (topic, partition)
        waiting = len(self._frames)
        self._frames = [frame for frame in self._frames if (frame.position.topic, frame.position.partition) != lost]
        if not self._frames:
            self._due_s = None
        return waiting - len(self._frames)
