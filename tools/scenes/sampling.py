"""Independent instants for training and judging, with hard negatives of every question. Videos are `script`'s business.

The shares are chosen so that every question is true of 9-40 % of the pictures (the dog of 90 %) and every behaviour meets its
look-alikes: panting, sniffing without a bowl, standing beside the sofa or in front of it, a ball elsewhere, lying awake.
"""

from dataclasses import dataclass, replace

import numpy as np

from tools.scenes.moments import Action, Crumbs, Dog, Moment, Person, Place, framed
from tools.scenes.rooms import WIDTH, Choices, Point, Room, chance, sample_room

SHARES = {
    "none": 0.10,
    "idle": 0.03,
    "walk": 0.06,
    "sit": 0.04,
    "lie": 0.06,
    "sniff": 0.05,
    "pant": 0.06,
    "bark": 0.15,
    "play": 0.12,
    "chew": 0.10,
    "near": 0.05,
    "eat": 0.09,
    "sleep": 0.09,
}
"""How often each kind of instant is drawn; `near` is beside the furniture without touching it."""
SOFA_ACTIONS = ("idle", "sit", "lie", "pant", "bark", "sleep", "play")
NEAR_ACTIONS: tuple[Action, ...] = ("idle", "walk", "sit", "pant", "bark")
BOWL_REACH = 0.93
"""Body lengths from the middle of an eating dog to its bowl."""
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the dog is, and what of the furniture it has bitten off."""

    place: Place
    x: float
    y: float
    face: int
    crumbs: Crumbs | None = None


def sample(choices: Choices) -> tuple[Room, Moment]:
    """Draw a room and an instant in it."""
    room = sample_room(choices)
    kind = str(choices.choice(list(SHARES), p=list(SHARES.values())))
    if kind == "none":
        return room, _without_dog(choices, room)
    dog, crumbs = sample_dog(choices, room, kind)
    for _ in range(_TRIES):
        if framed(room, dog) or kind == "walk":
            break
        dog, crumbs = sample_dog(choices, room, kind)
    nose = nose_of(room, dog)
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    moment = Moment(
        dog=dog,
        person=_maybe_person(choices, room),
        bowl=bowl_of(room, dog) if dog.action == "eat" else _away_from(nose, 0.8 * length, _sample_bowl(choices, room)),
        ball=_sample_ball(choices, room, dog) if chance(choices, 0.4) and dog.action != "play" else None,
        crumbs=crumbs,
        door_open=_sample_door(choices),
    )
    return room, moment


def sample_dog(choices: Choices, room: Room, kind: str) -> tuple[Dog, Crumbs | None]:
    """Draw a dog that shows `kind` (a key of `SHARES` but `none`)."""
    variant = int(choices.integers(4))
    if kind in ("chew", "near"):
        spot = furniture_spot(choices, room, 0.0 if kind == "chew" else choices.uniform(0.3, 0.6))
        if kind == "near" and chance(choices, 0.4):
            spot = replace(spot, face=-spot.face)
    elif kind in SOFA_ACTIONS and chance(choices, 0.15 if kind == "play" else 0.42):
        spot = sofa_spot(choices, room)
    elif kind in ("idle", "walk", "sit", "bark", "lie", "pant") and chance(choices, 0.2):
        spot = front_spot(choices, room)
    elif kind == "walk" and chance(choices, 0.4):
        spot = edge_spot(choices, room)
    else:
        spot = floor_spot(choices, room)
    action: Action = NEAR_ACTIONS[choices.integers(len(NEAR_ACTIONS))] if kind == "near" else kind  # type: ignore[assignment]
    dog = Dog(action, spot.place, spot.x, spot.y, spot.face, variant, float(choices.uniform(0, 60)))
    return dog, spot.crumbs


def sofa_spot(choices: Choices, room: Room) -> Spot:
    """A free place on the sofa."""
    left, right, seat_y = room.sofa.seat
    length = room.dog_length(0, on_sofa=True)
    face = _any_face(choices)
    margin = min(0.55 * length, (right - left) / 2)
    x = choices.uniform(left + margin, right - margin) - face * 0.15 * length
    return Spot("sofa", float(x), float(seat_y + choices.uniform(1, 7)), face)


def floor_spot(choices: Choices, room: Room) -> Spot:
    """A free place on the floor, the whole dog inside the room."""
    y = float(choices.uniform(room.floor_y + 48, 230))
    length = room.dog_length(y, on_sofa=False)
    face = _any_face(choices)
    before, behind = (0.8 * length, 1.05 * length)[::face]
    return Spot("floor", float(choices.uniform(before, WIDTH - behind)), y, face)


def front_spot(choices: Choices, room: Room) -> Spot:
    """On the floor before the sofa: looks like on it to who does not look closely."""
    sofa = room.sofa
    x = sofa.x + choices.uniform(0.2, 0.8) * sofa.width
    return Spot("floor", float(x), float(sofa.y + choices.uniform(10, 28)), _any_face(choices))


def edge_spot(choices: Choices, room: Room) -> Spot:
    """Walking in or out: at most half of the dog is outside."""
    inset, y = choices.uniform(22, 70), float(choices.uniform(room.floor_y + 48, 230))
    return Spot("floor", float(inset if chance(choices, 0.5) else WIDTH - inset), y, _any_face(choices))


def furniture_spot(choices: Choices, room: Room, gap: float) -> Spot:
    """Beside the sofa's arm or the table; at `gap` 0 the snout is on it, else that many body lengths away."""
    table = room.table
    if table and chance(choices, 0.4):
        left, right, foot = table.x - table.width / 2, table.x + table.width / 2, table.y
    else:
        left, right, foot = room.sofa.x, room.sofa.x + room.sofa.width, room.sofa.y
    y = float(foot + choices.uniform(0, 8))
    length = room.dog_length(y, on_sofa=False)
    roomy = [face for face, space in ((1, left), (-1, WIDTH - right)) if space > 1.5 * length]
    face = int(choices.choice(roomy)) if roomy else (1 if left > WIDTH - right else -1)
    edge = left if face > 0 else right
    crumbs = Crumbs(edge - face * 0.4 * length, y + 2, int(choices.integers(1 << 20)))
    left_behind = chance(choices, 0.6 if gap == 0 else 0.12)
    return Spot("floor", float(edge - face * (0.90 + gap) * length), y, face, crumbs if left_behind else None)


