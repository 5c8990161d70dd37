"""What stays the same while a camera watches: the room, its dog and person, the lens and the light, drawn from a seed.

All geometry is in units of a 320x240 picture, y down; a renderer scales it. Colours are BGR, 0-255. Nothing here moves and
nothing draws: behaviour is `moments` and `script`, pictures are `render`.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Color: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]
Choices: TypeAlias = np.random.Generator

WIDTH = 320
HEIGHT = 240

FURS: tuple[Color, ...] = (
    (60, 90, 140), (40, 40, 45), (225, 230, 235), (95, 150, 205), (120, 120, 125), (45, 65, 100), (150, 185, 215),
)  # fmt: skip
WALLS: tuple[Color, ...] = (
    (205, 215, 225), (190, 200, 190), (215, 205, 190), (170, 185, 205), (150, 160, 165), (200, 190, 210),
)  # fmt: skip
FLOORS: tuple[Color, ...] = ((95, 130, 165), (70, 100, 135), (150, 160, 165), (120, 125, 130), (130, 160, 190))
SOFAS: tuple[Color, ...] = (
    (110, 70, 60), (60, 60, 150), (80, 110, 80), (130, 125, 120), (60, 90, 130), (150, 110, 80), (70, 70, 75),
)  # fmt: skip
BALLS: tuple[Color, ...] = ((50, 50, 220), (60, 220, 200), (220, 90, 40), (40, 140, 250), (200, 60, 200))
TROUSERS: tuple[Color, ...] = ((90, 60, 40), (60, 60, 60), (110, 120, 130))
SKINS: tuple[Color, ...] = ((150, 185, 230), (90, 125, 180), (60, 85, 130))
DECOR_KINDS = ("window", "picture", "lamp", "plant", "rug")
NIGHT_SHARE = 0.25
_SOFA_AT_LEFT = 230


@dataclass(frozen=True, slots=True)
class Sofa:
    """A sofa seen from the front; `y` is the floor line of its feet."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    cushions: int
    cushion_color: Color

    @property
    def seat(self) -> tuple[float, float, float]:
        """Left end, right end and height of the seat."""
        return self.x + 0.14 * self.width, self.x + 0.86 * self.width, self.y - 0.40 * self.height


@dataclass(frozen=True, slots=True)
class Table:
    """A low table; `x` is its middle."""

    x: float
    y: float
    width: float
    height: float
    color: Color


@dataclass(frozen=True, slots=True)
class Door:
    """A door in the back wall."""

    x: float
    width: float
    top: float
    color: Color


@dataclass(frozen=True, slots=True)
class Decor:
    """A thing of no importance to any question."""

    kind: str
    x: float
    color: Color
    size: float


@dataclass(frozen=True, slots=True)
class Coat:
    """What the dog looks like."""

    fur: Color
    patch: Color | None
    ears: int
    length: float
    """Body length before perspective."""


@dataclass(frozen=True, slots=True)
class Outfit:
    """What the person looks like."""

    shirt: Color
    trousers: Color
    skin: Color
    height: float


@dataclass(frozen=True, slots=True)
class Lens:
    """How the camera hangs: a shift, a roll in degrees and a zoom."""

    shift_x: float
    shift_y: float
    roll: float
    zoom: float

    def place(self, point: Point) -> Point:
        """Where a point of the room lies in the picture, still in 320x240 units."""
        angle = math.radians(self.roll)
        cos, sin = self.zoom * math.cos(angle), self.zoom * math.sin(angle)
        x, y = point[0] - WIDTH / 2, point[1] - HEIGHT / 2
        return cos * x + sin * y + WIDTH / 2 + self.shift_x, cos * y - sin * x + HEIGHT / 2 + self.shift_y


@dataclass(frozen=True, slots=True)
class Light:
    """How the picture is lit; at night the camera sees infra-red, in grey."""

    gain: float
    warmth: float
    ramp: float
    noise: float
    night: bool


@dataclass(frozen=True, slots=True)
class Room:
    """One camera's world."""

    wall: Color
    floor: Color
    floor_y: float
    """Where the wall meets the floor."""
    sofa: Sofa
    table: Table | None
    door: Door | None
    decor: tuple[Decor, ...]
    coat: Coat
    outfit: Outfit
    ball_color: Color
    ball_radius: float
    light: Light
    lens: Lens
    shows_clock: bool

    def dog_length(self, y: float, *, on_sofa: bool) -> float:
        """Length of the dog's body at ground line `y`: nearer is larger."""
        return self.coat.length * (0.95 if on_sofa else 0.85 + 0.35 * self.nearness(y))

    def nearness(self, y: float) -> float:
        """How near a ground line is to the camera: 0 at the wall, 1 at the picture's lower edge."""
        return (y - self.floor_y) / (HEIGHT - self.floor_y)


