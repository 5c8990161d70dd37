"""One instant in a room: where the dog and the person are and what they do, and what is therefore true of the picture.

The answers follow from the instant alone, never from a script, so that training frames, held-out clips and the demo's videos
mean the same by "barking". How an instant looks is `render`; which instant follows which is `script`.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from tools.scenes.rooms import HEIGHT, WIDTH, Point, Room

BEHAVIORS = (
    "dog_present",
    "person_present",
    "barking",
    "playing_with_ball",
    "chewing_furniture",
    "on_sofa",
    "eating",
    "sleeping",
)
Action: TypeAlias = Literal["idle", "walk", "sit", "lie", "sniff", "pant", "bark", "play", "chew", "eat", "sleep"]
Place: TypeAlias = Literal["floor", "sofa"]
Pose: TypeAlias = Literal["stand", "walk", "sit", "lie", "sleep", "low", "bow", "gnaw"]

BARKS_PER_S = 1.9
PERSON_VISIBLE_MARGIN = 8.0
"""How far inside the picture's side a person's middle must be to count as there."""
FRAME_MARGIN = 3.0
"""How far inside the picture's edges what the dog does must be."""

_PANT_POSES: tuple[Pose, ...] = ("stand", "sit", "lie", "lie")
_PLAY_POSES: tuple[Pose, ...] = ("stand", "bow", "lie", "bow")
_POSES: dict[Action, Pose] = {
    "walk": "walk",
    "sit": "sit",
    "lie": "lie",
    "sniff": "low",
    "eat": "low",
    "chew": "gnaw",
    "sleep": "sleep",
}


@dataclass(frozen=True, slots=True)
class Dog:
    """The dog at an instant."""

    action: Action
    place: Place
    x: float
    """Ground point under the body's middle."""
    y: float
    face: int
    """+1 looks right, -1 left."""
    variant: int
    """0-3: which of the poses of an action it shows."""
    phase_s: float
    """Time that drives wagging, chewing and barking."""

    @property
    def on_sofa(self) -> bool:
        """Whether it lies, sits or stands on the sofa."""
        return self.place == "sofa"

    @property
    def pose(self) -> Pose:
        """How the body is held."""
        if self.on_sofa and self.action in ("idle", "bark", "pant") and self.variant > 1:
            return "lie"
        if self.action == "pant":
            return _PANT_POSES[self.variant]
        if self.action == "play":
            return _PLAY_POSES[self.variant]
        if self.action == "bark" and self.variant == 1:
            return "sit"
        return _POSES.get(self.action, "stand")

    @property
    def ball_in_mouth(self) -> bool:
        """Whether a playing dog carries the ball; otherwise it lies before the nose."""
        return self.variant in (0, 2)

    @property
    def mouth(self) -> float:
        """How far the mouth is open, 0-1. A barking dog never shuts it: any single frame must show what is true."""
        if self.action == "bark":
            return 0.8 + 0.2 * math.sin(2 * math.pi * BARKS_PER_S * self.phase_s)
        return {"pant": 0.25, "chew": 0.35, "eat": 0.2, "play": 0.3}.get(self.action, 0.0)

    def ahead(self, reach: float, length: float) -> float:
        """X of the point `reach` body lengths before the body's middle."""
        return self.x + self.face * reach * length


@dataclass(frozen=True, slots=True)
class Person:
    """The person at an instant."""

    x: float
    y: float
    """Floor line of the feet, or the seat's height."""
    phase_s: float
    """Time that drives the steps; 0 stands still."""
    seated: bool


@dataclass(frozen=True, slots=True)
class Crumbs:
    """Bits of chewed furniture on the floor."""

    x: float
    y: float
    seed: int


@dataclass(frozen=True, slots=True)
class Moment:
    """All that moves, at one instant."""

    dog: Dog | None
    person: Person | None
    bowl: Point
    ball: Point | None
    """A ball that nobody plays with."""
    crumbs: Crumbs | None
    door_open: float

    def after(self, seconds: float) -> "Moment":
        """The same instant with limbs, tail and mouth moved on."""
        return replace(
            self,
            dog=self.dog and replace(self.dog, phase_s=self.dog.phase_s + seconds),
            person=self.person and replace(self.person, phase_s=self.person.phase_s + seconds),
        )


def labels(room: Room, moment: Moment) -> tuple[bool, ...]:
    """What is true of the picture, in the order of `BEHAVIORS`."""
    dog = moment.dog if moment.dog and dog_visible(room, moment.dog) else None
    action = dog.action if dog else None
    return (
        dog is not None,
        moment.person is not None and person_visible(room, moment.person),
        action == "bark",
        action == "play",
        action == "chew",
        dog is not None and dog.on_sofa,
        action == "eat",
        action == "sleep",
    )


def dog_visible(room: Room, dog: Dog) -> bool:
    """Whether at least half of the dog is in the picture: its middle is."""
    x, _ = room.lens.place((dog.x, dog.y - 0.4 * room.coat.length))
    return 0 <= x <= WIDTH


def person_visible(room: Room, person: Person) -> bool:
    """Whether at least half of the person is in the picture."""
    x, _ = room.lens.place((person.x, person.y - 0.5 * room.outfit.height))
    return PERSON_VISIBLE_MARGIN <= x <= WIDTH - PERSON_VISIBLE_MARGIN


def framed(room: Room, dog: Dog) -> bool:
    """Whether the parts that tell what the dog does are inside the picture: the head, the feet, most of the body."""
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    points = [(dog.ahead(1.15, length), dog.y - 0.4 * length), (dog.ahead(-0.5, length), dog.y)]
    seen = [room.lens.place(point) for point in points]
    return all(FRAME_MARGIN <= x <= WIDTH - FRAME_MARGIN and y <= HEIGHT - FRAME_MARGIN for x, y in seen)
