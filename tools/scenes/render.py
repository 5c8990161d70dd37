"""Paints one instant as the camera sees it: figures in depth order, then the lens, the light, the sensor's noise, the clock.

Knows nothing of time, files or models.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scenes.backdrop import backdrop
from tools.scenes.dog import draw_ball, draw_dog
from tools.scenes.moments import Crumbs, Dog, Moment, Person
from tools.scenes.pen import CLASSES, Pen
from tools.scenes.person import draw_person
from tools.scenes.rooms import HEIGHT, Choices, Point, Room

_CLOSE = 75.0
"""A person nearer to the dog than this stands behind it: covering the dog would make every answer a guess."""
_NOISE_HEIGHT, _NOISE_WIDTH = 300, 500


@dataclass(frozen=True, slots=True)
class View:
    """How a room is looked at."""

    room: Room
    scale: float
    """1 renders 320x240, 2 renders 640x480."""
    background: NDArray[np.uint8]
    """The empty room; paint it again when the door moves."""

    @classmethod
    def of(cls, room: Room, scale: float, door_open: float) -> "View":
        """Paint the background once for many pictures."""
        return cls(room, scale, backdrop(room, scale, door_open))


def render(view: View, moment: Moment, clock: str, choices: Choices) -> NDArray[np.uint8]:
    """One picture, BGR uint8 (240 * scale, 320 * scale, 3); `choices` draws the noise only."""
    pen = Pen(view.background.copy(), view.scale)
    _paint(pen, view.room, moment)
    return _expose(view, _through_lens(view, pen.image, cv2.INTER_LINEAR), clock, choices)


def render_with_classes(
    view: View, moment: Moment, clock: str, choices: Choices, cells: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One picture, and the share (0-255) that each of `CLASSES` covers in a grid, (classes, cells, cells)."""
    pen = Pen(view.background.copy(), view.scale)
    pen.keep_classes()
    sofa, table = view.room.sofa, view.room.table
    pen.mark_box("sofa", (sofa.x, sofa.y - sofa.height), sofa.width, sofa.height * 0.98)
    if table:
        pen.mark_box("table", (table.x - table.width / 2, table.y - table.height - 4), table.width, table.height + 4)
    _paint(pen, view.room, moment)
    assert pen.classes is not None
    seen = _through_lens(view, pen.classes, cv2.INTER_NEAREST)
    masks = [(seen == index + 1).astype(np.uint8) * 255 for index in range(len(CLASSES))]
    grid = np.stack([cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA) for mask in masks])
    image = _through_lens(view, pen.image, cv2.INTER_LINEAR)
    return _expose(view, image, clock, choices), grid.astype(np.uint8)


def _paint(pen: Pen, room: Room, moment: Moment) -> None:
    dog, person, ball = moment.dog, moment.person, moment.ball
    person_behind = person is not None and (dog is None or _stands_behind(person, dog))
    ball_behind = ball is not None and dog is not None and ball[1] < dog.y
    if person and person_behind:
        draw_person(pen, room, person)
        pen.mark("person")
    _bowl(pen, moment.bowl)
    pen.mark("bowl")
    if ball and ball_behind:
        draw_ball(pen, room, ball)
        pen.mark("ball")
    if moment.crumbs:
        _crumbs(pen, moment.crumbs)
    if dog:
        draw_dog(pen, room, dog)
        if dog.action == "eat":
            _bowl_front(pen, moment.bowl)
            pen.mark("bowl")
    if ball and not ball_behind:
        draw_ball(pen, room, ball)
        pen.mark("ball")
    if person and not person_behind:
        draw_person(pen, room, person)
        pen.mark("person")


def _stands_behind(person: Person, dog: Dog) -> bool:
    return person.seated or person.y < dog.y or abs(person.x - dog.x) < _CLOSE


def _bowl(pen: Pen, bowl: Point) -> None:
    x, y = bowl
    pen.polygon([(x - 11, y - 8), (x + 11, y - 8), (x + 8, y + 1), (x - 8, y + 1)], (170, 90, 60))
    pen.ellipse((x, y - 8), (11, 3.4), (60, 80, 110))


def _bowl_front(pen: Pen, bowl: Point) -> None:
    """The bowl's front rim covers the snout."""
    x, y = bowl
    pen.polygon([(x - 10.5, y - 6), (x + 10.5, y - 6), (x + 8, y + 1), (x - 8, y + 1)], (170, 90, 60))


def _crumbs(pen: Pen, crumbs: Crumbs) -> None:
    scatter = np.random.default_rng(crumbs.seed)
    for _ in range(9):
        center = (crumbs.x + scatter.uniform(-16, 16), crumbs.y + scatter.uniform(-2, 10))
        pen.ellipse(center, (scatter.uniform(1, 3), scatter.uniform(1, 2)), (235, 235, 235))


def _through_lens(view: View, image: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    lens = view.room.lens
    height, width = image.shape[:2]
    matrix = np.array(cv2.getRotationMatrix2D((width / 2, height / 2), lens.roll, lens.zoom), np.float64)
    matrix[:, 2] += (lens.shift_x * view.scale, lens.shift_y * view.scale)
    seen = cv2.warpAffine(image, matrix, (width, height), flags=interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.uint8)


def _expose(view: View, image: NDArray[np.uint8], clock: str, choices: Choices) -> NDArray[np.uint8]:
    """Light and noise, then the on-screen clock."""
    light = view.room.light
    height, width = image.shape[:2]
    noise = _noise(choices, height, width)
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    if light.night:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
        falloff = 1.08 - 0.33 * (across[None] ** 2 + down[:, None] ** 2)
        grey = (grey * 0.78 + 30) * light.gain * falloff + noise * (light.noise + 2)
        exposed = cv2.merge([grey, grey, grey])
    else:
        tint = np.array([1 - light.warmth, 1.0, 1 + light.warmth], np.float32) * light.gain
        exposed = image * ((1 + light.ramp * across)[None, :, None] * tint) + (noise * light.noise)[..., None]
    picture: NDArray[np.uint8] = np.clip(exposed, 0, 255).astype(np.uint8)
    if clock:
        at, size, width = (int(6 * view.scale), int(14 * view.scale)), 0.36 * view.scale, max(1, int(view.scale))
        cv2.putText(picture, clock, at, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), width, cv2.LINE_AA)
    return picture


@cache
def _noise_tiles() -> NDArray[np.float32]:
    """Normal noise to cut from: drawing it anew for every picture would take longer than the picture."""
    return np.random.default_rng(7).normal(0, 1, (2, _NOISE_HEIGHT, _NOISE_WIDTH)).astype(np.float32)


def _noise(choices: Choices, height: int, width: int) -> NDArray[np.float32]:
    """A piece of the tiles; a large picture gets it in grains of the same size on the scene."""
    coarse = max(1, height // HEIGHT)
    rows, columns = height // coarse, width // coarse
    top, left = choices.integers(0, _NOISE_HEIGHT - rows + 1), choices.integers(0, _NOISE_WIDTH - columns + 1)
    piece = _noise_tiles()[choices.integers(2), top : top + rows, left : left + columns]
    return piece if coarse == 1 else np.asarray(cv2.resize(piece, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)
