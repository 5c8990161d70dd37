"""A bounded source over records that never saw a broker, and a sink that hands events to a function: the worker over files."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

from stream.ports import Assigned, Poll, Tick
from stream.types import DeadLetter, Event, Record

RECORDS_PER_POLL = 16
"""Enough to fill the largest bucket from one-frame records twice, little enough to bound memory."""


class RecordingSource:
    """Reads records from an iterator (in a thread: it may decode or wait for a network stream) until it ends."""

    def __init__(self, records: Iterator[Record], topic: str, partitions: int) -> None:
        """Take records of `partitions` partitions of `topic`, all of incarnation 1."""
        self._records = records
        self._poll: Poll | None = Poll(assigned=tuple(Assigned(topic, number, 1) for number in range(partitions)))

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Return the next records; neither is needed, as the iterator always gives or ends and its sink is always quick."""
        del timeout_s, held
        if self._poll is not None:
            first, self._poll = self._poll, None
            return first
        records = await asyncio.to_thread(lambda: tuple(islice(self._records, RECORDS_PER_POLL)))
        return Poll(records=records, ended=not records)


class CallbackSink:
    """Hands every event and every dead letter to a function, in order."""

    def __init__(self, on_event: Callable[[Event], None], on_dead_letter: Callable[[DeadLetter], None]) -> None:
        """Call `on_event` per event and `on_dead_letter` per record that could not be used."""
        self._on_event = on_event
        self._on_dead_letter = on_dead_letter

    async def deliver(self, tick: Tick) -> bool:
        """Hand over the tick."""
        for event in tick.events:
            self._on_event(event)
        for letter in tick.dead_letters:
            self._on_dead_letter(letter)
        return True
