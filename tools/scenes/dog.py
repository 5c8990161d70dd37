"""Draws the dog: one body per pose, then a head whose pitch and mouth tell what it does.

Proportions are a cartoon's (`HEAD`): the cues of muzzle and mouth must survive a picture of 160 pixels. A barking dog throws
its head up, shows teeth and lifts a stiff tail; a panting one opens the mouth a little and lets the tongue hang.
"""

import math
from dataclasses import dataclass

from tools.scenes.moments import Dog
from tools.scenes.pen import Pen, shade
from tools.scenes.rooms import Color, Point, Room

HEAD = 1.3
"""Size of the head against the body's."""
MOUTH_RED: Color = (50, 35, 150)
TONGUE: Color = (120, 110, 230)
TEETH: Color = (240, 245, 245)
NOSE: Color = (25, 25, 25)
_BARK_PITCH = 26.0
_OPENING = 70.0
"""Degrees between the jaws of a mouth fully open."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The dog's own coordinates: body lengths ahead of the body's middle and above the ground."""

    pen: Pen
    room: Room
    dog: Dog
    length: float

    @property
    def fur(self) -> Color:
        """The near side's colour."""
        return self.room.coat.fur

    @property
    def shadow_fur(self) -> Color:
        """The far side's colour."""
        return shade(self.fur, 0.72)

    def at(self, ahead: float, up: float) -> Point:
        """A point of the room."""
        return self.dog.x + self.dog.face * ahead * self.length, self.dog.y - up * self.length

    def limb(self, start: Point, end: Point, thickness: float, color: Color | None = None) -> None:
        """A leg, neck or tail."""
        self.pen.line(self.at(*start), self.at(*end), color or self.fur, thickness * self.length)

    def blob(self, center: Point, radii: Point, color: Color, tilt: float = 0.0) -> None:
        """An ellipse, tilted up at the front by `tilt` degrees."""
        size = (radii[0] * self.length, radii[1] * self.length)
        self.pen.ellipse(self.at(*center), size, color, -tilt * self.dog.face)

    def patch(self, center: Point, radii: Point, tilt: float = 0.0) -> None:
        """The coat's second colour, where it has one."""
        if self.room.coat.patch:
            self.blob(center, radii, self.room.coat.patch, tilt)

    def tail(self, root: Point, wag: float) -> None:
        """Behind the body; stiff and high while barking."""
        lift = (-0.14, 0.42) if self.dog.action == "bark" else (-0.28, 0.28 + wag)
        self.limb(root, (root[0] + lift[0], root[1] + lift[1]), 0.07)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where the head's middle is and how many degrees it looks up."""

    center: Point
    pitch: float = 0.0


def draw_dog(pen: Pen, room: Room, dog: Dog) -> None:
    """Draw the dog and, if it plays, its ball."""
    figure = Figure(pen, room, dog, room.dog_length(dog.y, on_sofa=dog.on_sofa))
    ground = room.sofa.color if dog.on_sofa else room.floor
    figure.blob((0.05, 0.0), (0.62, 0.09), shade(ground, 0.75))
    head = _BODIES[dog.pose](figure)
    pen.mark("body")
    if dog.action == "bark":
        head = HeadPose((head.center[0] + 0.04, head.center[1] + 0.06), _BARK_PITCH + 8 * dog.mouth)
    mouth = _Head(figure, head).draw()
    if dog.action == "play":
        radius = room.ball_radius
        rolling = figure.at(1.08 + 0.05 * math.sin(dog.phase_s * 5), radius / figure.length)
        draw_ball(pen, room, mouth if dog.ball_in_mouth else rolling)
        pen.mark("ball")


def draw_ball(pen: Pen, room: Room, center: Point) -> None:
    """A ball; it shines in infra-red light."""
    radius = room.ball_radius
    if room.light.night:
        pen.ellipse(center, (radius, radius), (250, 250, 250))
        return
    pen.ellipse(center, (radius, radius), room.ball_color)
    shine = (center[0] - radius * 0.3, center[1] - radius * 0.3)
    pen.ellipse(shine, (radius * 0.35, radius * 0.3), shade(room.ball_color, 1.5))


