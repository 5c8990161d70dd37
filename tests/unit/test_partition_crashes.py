"""A partition under crashes: whatever happens between two ticks, the committed ones process every picture exactly once."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

import pytest

from stream import ticks
from stream.state_codec import decode_partition
from stream.state_records import mark_of
from stream.types import Event
from tests.unit.partition_world import Item, Owner, Store, uninterrupted

STEPS_S = [0.5] * 10 + [0.25] * 4 + [1.0] * 3 + [0.0, -0.5, -1.5, 2.5, 11.0, -30.0, -30.0, 500.0]
"""From a camera's last picture to its next record: in step, sampled out, late, a gap, a loss, clock jumps both ways."""
STREAMS = [None] * 9 + ["a"]
MOVES = ["read"] * 8 + ["answer"] * 7 + ["tick"] * 4 + ["crash"]


def drawn_log(chance: random.Random) -> list[Item]:
    """A partition's log of three cameras: stills, segments that outlast a gap, and records that cannot be used."""
    now_s: dict[str, float] = defaultdict(float)
    log: list[Item] = []
    offset = -1
    for _ in range(chance.randrange(1, 50)):
        camera = chance.choice(["den", "den", "attic", "porch"])
        offset += chance.choice([1, 1, 1, 3])
        count = chance.choice([0, 1, 1, 2, 3, 9])
        spacing_s = chance.choice([0.25, 0.5])
        times_s = list(accumulate([now_s[camera] + chance.choice(STEPS_S)] + [spacing_s] * (count - 1))) if count else []
        now_s[camera] = times_s[-1] if times_s else now_s[camera]
        pictures = tuple((at_s, chance.random() < 0.6) for at_s in times_s)
        log.append(Item(offset, camera, pictures, chance.choice(STREAMS)))
    return log


def by_camera(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Events in order, per camera."""
    told: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        told[event.camera_id].append(event)
    return dict(told)


def check_committed(log: Sequence[Item], store: Store, whole: Store) -> None:
    """What is committed tells exactly what was done: no picture, letter or record more, and none less."""
    assert len(set(store.applied)) == len(store.applied)
    cameras = store.camera_records()
    for camera in {each.camera for each in log}:
        wanted = {(offset, index) for name, offset, index in whole.applied if name == camera}
        done = {(offset, index) for name, offset, index in store.applied if name == camera}
        assert (camera in cameras) == bool(done)
        if camera in cameras:
            cursor = cameras[camera].cursor
            assert done == {place for place in wanted if place < (cursor.offset, cursor.index)}
    record = decode_partition(store.partition)
    passed = [item for item in log if item.offset < record.resume_offset]
    assert {place for place in whole.applied if place[1] < record.resume_offset} <= set(store.applied)
    assert sorted(store.letters) == sorted({*record.dead_lettered, *(item.offset for item in passed if not item.pictures)})
    assert all(offset >= record.resume_offset for offset in record.dead_lettered)
    last = passed[-1] if passed else None
    assert record.last_record == (last and mark_of(last.offset, last.offset, last.camera.encode(), last.value))


def lived_through(log: Sequence[Item], chance: random.Random, met: Counter[str]) -> Store:
    """Owners read ahead, have cameras answered in any order, commit and are killed anywhere, until all of it is done."""
    whole, store = uninterrupted(log), Store()
    owner = Owner(log, store)
    for _ in range(chance.randrange(120)):
        match chance.choice(MOVES):
            case "read":
                for _ in range(chance.randrange(1, 7)):
                    owner.read()
            case "answer":
                owner.answer(chance.randrange(1, 6), chance)
            case "tick":
                owner.tick()
                check_committed(log, store, whole)
            case _:
                owner = Owner(log, store)
                met.update(what_it_takes_over(owner))
    owner.finish()
    check_committed(log, store, whole)
    return store


def what_it_takes_over(owner: Owner) -> Counter[str]:
    """Which of the hard cases a new owner begins with."""
    restored = owner.assigned
    cameras = list(restored.cameras.values())
    return Counter(
        {
            "a record with some pictures done": any(each.cursor.index for each in cameras),
            "a camera ahead of the partition": any(each.cursor.offset > (restored.resume_offset or 0) for each in cameras),
            "clock candidates": any(each.state.clock.candidates for each in cameras),
            "a clock set back": any(each.state.clock.resets for each in cameras),
            "an open episode": any(each.episode for camera in cameras for each in camera.state.behaviors.values()),
            "dead letters above the place": bool(restored.dead_lettered),
        }
    )


@pytest.mark.parametrize(("most", "logs"), [(ticks.MAX_RECORDS, 250), (12, 100), (1, 100)])
def test_crashes_change_nothing(most: int, logs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, letters, states and place after any number of crashes are those of one owner that did all of it.

    So it is when a tick is one transaction, and when it is several, of few cameras or a single one, and crashes come in between.
    """
    monkeypatch.setattr(ticks, "MAX_RECORDS", most)
    met: Counter[str] = Counter()
    for seed in range(logs):
        chance = random.Random(seed)
        log = drawn_log(chance)
        whole, store = uninterrupted(log), lived_through(log, chance, met)
        assert by_camera(store.events) == by_camera(whole.events), seed
        assert sorted(store.letters) == sorted(whole.letters), seed
        assert store.camera_records() == whole.camera_records(), seed
        assert store.partition == whole.partition, seed
    assert min(met.values()) >= logs // 5, met
