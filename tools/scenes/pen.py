"""Anti-aliased shapes in 320x240 units at any scale, and which class of thing each pixel shows.

Knows neither rooms nor dogs.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.scenes.rooms import HEIGHT, WIDTH, Color, Point

CLASSES = ("sofa", "table", "person", "bowl", "ball", "body", "head", "mouth", "bark")
"""What a pixel can show, for the trainer's dense supervision. `bark` is the open mouth of a barking dog."""
_FRACTION_BITS = 4
_SUBPIXELS = 1 << _FRACTION_BITS


class Pen:
    """Draws on one picture."""

    def __init__(self, image: NDArray[np.uint8], scale: float) -> None:
        """Draw on `image`, BGR uint8 (240 * scale, 320 * scale, 3), in place."""
        self.image = image
        self.scale = scale
        self._classes: NDArray[np.uint8] | None = None
        self._before = image

    def keep_classes(self) -> None:
        """From now on remember which class each pixel shows."""
        self._classes = np.zeros(self.image.shape[:2], np.uint8)
        self._before = self.image.copy()

    @property
    def classes(self) -> NDArray[np.uint8] | None:
        """1 + index into `CLASSES` of each pixel, 0 for none; None unless they are kept."""
        return self._classes

    def mark(self, name: str) -> None:
        """Pixels changed since the last mark show `name`."""
        if self._classes is None:
            return
        changed = self.image ^ self._before
        self._classes[(changed[..., 0] | changed[..., 1] | changed[..., 2]) > 0] = CLASSES.index(name) + 1
        self._before[:] = self.image

    def mark_box(self, name: str, corner: Point, width: float, height: float) -> None:
        """The pixels of a box already drawn show `name`."""
        if self._classes is not None:
            x, y = corner
            corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
            outline = np.array([self._fixed(point) for point in corners], np.int32)
            cv2.fillPoly(self._classes, [outline], CLASSES.index(name) + 1, cv2.LINE_8, _FRACTION_BITS)

    def ellipse(self, center: Point, radii: Point, color: Color, angle: float = 0.0, *, upper_half: bool = False) -> None:
        """A filled ellipse, turned by `angle` degrees clockwise."""
        axes = tuple(max(1, int(radius * self.scale * _SUBPIXELS)) for radius in radii)
        start, end = (180, 360) if upper_half else (0, 360)
        cv2.ellipse(self.image, self._fixed(center), axes, angle, start, end, color, -1, cv2.LINE_AA, _FRACTION_BITS)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """A filled polygon."""
        outline = np.array([self._fixed(point) for point in points], np.int32)
        cv2.fillPoly(self.image, [outline], color, cv2.LINE_AA, _FRACTION_BITS)

    def line(self, start: Point, end: Point, color: Color, thickness: float) -> None:
        """A line with round ends."""
        pixels = max(1, round(thickness * self.scale))
        cv2.line(self.image, self._fixed(start), self._fixed(end), color, pixels, cv2.LINE_AA, _FRACTION_BITS)

    def box(self, corner: Point, width: float, height: float, color: Color) -> None:
        """A filled upright rectangle from its upper left corner."""
        x, y = corner
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], color)

    def _fixed(self, point: Point) -> tuple[int, int]:
        return round(point[0] * self.scale * _SUBPIXELS), round(point[1] * self.scale * _SUBPIXELS)


def blank(scale: float) -> NDArray[np.uint8]:
    """An unpainted picture, (240 * scale, 320 * scale, 3)."""
    return np.empty((int(HEIGHT * scale), int(WIDTH * scale), 3), np.uint8)


def shade(color: Color, factor: float) -> Color:
    """Darker below 1, brighter above."""
    blue, green, red = (min(255.0, channel * factor) for channel in color)
    return blue, green, red
