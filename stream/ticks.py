"""Cuts a tick into parts that each fit a transaction, however much happened at once.

Pure. A site's network fails, and thousands of cameras are lost by one proof; a reload removes a behaviour that is open on all of
them. After any part the worker may die, and what was committed must still tell exactly what was done:

- What is said of a camera, its events and its state or its deletion, stands in one part.
- Dead letters come first: once a camera's cursor lies beyond a record, its dead letter would never be written.
- Until all of them and all cameras are out the partition stands where it stood before. What is read again from there is passed
  by: its camera stands beyond it, or it is among `dead_lettered`.
- Forgotten cameras come last: a restart below their records would take them for those of new cameras.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from stream.ports import Tick
from stream.state_records import RecordMark
from stream.types import DeadLetter, Event

MAX_RECORDS = 1_000
"""Events, states and deletions of one part: 0.1 s on two busy cores, where 100,000 took longer than a transaction may (8 s).
On two cores under sixty jobs it takes 2 s, of which a single event takes 1.9.
More only where one camera has so many events: as many as wait when its partition is held (`MAX_BACKLOG`), and a poll's."""
LETTER_RECORDS = 10
"""A dead letter counts as so many: it waits for its own acknowledgement, 3 ms on a broker next door. 100 of them make a part."""
MAX_BYTES = 8 * 1024 * 1024
"""Of the dead letters of one part; a larger one stands alone. Events and states are small: 1 kB, so 1 MB a part."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition is; see `Tick`."""

    resume_offset: int | None
    last_record: RecordMark | None
    dead_lettered: tuple[int, ...]


def parts(tick: Tick, before: Progress) -> list[Tick]:
    """Cut a tick; one that is small enough stays as it is.

    Args:
        tick: all that there is to say.
        before: how far the last tick said that the partition is.
    """
    if _records(tick) <= MAX_RECORDS and _size_bytes(tick) <= MAX_BYTES:
        return [tick]
    moving, gone = _units(tick)
    cut: list[Tick] = []
    letters: list[DeadLetter] = []
    count = 0
    for units in _packed([*moving, *gone]):
        part = _joined(units)
        letters += part.dead_letters
        count += len(units)
        cut.append(part if count >= len(moving) else _standing_still(part, before, letters))
    cut[-1] = replace(cut[-1], final=tick.final)
    return cut


def _units(tick: Tick) -> tuple[list[Tick], list[Tick]]:
    """What must not be torn apart, each as a tick: what leads to where the partition stands now, and the forgotten cameras."""
    events: dict[str, list[Event]] = defaultdict(list)
    for event in tick.events:
        events[event.camera_id].append(event)
    bare = replace(tick, events=(), dead_letters=(), cameras={}, forgotten=(), final=False)
    forgotten = set(tick.forgotten)
    changed = [camera for camera in {**events, **tick.cameras} if camera not in forgotten]  # events do not wait for mere progress
    letters = [replace(bare, dead_letters=(letter,)) for letter in tick.dead_letters]
    cameras = [replace(bare, events=tuple(events[camera]), cameras={camera: tick.cameras[camera]}) for camera in changed]
    gone = [replace(bare, events=tuple(events[camera]), forgotten=(camera,)) for camera in tick.forgotten]
    return [*letters, *cameras], gone


def _packed(units: Iterable[Tick]) -> Iterator[list[Tick]]:
    """As many units to a part as it takes, in order."""
    packed: list[Tick] = []
    records = size_bytes = 0
    for unit in units:
        records, size_bytes = records + _records(unit), size_bytes + _size_bytes(unit)
        if packed and (records > MAX_RECORDS or size_bytes > MAX_BYTES):
            yield packed
            packed, records, size_bytes = [], _records(unit), _size_bytes(unit)
        packed.append(unit)
    yield packed


def _joined(units: list[Tick]) -> Tick:
    return replace(
        units[0],
        events=tuple(chain.from_iterable(each.events for each in units)),
        dead_letters=tuple(chain.from_iterable(each.dead_letters for each in units)),
        cameras={camera: record for each in units for camera, record in each.cameras.items()},
        forgotten=tuple(chain.from_iterable(each.forgotten for each in units)),
    )


def _standing_still(part: Tick, before: Progress, letters: Iterable[DeadLetter]) -> Tick:
    """A part after which the partition still stands where it stood; `letters` are those up to and with it."""
    lowest = before.resume_offset or 0
    written = {*before.dead_lettered, *(letter.record.offset for letter in letters)}
    return replace(
        part,
        resume_offset=before.resume_offset,
        last_record=before.last_record,
        dead_lettered=tuple(sorted(offset for offset in written if offset >= lowest)),
    )


def _records(tick: Tick) -> int:
    return len(tick.events) + len(tick.cameras) + len(tick.forgotten) + LETTER_RECORDS * len(tick.dead_letters)


def _size_bytes(tick: Tick) -> int:
    return sum(letter.record.size_bytes for letter in tick.dead_letters)
