"""Draws the videos of a set of cameras from one seed.

Every video begins and ends with an empty room. Between, the dog walks from spot to spot: activities (an episode each) with
look-alikes of other activities between them. No activity is shown twice in a video and the sofa is used at most once, so two
episodes of one behavior are never close. Activities and look-alikes are dealt to the cameras in turn: any three cameras
together show every behavior and every look-alike at least once, whatever the seed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tools.scenes.moments import Action, Dog, framed
from tools.scenes.rooms import HEIGHT, WIDTH, Choices, Point, Room, chance, sample_room
from tools.scenes.sampling import Spot, bowl_of, floor_spot, front_spot, furniture_spot, seeded, sofa_spot
from tools.scenes.script import FPS, WALK_FRAMES, Episode, Script, Shot, Visit

CAMERAS = ("living-room", "kitchen", "hallway", "bedroom", "study", "playroom")
ACTIVITIES = ("bark", "play", "chew", "eat", "sleep", "rest")
"""`rest` is being on the sofa and nothing else."""
LOOKALIKES = ("pant", "near", "sniff", "lie", "front", "sit", "idle")
_SHOTS = 4
"""Activities of one video; look-alikes are one more."""
_FIRST_EVENING_S = 1_767_549_600
"""2026-01-04T18:00:00Z; each seed has its own evening."""
_EVENINGS = 300
_DAY_S = 86_400
_VIDEO = 2
_REST: tuple[Action, ...] = ("lie", "sit", "idle", "pant")
_STILL: tuple[Action, ...] = ("idle", "sit", "pant")
_WALK_SPEED = 170.0
_TRIES = 40


@dataclass(frozen=True, slots=True)
class Scene:
    """One camera's video, determined to the last pixel, and the truth about it."""

    camera: str
    recorded_at_s: int
    """Capture time of the first frame, epoch seconds."""
    scale: float
    """1 is 320x240, 2 is 640x480."""
    script: Script
    episodes: tuple[Episode, ...]
    noise_seed: int

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return self.script.frames / FPS


@dataclass(frozen=True, slots=True)
class _Stay:
    """A shot without its times."""

    kind: str
    dog: Dog
    spot: Spot


def plan(seed: int, cameras: int) -> tuple[Scene, ...]:
    """Draw the videos of `cameras` cameras; one in three is at night, one in three has no visitor."""
    shared = seeded(seed, _VIDEO)
    activities, lookalikes = shared.permutation(ACTIVITIES).tolist(), shared.permutation(LOOKALIKES).tolist()
    dark, alone = int(shared.integers(3)), int(shared.integers(3))
    scenes = []
    for index in range(cameras):
        choices = seeded(seed, _VIDEO, index)
        shown = choices.permutation(_deal(activities, index, _SHOTS)).tolist()
        between = _deal(lookalikes, index, _SHOTS + 1)
        kinds = [between[0], *(kind for pair in zip(shown, between[1:], strict=True) for kind in pair)]
        script = _direct(choices, kinds, night=index % 3 == dark, visited=index % 3 != alone)
        scene = Scene(
            camera=CAMERAS[index] if index < len(CAMERAS) else f"camera-{index + 1}",
            recorded_at_s=_FIRST_EVENING_S + seed % _EVENINGS * _DAY_S + int(choices.integers(20)),
            scale=2.0 if index % 2 == 0 else 1.0,
            script=script,
            episodes=script.episodes(),
            noise_seed=int(choices.integers(1 << 31)),
        )
        scenes.append(scene)
    return tuple(scenes)


def _deal(deck: Sequence[str], hand: int, size: int) -> list[str]:
    """The next `size` cards of an endlessly repeated deck; a hand never holds a card twice."""
    assert size <= len(deck)
    return [deck[(hand * size + card) % len(deck)] for card in range(size)]


