"""Paints what never moves: wall, floor, decor, door, sofa, table. Knows nothing of dogs."""

import numpy as np
from numpy.typing import NDArray

from tools.scenes.pen import Pen, blank, shade
from tools.scenes.rooms import HEIGHT, WIDTH, Decor, Door, Room, Sofa, Table

_BOARDS = 7


def backdrop(room: Room, scale: float, door_open: float) -> NDArray[np.uint8]:
    """The empty room, BGR uint8; a video paints it once."""
    image = blank(scale)
    horizon = int(room.floor_y * scale)
    image[:horizon] = np.array(room.wall, np.uint8)
    image[horizon:] = np.array(room.floor, np.uint8)
    pen = Pen(image, scale)
    for index in range(_BOARDS):
        y = room.floor_y + (HEIGHT - room.floor_y) * (index / _BOARDS) ** 1.4
        pen.line((0, y), (WIDTH, y), shade(room.floor, 0.9), 1)
    pen.box((0, room.floor_y - 5), WIDTH, 5, shade(room.wall, 0.82))
    for decor in room.decor:
        _PAINTERS[decor.kind](pen, room, decor)
    if room.door:
        _door(pen, room, room.door, door_open)
    _sofa(pen, room, room.sofa)
    if room.table:
        _table(pen, room.table)
    return image


def _window(pen: Pen, room: Room, decor: Decor) -> None:
    width = 46 + 20 * decor.size
    sky = (70, 50, 40) if room.light.night else (250, 240, 220)
    pen.box((decor.x - width / 2, 22), width, 52, shade(room.wall, 0.6))
    pen.box((decor.x - width / 2 + 3, 25), width / 2 - 4, 46, sky)
    pen.box((decor.x + 1, 25), width / 2 - 4, 46, sky)


def _picture(pen: Pen, _room: Room, decor: Decor) -> None:
    pen.box((decor.x - 15, 34), 30, 24 + 10 * decor.size, (50, 60, 80))
    pen.box((decor.x - 12, 37), 24, 18 + 10 * decor.size, decor.color)


def _lamp(pen: Pen, room: Room, decor: Decor) -> None:
    x, y = decor.x, room.floor_y
    pen.line((x, y + 18), (x, y - 62), (60, 60, 60), 3)
    pen.polygon([(x - 9, y - 82), (x + 9, y - 82), (x + 16, y - 58), (x - 16, y - 58)], shade(decor.color, 1.2))


def _plant(pen: Pen, room: Room, decor: Decor) -> None:
    x, y = decor.x, room.floor_y
    for lean in np.linspace(-1, 1, 7).tolist():
        pen.line((x, y), (x + 20 * lean, y - 38 + 16 * abs(lean)), (50, 120 + 30 * lean, 60), 5)
    pen.polygon([(x - 11, y - 4), (x + 11, y - 4), (x + 8, y + 18), (x - 8, y + 18)], shade(decor.color, 0.8))


def _rug(pen: Pen, room: Room, decor: Decor) -> None:
    middle = (decor.x, (room.floor_y + HEIGHT) / 2 + 20 * decor.size)
    pen.ellipse(middle, (70, 22), decor.color)
    pen.ellipse(middle, (52, 15), shade(decor.color, 1.25))


_PAINTERS = {"window": _window, "picture": _picture, "lamp": _lamp, "plant": _plant, "rug": _rug}


def _door(pen: Pen, room: Room, door: Door, opened: float) -> None:
    x, top, foot = door.x, door.top, room.floor_y
    pen.box((x - 4, top - 4), door.width + 8, foot - top + 4, shade(door.color, 0.7))
    pen.box((x, top), door.width, foot - top, (45, 50, 55))
    edge = x + door.width * (1 - 0.8 * opened)
    pen.polygon([(x, top), (edge, top - 6 * opened), (edge, foot + 8 * opened), (x, foot)], door.color)
    pen.ellipse((x + (edge - x) * 0.85, (top + foot) / 2), (2.2, 2.2), (60, 180, 220))


def _sofa(pen: Pen, room: Room, sofa: Sofa) -> None:
    x, y, width, height, color = sofa.x, sofa.y, sofa.width, sofa.height, sofa.color
    pen.ellipse((x + width / 2, y + 2), (width * 0.53, 6), shade(room.floor, 0.7))
    pen.box((x + 4, y - height), width - 8, height * 0.9, shade(color, 0.85))
    pen.box((x + 6, y - height * 0.45), width - 12, height * 0.17, shade(color, 1.2))
    pen.box((x + 6, y - height * 0.29), width - 12, height * 0.25, color)
    pen.line((x + width / 2, y - height), (x + width / 2, y - height * 0.1), shade(color, 0.7), 1)
    for index in range(sofa.cushions):
        middle, low = x + width * (0.25 + 0.5 * index), y - height * 0.45
        corners = [(middle - 11, low), (middle - 9, y - height * 0.8), (middle + 9, y - height * 0.82), (middle + 11, low)]
        pen.polygon(corners, sofa.cushion_color)
    for arm in (x, x + width - width * 0.12):
        pen.box((arm, y - height * 0.64), width * 0.12, height * 0.62, shade(color, 1.08))
        pen.ellipse((arm + width * 0.06, y - height * 0.64), (width * 0.06, width * 0.05), shade(color, 1.15))


def _table(pen: Pen, table: Table) -> None:
    for leg in (-0.46, 0.40):
        corner = (table.x + leg * table.width, table.y - table.height)
        pen.box(corner, 0.09 * table.width + 1, table.height, shade(table.color, 0.8))
    pen.box((table.x - table.width / 2, table.y - table.height - 4), table.width, 6, table.color)