def sample_room(choices: Choices, *, night: bool | None = None) -> Room:
    """Draw a room; `night` None draws that too."""
    floor_y = float(choices.integers(112, 146))
    sofa, sofa_hue = _sample_sofa(choices, floor_y)
    floor_hue = _pick(choices, FLOORS)
    return Room(
        wall=_near(choices, _pick(choices, WALLS), 18),
        floor=_near(choices, floor_hue, 18),
        floor_y=floor_y,
        sofa=sofa,
        table=_sample_table(choices, sofa, floor_y),
        door=_sample_door(choices, sofa),
        decor=tuple(_sample_decor(choices)),
        coat=_sample_coat(choices, floor_hue, sofa_hue),
        outfit=Outfit(
            shirt=_any_color(choices, 20, 240),
            trousers=_near(choices, _pick(choices, TROUSERS), 25),
            skin=_pick(choices, SKINS),
            height=choices.uniform(140, 175),
        ),
        ball_color=_pick(choices, BALLS),
        ball_radius=choices.uniform(9.5, 12.5),
        light=Light(
            gain=choices.uniform(0.75, 1.2),
            warmth=choices.uniform(-0.12, 0.12),
            ramp=choices.uniform(-0.35, 0.35),
            noise=choices.uniform(1, 6),
            night=chance(choices, NIGHT_SHARE) if night is None else night,
        ),
        lens=Lens(choices.uniform(-10, 10), choices.uniform(-8, 8), choices.uniform(-2.5, 2.5), choices.uniform(0.94, 1.1)),
        shows_clock=chance(choices, 0.5),
    )


def chance(choices: Choices, share: float) -> bool:
    """True in `share` of all draws."""
    return bool(choices.random() < share)


def _sample_sofa(choices: Choices, floor_y: float) -> tuple[Sofa, Color]:
    width = choices.uniform(112, 150)
    hue = _pick(choices, SOFAS)
    at_left = chance(choices, 0.5)
    sofa = Sofa(
        x=choices.uniform(4, 90) if at_left else choices.uniform(230, 316) - width,
        y=floor_y + choices.uniform(18, 40),
        width=width,
        height=choices.uniform(56, 70),
        color=_near(choices, hue, 20),
        cushions=int(choices.integers(0, 3)),
        cushion_color=_any_color(choices, 40, 230),
    )
    return sofa, hue


def _sample_table(choices: Choices, sofa: Sofa, floor_y: float) -> Table | None:
    table = Table(
        x=choices.uniform(215, 290) if sofa.x + sofa.width / 2 < WIDTH / 2 else choices.uniform(20, 80),
        y=floor_y + choices.uniform(40, 80),
        width=choices.uniform(36, 56),
        height=choices.uniform(22, 32),
        color=_near(choices, (50, 80, 120), 25),
    )
    return table if chance(choices, 0.6) else None


def _sample_door(choices: Choices, sofa: Sofa) -> Door | None:
    right_of_sofa = sofa.x + sofa.width + 8
    x = choices.uniform(right_of_sofa, 300) if sofa.x + sofa.width < _SOFA_AT_LEFT else choices.uniform(10, max(11, sofa.x - 50))
    door = Door(
        x=float(np.clip(x, 4, 280)),
        width=choices.uniform(34, 44),
        top=choices.uniform(18, 34),
        color=_near(choices, (120, 150, 180), 40),
    )
    return door if chance(choices, 0.8) else None


def _sample_decor(choices: Choices) -> list[Decor]:
    kinds = [kind for kind in DECOR_KINDS if chance(choices, 0.5)]
    return [Decor(kind, choices.uniform(15, 300), _any_color(choices, 30, 230), choices.random()) for kind in kinds]


def _sample_coat(choices: Choices, floor: Color, sofa: Color) -> Coat:
    """Of two furs the one that stands out more: an invisible dog teaches nothing."""
    pair = (_pick(choices, FURS), _pick(choices, FURS))
    fur = max(pair, key=lambda color: min(abs(sum(color) - sum(floor)), abs(sum(color) - sum(sofa)), 120))
    patch = _near(choices, _pick(choices, FURS), 15) if chance(choices, 0.4) else None
    return Coat(_near(choices, fur, 15), patch, int(choices.integers(3)), choices.uniform(54, 74))


def _pick(choices: Choices, colors: tuple[Color, ...]) -> Color:
    return colors[choices.integers(len(colors))]


def _near(choices: Choices, color: Color, spread: float) -> Color:
    blue, green, red = np.clip(np.asarray(color) + choices.uniform(-spread, spread, 3), 0, 255).tolist()
    return blue, green, red


def _any_color(choices: Choices, low: float, high: float) -> Color:
    blue, green, red = choices.uniform(low, high, 3).tolist()
    return blue, green, red
