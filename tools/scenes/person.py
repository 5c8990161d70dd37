"""Draws the person, standing, walking or seated."""

import math

from tools.scenes.moments import Person
from tools.scenes.pen import Pen, shade
from tools.scenes.rooms import Room


def draw_person(pen: Pen, room: Room, person: Person) -> None:
    """Legs, then what is above the hip."""
    height = room.outfit.height * (0.8 + 0.25 * room.nearness(person.y))
    swing = 0.09 * height * math.sin(person.phase_s * 6)
    if person.seated:
        height *= 0.85
        hip = person.y + 0.02 * height
        _seated_legs(pen, room, (person.x, hip), height)
    else:
        hip = person.y - 0.48 * height
        pen.ellipse((person.x, person.y), (0.17 * height, 0.03 * height), shade(room.floor, 0.75))
        for side, color in ((-1, room.outfit.trousers), (1, shade(room.outfit.trousers, 0.85))):
            foot = (person.x + side * (0.05 * height - swing), person.y - 0.01 * height)
            pen.line((person.x + side * 0.04 * height, hip), foot, color, 0.085 * height)
    _upper_body(pen, room, (person.x, hip), height, swing)


def _seated_legs(pen: Pen, room: Room, hip: tuple[float, float], height: float) -> None:
    x, y = hip
    for side in (-0.06, 0.06):
        knee = x + side * height * 1.3
        pen.line((x + side * height, y), (knee, y + 0.17 * height), room.outfit.trousers, 0.09 * height)
        shin = shade(room.outfit.trousers, 0.85)
        pen.line((knee, y + 0.15 * height), (knee, y + 0.36 * height), shin, 0.075 * height)


def _upper_body(pen: Pen, room: Room, hip: tuple[float, float], height: float, swing: float) -> None:
    x, y = hip
    outfit, shoulder = room.outfit, hip[1] - 0.31 * height
    wide, narrow, belt = 0.12 * height, 0.09 * height, y + 0.02 * height
    pen.polygon([(x - wide, shoulder), (x + wide, shoulder), (x + narrow, belt), (x - narrow, belt)], outfit.shirt)
    for side in (-1, 1):
        hand = x + side * 0.15 * height + swing * 0.5
        start = (x + side * wide, shoulder + 0.02 * height)
        pen.line(start, (hand, y - 0.02 * height), shade(outfit.shirt, 0.88), 0.055 * height)
        pen.ellipse((hand, y), (0.03 * height, 0.03 * height), outfit.skin)
    pen.line((x, shoulder), (x, shoulder - 0.06 * height), outfit.skin, 0.05 * height)
    pen.ellipse((x, shoulder - 0.11 * height), (0.065 * height, 0.08 * height), outfit.skin)
    hair = shade(outfit.trousers, 0.5)
    pen.ellipse((x, shoulder - 0.14 * height), (0.068 * height, 0.06 * height), hair, upper_half=True)