def nose_of(room: Room, dog: Dog | Spot) -> Point:
    """Ground point under the nose."""
    length = room.dog_length(dog.y, on_sofa=dog.place == "sofa")
    return dog.x + dog.face * 0.85 * length, dog.y


def bowl_of(room: Room, dog: Dog | Spot) -> Point:
    """Where the bowl of an eating dog stands."""
    return dog.x + dog.face * BOWL_REACH * room.dog_length(dog.y, on_sofa=False), dog.y + 1


def _without_dog(choices: Choices, room: Room) -> Moment:
    ball = (float(choices.uniform(15, 305)), float(choices.uniform(room.floor_y + 40, 232)))
    return Moment(
        dog=None,
        person=_maybe_person(choices, room),
        bowl=_sample_bowl(choices, room),
        ball=ball if chance(choices, 0.4) else None,
        crumbs=None,
        door_open=_sample_door(choices),
    )


def _maybe_person(choices: Choices, room: Room) -> Person | None:
    if not chance(choices, 0.38):
        return None
    if chance(choices, 0.15):
        left, right, seat_y = room.sofa.seat
        return Person(float(choices.uniform(left + 12, right - 12)), seat_y, 0.0, seated=True)
    margin = 26  # the lens may cut up to 25 off a side
    walks = float(choices.uniform(0, 6))
    return Person(
        float(choices.uniform(margin, WIDTH - margin)), float(choices.uniform(room.floor_y + 40, 250)), walks, seated=False
    )


def _sample_bowl(choices: Choices, room: Room) -> Point:
    return float(choices.uniform(30, 290)), float(choices.uniform(room.floor_y + 45, 225))


def _away_from(nose: Point, distance: float, bowl: Point) -> Point:
    """A bowl under the nose would make any dog an eating one."""
    if abs(bowl[0] - nose[0]) >= distance:
        return bowl
    return (bowl[0] + 130 if bowl[0] < WIDTH / 2 else bowl[0] - 130), bowl[1]


def _sample_ball(choices: Choices, room: Room, dog: Dog) -> Point | None:
    """A ball well away from the dog's nose."""
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    for _ in range(_TRIES):
        ball = float(choices.uniform(12, 308)), float(choices.uniform(room.floor_y + 40, 234))
        if abs(ball[0] - dog.ahead(0.5, length)) > 1.4 * length:
            return ball
    return None


def _sample_door(choices: Choices) -> float:
    return float(choices.uniform(0.5, 1)) if chance(choices, 0.3) else 0.0


def _any_face(choices: Choices) -> int:
    return 1 if chance(choices, 0.5) else -1


def seeded(*key: int) -> np.random.Generator:
    """The generator of one picture or video: any one can be drawn without the others."""
    return np.random.default_rng(key)
