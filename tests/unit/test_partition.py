"""The books of one partition: what a record is to it, in which order a camera moves, and what a tick says."""

from dataclasses import replace

import pytest

from stream.debounce_rules import DebounceRules
from stream.partition import Partition, Standing, Step
from stream.ports import Assigned
from stream.state_records import Cursor, DecoderPlace, Place, QuestionRevision, RecordMark
from stream.types import Answer, BehaviorEvent, Observation
from tests.unit.partition_books import answered, clock, known, letter, opened, partition, position, still, told
from tests.unit.partition_world import FLIPPING, NUMBER, RULES, T0_S, TOPIC

# -------------------------------------------------------------------- standing

DEN = known(Cursor(20))
HALF = known(Cursor(20, 2))
BEHIND = known(Cursor(5))
UNITS = known(Cursor(20), decoder=DecoderPlace(15, 19))
NEW, FED, DONE = Standing.NEW, Standing.FED, Standing.DONE


@pytest.mark.parametrize(
    ("camera", "offset", "is_unit", "expected"),
    [
        pytest.param(None, 11, False, DONE, id="no camera, below the place"),
        pytest.param(None, 12, False, NEW, id="no camera, at the place"),
        pytest.param(None, 14, False, DONE, id="no camera, dead-lettered"),
        pytest.param("attic", 11, False, DONE, id="new camera, below the place"),
        pytest.param("attic", 12, False, NEW, id="new camera, at the place"),
        pytest.param("attic", 14, False, DONE, id="new camera, dead-lettered"),
        pytest.param("attic", 12, True, NEW, id="new camera's unit"),
        pytest.param("den", 12, False, DONE, id="below its cursor"),
        pytest.param("den", 19, False, DONE, id="right below its cursor"),
        pytest.param("den", 20, False, NEW, id="at its cursor"),
        pytest.param("den", 24, False, DONE, id="above its cursor, dead-lettered"),
        pytest.param("den", 19, True, DONE, id="a unit of a camera without a decoder, below its cursor"),
        pytest.param("den", 20, True, NEW, id="a unit of a camera without a decoder, at its cursor"),
        pytest.param("half", 19, False, DONE, id="below a half-done record"),
        pytest.param("half", 20, False, NEW, id="a half-done record"),
        pytest.param("behind", 8, False, DONE, id="above its cursor, below the place"),
        pytest.param("behind", 12, False, NEW, id="above its cursor, at the place"),
        pytest.param("units", 14, True, DONE, id="a unit before the keyframe"),
        pytest.param("units", 15, True, FED, id="the keyframe, below its cursor"),
        pytest.param("units", 19, True, FED, id="a unit behind the keyframe, below its cursor"),
        pytest.param("units", 20, True, FED, id="a unit at its cursor"),
        pytest.param("units", 24, True, FED, id="a unit that was dead-lettered"),
        pytest.param("units", 19, False, DONE, id="a still among units, below the cursor"),
        pytest.param("units", 20, False, NEW, id="a still among units, at the cursor"),
        pytest.param("units", 24, False, DONE, id="a still among units, dead-lettered"),
    ],
)
def test_record_is_new_fed_or_done(camera: str | None, offset: int, is_unit: bool, expected: Standing) -> None:  # noqa: FBT001
    """Done below its camera's cursor or the partition's place, or if dead-lettered; units from a needed keyframe on are fed."""
    cameras = {"den": DEN, "half": HALF, "behind": BEHIND, "units": UNITS}
    books = partition(cameras, resume_offset=12, dead_lettered=frozenset({14, 24}))
    assert books.standing(camera, offset, is_unit=is_unit) is expected


def test_everything_is_new_to_a_new_partition() -> None:
    """Without a place nothing was done."""
    assert {partition().standing(camera, 0, is_unit=unit) for camera in (None, "den") for unit in (False, True)} == {NEW}


def test_what_was_done_since_does_not_change_what_a_record_is() -> None:
    """Only what was restored counts: a record is read once under an assignment."""
    books = partition()
    still(books, 3)
    answered(books, 3)
    assert books.standing("den", 3) is NEW


# ----------------------------------------------------------------------- steps


def test_sampled_out_picture_waits_for_those_before_it() -> None:
    """A camera stands where everything before is done: a picture that is not asked moves it only in its turn."""
    books = partition()
    still(books, 0)
    still(books, 1, asked=False)
    still(books, 2)
    assert (books.resume_offset, books.cameras) == (0, ())
    answered(books, 0)
    assert books.resume_offset == 2
    assert books.take_tick().cameras["den"].place == Place(Cursor(2), clock(1))
    still(books, 3, asked=False)
    assert books.resume_offset == 2
    answered(books, 2)
    assert books.take_tick().cameras["den"].place == Place(Cursor(4), clock(3))