def _upright(figure: Figure, dip: float, stride: float) -> None:
    """Body on four legs; `dip` lowers the chest, `stride` swings the legs."""
    hip, reach = 0.62, 0.73 * dip
    for ahead, swing in ((-0.34, stride), (0.36, -stride)):
        lower = dip if ahead > 0 else 0.0
        figure.limb((ahead, hip - lower), (ahead + swing + (reach if lower else 0.0), 0.03), 0.1, figure.shadow_fur)
    figure.tail((-0.46, hip + 0.08), 0.1 * math.sin(figure.dog.phase_s * 9))
    tilt = -67 * dip
    figure.blob((0, hip - dip / 2), (0.52, 0.2), figure.fur, tilt)
    figure.patch((-0.12, hip + 0.05 - dip / 2), (0.2, 0.12), tilt)
    for ahead, swing in ((-0.42, -stride), (0.28, stride)):
        lower = dip if ahead > 0 else 0.0
        figure.limb((ahead, hip - lower - 0.02), (ahead + swing + (0.3 if lower else 0.0), 0.03), 0.11)


def _stand(figure: Figure) -> HeadPose:
    _upright(figure, 0.0, 0.0)
    figure.limb((0.4, 0.68), (0.62, 0.96), 0.22)
    return HeadPose((0.62, 0.96))


def _walk(figure: Figure) -> HeadPose:
    _upright(figure, 0.0, 0.13 * math.sin(figure.dog.phase_s * 11))
    figure.limb((0.4, 0.68), (0.62, 0.96), 0.22)
    return HeadPose((0.62, 0.96))


def _low(figure: Figure) -> HeadPose:
    """Nose to the ground or in the bowl."""
    _upright(figure, 0.0, 0.0)
    center = (0.70, 0.26 + 0.03 * math.sin(figure.dog.phase_s * 8))
    figure.limb((0.4, 0.62), center, 0.2)
    return HeadPose(center, -50)


def _bow(figure: Figure) -> HeadPose:
    """Chest down, rump up: come and play."""
    _upright(figure, 0.3, 0.0)
    center = (0.68, 0.44 + 0.03 * math.sin(figure.dog.phase_s * 7))
    figure.limb((0.42, 0.32), center, 0.2)
    return HeadPose(center, -15)


def _gnaw(figure: Figure) -> HeadPose:
    """Head forward at the height of a sofa's arm."""
    _upright(figure, 0.0, 0.0)
    tug = math.sin(figure.dog.phase_s * 10)
    center = (0.66, 0.52 + 0.05 * tug)
    figure.limb((0.4, 0.65), center, 0.22)
    return HeadPose(center, 8 * tug)


def _sit(figure: Figure) -> HeadPose:
    figure.tail((-0.34, 0.1), -0.28 + 0.1 * abs(math.sin(figure.dog.phase_s * 9)))
    figure.blob((-0.06, 0.46), (0.46, 0.21), figure.fur, 50)
    figure.patch((-0.12, 0.5), (0.18, 0.1), 50)
    figure.blob((-0.22, 0.17), (0.24, 0.17), figure.shadow_fur)
    figure.limb((0.16, 0.6), (0.22, 0.03), 0.1, figure.shadow_fur)
    figure.limb((0.12, 0.6), (0.12, 0.03), 0.1)
    figure.limb((0.14, 0.7), (0.3, 1.02), 0.22)
    return HeadPose((0.3, 1.02))


def _lying_body(figure: Figure, *, breath: float, wag: float) -> None:
    figure.tail((-0.44, 0.14), -0.37 + wag)
    figure.blob((0, 0.2), (0.52, 0.2 + breath), figure.fur)
    figure.patch((-0.1, 0.25), (0.2, 0.1))
    figure.blob((-0.28, 0.13), (0.2, 0.12), figure.shadow_fur)
    figure.limb((0.26, 0.07), (0.66, 0.04), 0.1, figure.shadow_fur)


def _lie(figure: Figure) -> HeadPose:
    _lying_body(figure, breath=0.0, wag=0.1 * abs(math.sin(figure.dog.phase_s * 9)))
    figure.limb((0.36, 0.25), (0.5, 0.56), 0.22)
    return HeadPose((0.5, 0.56))


def _sleep(figure: Figure) -> HeadPose:
    """Head on the paws."""
    _lying_body(figure, breath=0.02 * math.sin(figure.dog.phase_s * 2), wag=0.0)
    return HeadPose((0.6, 0.15), -4)


_BODIES = {
    "stand": _stand,
    "walk": _walk,
    "low": _low,
    "bow": _bow,
    "gnaw": _gnaw,
    "sit": _sit,
    "lie": _lie,
    "sleep": _sleep,
}