def _direct(choices: Choices, kinds: Sequence[str], *, night: bool, visited: bool) -> Script:
    """Draw rooms until one has a clear spot for everything."""
    while True:
        room = replace(sample_room(choices, night=night), shows_clock=True)
        cast = _cast(choices, room, kinds)
        if cast is not None:
            break
    bowl, stays = cast
    shots = _shots(choices, room, stays)
    frames = shots[-1].end + int(choices.integers(45, 61))
    return Script(room, bowl, shots, _visit(choices, room, shots) if visited else None, frames)


def _cast(choices: Choices, room: Room, kinds: Sequence[str]) -> tuple[Point, list[_Stay]] | None:
    """A bowl, and a spot for each kind where the picture tells what the dog does; None if this room has none."""
    feeding = floor_spot(choices, room)
    bowl = bowl_of(room, feeding)
    napper = "" if "rest" in kinds or chance(choices, 0.5) else str(choices.choice(["sleep", "bark"]))
    stays = []
    for kind in kinds:
        action = _action(choices, kind)
        for _ in range(_TRIES):
            spot = feeding if kind == "eat" else _spot(choices, room, kind, on_sofa=kind in ("rest", napper))
            dog = Dog(action, spot.place, spot.x, spot.y, spot.face, int(choices.integers(4)), float(choices.uniform(0, 60)))
            if framed(room, dog) and _tells(room, dog, bowl):
                stays.append(_Stay(kind, dog, spot))
                break
        else:
            return None
    return bowl, stays


def _action(choices: Choices, kind: str) -> Action:
    if kind == "rest":
        return _REST[choices.integers(len(_REST))]
    if kind in ("near", "front"):
        return _STILL[choices.integers(len(_STILL))]
    action: Action = kind  # type: ignore[assignment]
    return action


def _spot(choices: Choices, room: Room, kind: str, *, on_sofa: bool) -> Spot:
    if on_sofa:
        return sofa_spot(choices, room)
    if kind == "chew":
        return furniture_spot(choices, room, 0.0)
    if kind == "near":
        return replace(furniture_spot(choices, room, choices.uniform(0.45, 0.8)), crumbs=None)
    if kind == "front":
        return front_spot(choices, room)
    return floor_spot(choices, room)


def _tells(room: Room, dog: Dog, bowl: Point) -> bool:
    """Whether the picture tells what the dog does: with the ball inside, and bowl and table in plain view if left alone."""
    if dog.action != "chew" and _across_table(room, dog):
        return False
    if dog.action == "play":
        return _in_picture(room, _played_ball(room, dog)) and _bowl_in_view(room, dog, bowl)
    return dog.action == "eat" or _bowl_in_view(room, dog, bowl)


def _bowl_in_view(room: Room, dog: Dog, bowl: Point) -> bool:
    """Neither near the nose nor covered by the dog."""
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    nose_x, rump_x = dog.ahead(1.4, length), dog.ahead(-0.8, length)
    beside = not min(nose_x, rump_x) < bowl[0] < max(nose_x, rump_x)
    return beside or not dog.y - 1.4 * length < bowl[1] < dog.y + 0.6 * length


def _across_table(room: Room, dog: Dog) -> bool:
    """Drawn over a table that it should be behind: nobody could say whether it sleeps on it, chews it or passes by."""
    if room.table is None or dog.on_sofa:
        return False
    table, length = room.table, room.dog_length(dog.y, on_sofa=False)
    nose_x, rump_x = dog.ahead(0.75, length), dog.ahead(-0.75, length)
    level = table.y - table.height - 4 < dog.y < table.y + 8
    return level and min(nose_x, rump_x) < table.x + table.width / 2 and max(nose_x, rump_x) > table.x - table.width / 2


def _in_picture(room: Room, ball: Point) -> bool:
    x, y = room.lens.place(ball)
    return all(room.ball_radius + 4 < place < side - room.ball_radius - 4 for place, side in ((x, WIDTH), (y, HEIGHT)))