def test_cameras_do_not_wait_for_each_other() -> None:
    """One camera stands ahead of the partition's place, the other holds the place."""
    books = partition()
    still(books, 0)
    still(books, 1, camera="attic")
    answered(books, 1, camera="attic")
    tick = books.take_tick()
    assert tick.resume_offset == 0
    assert {camera: each.cursor for camera, each in tick.cameras.items()} == {"attic": Cursor(2)}


def test_segment_moves_picture_by_picture() -> None:
    """Within a record the cursor counts pictures, and the record is done with its last step."""
    books = partition()
    opened(books, 5)
    pictures = [Step(Place(Cursor(5, index + 1), clock(5 + index)), position(5, index)) for index in (0, 2)]
    books.enqueue("den", [*pictures, Step(Place(Cursor(6), clock(9)), settles=(5,))])
    answered(books, 5)
    tick = books.take_tick()
    assert (tick.resume_offset, tick.cameras["den"].cursor) == (5, Cursor(5, 1))
    books.observe(Observation(position(5, 2), "den", T0_S + 7, {}, clock(7), None, T0_S + 7), RULES)
    tick = books.take_tick()
    assert (tick.resume_offset, tick.cameras["den"].place) == (6, Place(Cursor(6), clock(9)))


def test_answers_out_of_order_are_a_broken_promise() -> None:
    """An answer that is not the next in its camera's line is no quiet loss."""
    books = partition()
    still(books, 0)
    still(books, 1)
    with pytest.raises(AssertionError):
        answered(books, 1)


# ----------------------------------------------------------------------- ticks


def test_tick_swaps_everything_out() -> None:
    """What a tick took is not taken again, whatever becomes of it; what happens after belongs to the next one."""
    books = partition()
    assert not books.due
    still(books, 0)
    answered(books, 0, p_yes=0.9)
    opened(books, 1)
    books.reject(letter(1, size=50))
    assert (books.due, books.backlog, books.backlog_bytes) == (True, 3, 60)
    first = books.take_tick()
    assert (told(first), first.dead_letters, first.dead_lettered) == (["seen", "started"], (letter(1, size=50),), ())
    assert (first.resume_offset, first.last_record, first.incarnation) == (2, RecordMark(1, 0, 1), 7)
    assert (books.due, books.backlog, books.backlog_bytes) == (False, 0, 0)
    again = books.take_tick(final=True)
    assert (again.events, again.dead_letters, again.cameras, again.resume_offset, again.final) == ((), (), {}, 2, True)


def test_much_goes_in_parts_before_what_comes_after() -> None:
    """More than a transaction takes leaves in parts; what waits counts, and what happens meanwhile belongs to none of them."""
    books = partition()
    opened(books, *range(120))
    for offset in range(120):
        books.reject(letter(offset))
    first = books.take_tick()
    assert (len(first.dead_letters), first.resume_offset, books.due, books.backlog) == (100, None, True, 21)
    still(books, 120)
    answered(books, 120)
    second, third = books.take_tick(final=True), books.take_tick(final=True)
    assert (len(second.dead_letters), second.resume_offset, list(second.cameras), second.final) == (20, 120, [], False)
    assert (told(third), third.resume_offset, list(third.cameras), third.final) == (["seen"], 121, ["den"], True)


def test_dead_letters_above_the_place_are_remembered_until_it_passes_them() -> None:
    """While an older record is open a restart would read the dead-lettered one again: each tick names it."""
    books = partition(resume_offset=4, dead_lettered=frozenset({6}))
    still(books, 4)
    opened(books, 5, 6)
    books.reject(letter(5))
    books.ledger.settle(6)
    still(books, 7)
    assert [books.take_tick().dead_lettered, books.take_tick().dead_lettered] == [(5, 6), (5, 6)]
    answered(books, 4)
    assert (books.resume_offset, books.take_tick().dead_lettered) == (7, ())


def test_reading_again_for_a_decoder_sets_nothing_back() -> None:
    """Records below the restored place move neither the place nor the mark of the last record back."""
    books = partition({"units": UNITS}, resume_offset=17, last_record=RecordMark(16, 0, 99))
    assert (books.resume_offset, books.due) == (17, False)
    opened(books, 15, 16)
    assert books.resume_offset == 17
    books.ledger.settle(15)
    tick = books.take_tick()
    assert (tick.resume_offset, tick.last_record) == (17, RecordMark(16, 0, 99))
    opened(books, 17)
    books.ledger.settle(16)
    books.ledger.settle(17)
    tick = books.take_tick()
    assert (tick.resume_offset, tick.last_record) == (18, RecordMark(17, 0, 17))