class _Head:
    """The head around its middle: distances along a direction in degrees and off to its upper side."""

    def __init__(self, figure: Figure, pose: HeadPose) -> None:
        self._figure = figure
        self._pose = pose
        opening = _OPENING * figure.dog.mouth
        self._upper = pose.pitch + 0.3 * opening
        self._lower = pose.pitch - 0.7 * opening

    def draw(self) -> Point:
        """Draw mouth, jaws, skull, nose, eye and ear; returns the point where a carried ball sits."""
        figure, pen = self._figure, self._figure.pen
        if figure.dog.mouth > 0:
            self._draw_mouth()
        lower = [self._at(d, self._lower, off) for d, off in ((0.05, -0.02), (0.40, 0.0), (0.40, -0.05), (0.05, -0.13))]
        upper = [self._at(d, self._upper, off) for d, off in ((0.0, 0.14), (0.42, 0.07), (0.42, 0.0), (0.05, -0.04))]
        pen.polygon(lower, figure.shadow_fur)
        pen.polygon(upper, shade(figure.fur, 1.12))
        skull = (0.18 * HEAD, 0.17 * HEAD)
        figure.blob(self._pose.center, skull, figure.fur)
        pen.mark("head")
        if figure.dog.action == "bark":
            self._draw_teeth()
        pen.ellipse(self._at(0.42, self._upper, 0.05), (0.055 * figure.length, 0.05 * figure.length), NOSE)
        self._draw_eye()
        self._draw_ear()
        pen.mark("head")
        return self._at(0.36 + 0.8 * figure.room.ball_radius / figure.length, self._lower, 0.0)

    def _at(self, distance: float, direction: float, off: float) -> Point:
        angle, distance, off = math.radians(direction), distance * HEAD, off * HEAD
        ahead = distance * math.cos(angle) - off * math.sin(angle)
        up = distance * math.sin(angle) + off * math.cos(angle)
        return self._figure.at(self._pose.center[0] + ahead, self._pose.center[1] + up)

    def _draw_mouth(self) -> None:
        pen, length, action = self._figure.pen, self._figure.length, self._figure.dog.action
        corners = [self._at(0.06, self._pose.pitch, 0.0), self._at(0.38, self._upper, 0.0), self._at(0.38, self._lower, 0.0)]
        pen.polygon(corners, MOUTH_RED)
        if action == "pant":
            pen.line(self._at(0.26, self._lower, 0.0), self._at(0.3, self._lower, -0.16), TONGUE, 0.07 * length)
        if action == "bark":
            pen.line(self._at(0.16, self._lower, 0.04), self._at(0.28, self._lower, 0.05), TONGUE, 0.05 * length)
        pen.mark("bark" if action == "bark" else "mouth")

    def _draw_teeth(self) -> None:
        """Along the jaws' inner edges, longest at the front."""
        for jaw, side in ((self._upper, -1), (self._lower, 1)):
            for distance, height in ((0.37, 0.1), (0.28, 0.06), (0.2, 0.05)):
                points = ((distance + 0.04, 0.0), (distance - 0.04, 0.0), (distance, side * height))
                self._figure.pen.polygon([self._at(d, jaw, off) for d, off in points], TEETH)
        self._figure.pen.mark("bark")

    def _draw_eye(self) -> None:
        figure, pen, pitch = self._figure, self._figure.pen, self._pose.pitch
        if figure.dog.action == "sleep":
            pen.line(self._at(0.02, pitch, 0.05), self._at(0.11, pitch, 0.05), (20, 20, 20), 0.03 * figure.length)
            return
        color = (250, 250, 250) if figure.room.light.night else (20, 20, 20)
        pen.ellipse(self._at(0.06, pitch, 0.06), (0.035 * figure.length, 0.04 * figure.length), color)

    def _draw_ear(self) -> None:
        figure, pitch, ears = self._figure, self._pose.pitch, self._figure.room.coat.ears
        tilt = -10 * figure.dog.face
        if ears == 0:
            size = (0.08 * figure.length, 0.17 * figure.length)
            figure.pen.ellipse(self._at(-0.1, pitch, 0.0), size, figure.shadow_fur, tilt)
            return
        tip, back = ((-0.1, 0.34), (-0.14, 0.1)) if ears == 1 else ((-0.2, 0.26), (-0.16, 0.12))
        corners = (back, tip, (0.02, 0.13))
        figure.pen.polygon([self._at(d, pitch, off) for d, off in corners], figure.shadow_fur)
        if ears > 1:
            size = (0.06 * figure.length, 0.12 * figure.length)
            figure.pen.ellipse(self._at(-0.16, pitch, 0.08), size, figure.shadow_fur)
