"""A tick in parts: all of it, once, each part small, and after each of them the state tells what was done."""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.ports import Tick
from stream.state_records import Cursor, QuestionRevision, RecordMark
from stream.ticks import LETTER_RECORDS, MAX_BYTES, MAX_RECORDS, Progress, parts
from stream.types import CameraEvent, DeadLetter, Event, Kind
from tests.unit.partition_books import known, letter
from tests.unit.partition_world import NUMBER, TOPIC

BEFORE = Progress(40, RecordMark(38, 0, 38), (41, 44))
BARE = Tick(TOPIC, NUMBER, 7, 900, RecordMark(899, 0, 899), questions=QuestionRevision(3, "three"))
DEN = known(Cursor(900))


def event(camera: str, number: int = 0) -> CameraEvent:
    """One of a camera's events."""
    return CameraEvent(f"{camera}-{number}", Kind.SEEN, camera, 0.0, 0.0, None)


def drawn_tick(chance: random.Random) -> Tick:
    """Cameras with events, told in any order, and without; forgotten ones; dead letters, some of them large."""
    names = [f"camera-{number}" for number in range(chance.choice([0, 1, 30, 300, 1200]))]
    forgotten = frozenset(chance.sample(names, len(names) // chance.choice([1, 2, 50])))
    told = [name for name in names for _ in range(chance.choice([0, 0, 1, 5]))]
    chance.shuffle(told)
    letters = sorted(chance.sample(range(42, 900), chance.choice([0, 3, 120])))
    return replace(
        BARE,
        events=tuple(event(name, number) for number, name in enumerate(told)),
        dead_letters=tuple(letter(offset, chance.choice([0, 0, 0, 300_000, MAX_BYTES + 1])) for offset in letters),
        dead_lettered=tuple(chance.sample(range(900, 990), 3)),
        cameras={name: DEN for name in names if name not in forgotten},
        forgotten=tuple(sorted(forgotten)),
        final=chance.random() < 0.5,
    )


drawn_ticks = st.integers(0, 2**32).map(lambda seed: drawn_tick(random.Random(seed)))


def by_camera(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Events in order, per camera."""
    told: dict[str, list[Event]] = defaultdict(list)
    for each in events:
        told[each.camera_id].append(each)
    return told


def size_bytes(letters: Iterable[DeadLetter]) -> int:
    """Size of dead letters with nothing but a value and the key `den`."""
    return sum(len(each.record.value or b"") + 3 for each in letters)


@settings(max_examples=25)
@given(drawn_ticks)
def test_parts_are_the_tick(tick: Tick) -> None:
    """Everything once, in order per camera and among dead letters; of one assignment and one set of questions; one end."""
    cut = parts(tick, BEFORE)
    assert by_camera(each for part in cut for each in part.events) == by_camera(tick.events)
    assert [each for part in cut for each in part.dead_letters] == list(tick.dead_letters)
    assert sorted(camera for part in cut for camera in part.cameras) == sorted(tick.cameras)
    assert [camera for part in cut for camera in part.forgotten] == list(tick.forgotten)
    assert {(part.incarnation, part.questions) for part in cut} == {(7, tick.questions)}
    assert [part.final for part in cut] == [False] * (len(cut) - 1) + [tick.final]


@settings(max_examples=25)
@given(drawn_ticks)
def test_no_part_is_large(tick: Tick) -> None:
    """Bounded in records, dead letters and their bytes, unless a single one is larger; and no smaller than need be."""
    cut = parts(tick, BEFORE)
    counts = [
        len(part.events) + len(part.cameras) + len(part.forgotten) + LETTER_RECORDS * len(part.dead_letters) for part in cut
    ]
    sizes = [size_bytes(part.dead_letters) for part in cut]
    assert max(counts) <= MAX_RECORDS
    assert all(size <= MAX_BYTES or len(part.dead_letters) == 1 for size, part in zip(sizes, cut, strict=True))
    for (count, size), (more, larger) in pairwise(zip(counts, sizes, strict=True)):
        assert count + more > MAX_RECORDS or size + larger > MAX_BYTES


@settings(max_examples=25)
@given(drawn_ticks)
def test_camera_is_in_one_part(tick: Tick) -> None:
    """Its events stand with its state, or with its deletion: a crash between two parts finds no camera half told."""
    for part in parts(tick, BEFORE):
        assert {each.camera_id for each in part.events} <= {*part.cameras, *part.forgotten}


@settings(max_examples=25)
@given(drawn_ticks)
def test_place_moves_when_all_that_led_there_is_out(tick: Tick) -> None:
    """Until then it is the old one, with the dead letters so far; only from then on are cameras deleted."""
    cut = parts(tick, BEFORE)
    last = max((place for place, part in enumerate(cut) if part.dead_letters or part.cameras), default=0)
    out: list[int] = []
    for place, part in enumerate(cut):
        out += [each.record.offset for each in part.dead_letters]
        stands = Progress(part.resume_offset, part.last_record, part.dead_lettered)
        if place < last:
            assert stands == replace(BEFORE, dead_lettered=tuple(sorted({*BEFORE.dead_lettered, *out})))
            assert not part.forgotten
        else:
            assert stands == Progress(tick.resume_offset, tick.last_record, tick.dead_lettered)


@settings(max_examples=25)
@given(drawn_ticks)
def test_dead_letters_come_before_cameras(tick: Tick) -> None:
    """A camera that stands beyond a record passes it by: its dead letter must be out by then."""
    cut = parts(tick, BEFORE)
    letters = [place for place, part in enumerate(cut) if part.dead_letters]
    cameras = [place for place, part in enumerate(cut) if part.cameras]
    assert not letters or not cameras or letters[-1] <= cameras[0]


def test_small_tick_stays_as_it_is() -> None:
    """The common case: one transaction, whose events keep their order across cameras, too."""
    events = tuple(event(camera, number) for number, camera in enumerate(["den", "attic", "den"]))
    cameras = {"attic": DEN, "den": DEN}
    tick = replace(BARE, events=events, cameras=cameras, dead_letters=(letter(50),), forgotten=("porch",), final=True)
    assert parts(tick, BEFORE) == [tick]
    assert parts(BARE, BEFORE) == [BARE]


def test_events_do_not_wait_for_mere_progress() -> None:
    """Of many cameras that moved on, those that have something to tell leave first."""
    cameras = {f"camera-{number:04d}": DEN for number in range(MAX_RECORDS)}
    first, second = parts(replace(BARE, events=(event("camera-0999"), event("camera-0998")), cameras=cameras), BEFORE)
    assert list(first.cameras)[:2] == ["camera-0999", "camera-0998"]
    assert not second.events


def test_one_camera_is_never_torn_apart() -> None:
    """However many events it has: what comes between two of them is no state that anybody could go on from."""
    events = tuple(event("den", number) for number in range(2 * MAX_RECORDS))
    cut = parts(replace(BARE, events=(event("attic"), *events), cameras={"den": DEN, "attic": DEN}), BEFORE)
    assert [(len(part.events), list(part.cameras)) for part in cut] == [(1, ["attic"]), (len(events), ["den"])]


def test_dead_letter_below_the_place_is_not_named() -> None:
    """One that was read again for a decoder's sake: nobody reads it from the place on."""
    letters = (letter(39, MAX_BYTES), letter(42, MAX_BYTES))
    first, second = parts(replace(BARE, dead_letters=letters), BEFORE)
    assert (first.dead_lettered, second.dead_lettered) == (BEFORE.dead_lettered, ())
