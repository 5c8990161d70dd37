"""The script of one camera's video: who is where when, and the truth that follows from it, exact to the frame.

A script is a value; drawing one from a seed is `planning`, showing it is `video`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tools.scenes.moments import BEHAVIORS, Crumbs, Dog, Moment, Person, labels
from tools.scenes.rooms import Point, Room

FPS = 10
WALK_FRAMES = (4, 12)
"""A walk takes at least and at most so many frames: no answer about it is clear."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of one behavior; seconds from the video's start, `end_s` is the first moment without it."""

    behavior: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Shot:
    """The dog walks to a spot and does one thing there. Times in frames."""

    start: int
    arrives: int
    end: int
    origin: Point
    """Where it comes from."""
    dog: Dog
    crumbs: Crumbs | None
    ball: Point | None
    """A ball on the floor, until the dog plays with it."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A person walks in, stands, and walks out on the same side. Times in frames."""

    start: int
    end: int
    x: float
    y: float
    outside_x: float


@dataclass(frozen=True, slots=True)
class Script:
    """All that happens before one camera."""

    room: Room
    bowl: Point
    shots: tuple[Shot, ...]
    """In order and without gaps; before the first and after the last the dog is away."""
    visit: Visit | None
    frames: int
    """Length of the video."""

    def moment(self, frame: int) -> Moment:
        """What goes on in frame `frame`."""
        person = self._person(frame)
        shot = next((shot for shot in self.shots if shot.start <= frame < shot.end), None)
        if shot is None:
            return Moment(dog=None, person=person, bowl=self.bowl, ball=None, crumbs=None, door_open=0.0)
        dog = replace(shot.dog, phase_s=shot.dog.phase_s + frame / FPS)
        if frame < shot.arrives:
            done = (frame - shot.start) / (shot.arrives - shot.start)
            (start_x, start_y), face = shot.origin, 1 if dog.x > shot.origin[0] else -1
            x, y = start_x + done * (dog.x - start_x), start_y + done * (dog.y - start_y)
            walking = replace(dog, action="walk", place="floor", x=x, y=y, face=face)
            return Moment(dog=walking, person=person, bowl=self.bowl, ball=shot.ball, crumbs=None, door_open=0.0)
        ball = None if dog.action == "play" else shot.ball
        return Moment(dog=dog, person=person, bowl=self.bowl, ball=ball, crumbs=shot.crumbs, door_open=0.0)

    def episodes(self) -> tuple[Episode, ...]:
        """The truth: every stretch of frames of which a behavior is true, by behavior and time."""
        truth = [labels(self.room, self.moment(frame)) for frame in range(self.frames)]
        columns = zip(*truth, strict=True)
        return tuple(
            Episode(behavior, start / FPS, end / FPS)
            for behavior, column in zip(BEHAVIORS, columns, strict=True)
            for start, end in _stretches(column)
        )

    def _person(self, frame: int) -> Person | None:
        visit = self.visit
        if visit is None or not visit.start <= frame < visit.end:
            return None
        arrived = min(1.0, (frame - visit.start) / WALK_FRAMES[1], (visit.end - frame) / WALK_FRAMES[1])
        x = visit.outside_x + arrived * (visit.x - visit.outside_x)
        return Person(x, visit.y, frame / FPS if arrived < 1 else 0.0, seated=False)


def _stretches(column: tuple[bool, ...]) -> Iterator[tuple[int, int]]:
    start = None
    for frame, true in enumerate((*column, False)):
        if true and start is None:
            start = frame
        elif not true and start is not None:
            yield start, frame
            start = None