def test_cameras_of_a_tick_are_those_that_changed() -> None:
    """A restored camera is written again only when it moved."""
    books = partition({"den": DEN, "attic": known(Cursor(3), camera="attic")}, resume_offset=20)
    assert not books.due
    still(books, 20)
    answered(books, 20)
    assert list(books.take_tick().cameras) == ["den"]


def test_removed_question_ends_at_the_restore() -> None:
    """An open episode of a behaviour that is not asked any more ends with the first tick, together with its camera's state."""
    books = partition()
    still(books, 0)
    answered(books, 0, p_yes=0.9)
    first = books.take_tick()
    only_barking = DebounceRules.of([replace(FLIPPING, behavior="barking")], max_gap_s=2.0, lost_after_s=10.0)
    successor = Partition(Assigned(TOPIC, NUMBER, 8, first.resume_offset, first.cameras), {"den": only_barking})
    assert successor.due
    tick = successor.take_tick()
    (ended,) = tick.events
    assert isinstance(ended, BehaviorEvent)
    assert (ended.behavior, ended.reason) == ("flipping", "question_removed")
    assert tick.cameras["den"].state.behaviors["flipping"].episode is None
    assert tick.cameras["den"].cursor == first.cameras["den"].cursor
    assert not successor.due


def test_room_is_for_known_cameras_and_so_many_more() -> None:
    """A camera that has a clock here is never one too many."""
    books = partition({"den": DEN})
    books.clocks["attic"] = None
    assert [books.has_room_for(camera, 2) for camera in ("den", "attic", "porch")] == [True, True, False]
    assert books.has_room_for("porch", 3)


ONE, TWO = QuestionRevision(1, "one"), QuestionRevision(2, "two")
ONLY_BARKING = DebounceRules.of([replace(FLIPPING, behavior="barking")], max_gap_s=2.0, lost_after_s=10.0)


def flipped() -> Partition:
    """Books under revision 1 in which a behaviour is open, not delivered yet; and a dead letter."""
    books = Partition(Assigned(TOPIC, NUMBER, 7), {}, ONE)
    still(books, 0)
    answered(books, 0, p_yes=0.9)
    opened(books, 1)
    books.reject(letter(1, size=50))
    return books


def test_other_questions_cut_what_waits_in_two() -> None:
    """What came before leaves first, as it was asked; what they end comes after; together that is everything, once."""
    books = flipped()
    books.ask({"den": ONLY_BARKING}, TWO)
    assert (books.due, books.backlog, books.backlog_bytes) == (True, 5, 60)
    before, after = books.take_tick(final=True), books.take_tick(final=True)
    assert (told(before), told(after)) == (["seen", "started"], ["ended"])
    assert (before.questions, after.questions) == (ONE, TWO)
    assert (before.final, after.final) == (False, True)
    assert ([each.record.offset for each in before.dead_letters], after.dead_letters) == ([1], ())
    assert before.cameras["den"].state.behaviors["flipping"].episode is not None
    assert after.cameras["den"].state.behaviors["flipping"].episode is None
    assert before.cameras["den"].cursor == after.cameras["den"].cursor
    assert not books.due


def test_other_questions_without_anything_to_say_make_no_tick() -> None:
    """Nothing waits and nothing is open: the next tick says of which revision it is."""
    books = Partition(Assigned(TOPIC, NUMBER, 7), {}, ONE)
    books.ask({}, TWO)
    assert not books.due
    still(books, 0)
    answered(books, 0)
    assert books.take_tick().questions == TWO


def test_two_changes_of_questions_keep_their_order() -> None:
    """Each leaves what it ended as a tick of its own, although none of them was taken yet."""
    books = flipped()
    books.ask({"den": ONLY_BARKING}, TWO)
    books.ask({"den": RULES}, QuestionRevision(3, "one"))
    ticks = [books.take_tick() for _ in range(3)]
    assert [(told(tick), tick.questions and tick.questions.number) for tick in ticks] == [
        (["seen", "started"], 1),
        (["ended"], 2),
        ([], 3),
    ]


def test_pictures_under_way_go_on_under_the_new_rules() -> None:
    """What was read before the change and is answered after it moves the same camera on."""
    books = flipped()
    still(books, 2)
    books.ask({"den": ONLY_BARKING}, TWO)
    at_s = T0_S + 2
    books.observe(Observation(position(2), "den", at_s, {"barking": Answer(0.9, 1.0)}, clock(2), None, at_s), ONLY_BARKING)
    books.take_tick()
    tick = books.take_tick()
    assert told(tick) == ["ended", "started"]
    assert (tick.cameras["den"].cursor, tick.resume_offset) == (Cursor(3), 3)