def _played_ball(room: Room, dog: Dog) -> Point:
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    return dog.ahead(1.12, length), dog.y - room.ball_radius


def _shots(choices: Choices, room: Room, stays: Sequence[_Stay]) -> tuple[Shot, ...]:
    """Put the stays on the time line, then walk out."""
    ball = _ball(choices, room, stays)
    first, last = stays[0].dog, stays[-1].dog
    place, clock = _outside(room, first), int(choices.integers(35, 51))
    shots = []
    for stay in stays:
        dog = stay.dog
        distance = math.dist(place, (dog.x, dog.y))
        walk = int(min(max(distance / _WALK_SPEED * FPS, WALK_FRAMES[0]), WALK_FRAMES[1]))
        lasts = int(choices.integers(60, 91) if stay.kind in ACTIVITIES else choices.integers(25, 41))
        shown = ball if ball and (stay.kind == "play" or _clear_of_ball(room, dog, ball)) else None
        shots.append(Shot(clock, clock + walk, clock + walk + lasts, place, dog, stay.spot.crumbs, shown))
        place, clock = (dog.x, dog.y), clock + walk + lasts
    gone = _outside(room, last)
    leaving = replace(last, action="walk", place="floor", x=gone[0], y=gone[1])
    shots.append(Shot(clock, clock + WALK_FRAMES[1], clock + WALK_FRAMES[1], place, leaving, None, None))
    return tuple(shots)


def _outside(room: Room, dog: Dog) -> Point:
    """A point out of sight on the side nearer to the dog."""
    length = room.dog_length(dog.y, on_sofa=False)
    return (-1.5 * length if dog.x < WIDTH / 2 else WIDTH + 1.5 * length), max(dog.y, room.floor_y + 40)


def _ball(choices: Choices, room: Room, stays: Sequence[_Stay]) -> Point | None:
    """Where the ball lies: before the nose of the dog that will play, else where most shots can show it."""
    player = next((stay.dog for stay in stays if stay.kind == "play"), None)
    if player:
        return _played_ball(room, player)
    drawn = [(float(choices.uniform(25, 295)), float(choices.uniform(room.floor_y + 50, 220))) for _ in range(_TRIES)]
    spots = [ball for ball in drawn if _in_picture(room, ball)]
    return max(spots, key=lambda ball: sum(_clear_of_ball(room, stay.dog, ball) for stay in stays), default=None)


def _clear_of_ball(room: Room, dog: Dog, ball: Point) -> bool:
    length = room.dog_length(dog.y, on_sofa=dog.on_sofa)
    return abs(ball[0] - dog.ahead(0.5, length)) > 1.4 * length or abs(ball[1] - dog.y) > 1.0 * length


def _visit(choices: Choices, room: Room, shots: Sequence[Shot]) -> Visit:
    """A visit that keeps as far from the dog as the script allows: who covers the dog makes every answer a guess."""
    visits = []
    for _ in range(_TRIES):
        length = int(choices.integers(80, 101))
        start = int(choices.integers(20, shots[-1].end - length))
        x = float(choices.uniform(50, 110))
        at_left = chance(choices, 0.5)
        y = float(room.floor_y + choices.uniform(42, 60))
        place = (x, -60.0) if at_left else (WIDTH - x, WIDTH + 60.0)
        visits.append(Visit(start, start + length, place[0], y, place[1]))
    return max(visits, key=lambda visit: _distance(room, shots, visit))


def _distance(room: Room, shots: Sequence[Shot], visit: Visit) -> float:
    """Smallest distance between the person and the dog's head or body while both are there."""
    together = [shot.dog for shot in shots[:-1] if shot.start < visit.end + FPS and visit.start - FPS < shot.end]
    bodies = [dog.ahead(reach, room.coat.length) for dog in together for reach in (0.0, 0.8)]
    return min((abs(visit.x - x) for x in bodies), default=float(WIDTH))
