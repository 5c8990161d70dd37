"""Pictures that carry their own truth, as 8 x 8 cells of black and white that survive any sane codec and resize.

Row by row the cells are 64 bits, most significant first: camera number (8), picture number (24), answer codes (4 x 2), and the
low 24 bits of the CRC-32 (ISO 3309) of the five bytes before. What is damaged is refused, never guessed.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GRID = 8
"""Cells a side."""
BEHAVIORS = 4
"""Answer codes that a picture carries."""
SIZE = 64
"""Side of the square that the worker brings pictures to, pixels."""

_CAMERAS = 1 << 8
_PICTURES = 1 << 24
_CHECK_BYTES = 3
_DARK, _BRIGHT = 80, 176
"""A cell between them is neither: a blend of two pictures, or noise. Measured: codecs leave 0 to 7 and 246 to 255."""


class DamagedPicture(Exception):
    """The picture is none that a camera of the script drew, or is not as it was drawn."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a picture says of itself."""

    camera: int
    number: int
    codes: tuple[int, ...]
    """`tools.chaos.truth.Code` of each behaviour."""


def draw(carried: Carried, width: int, height: int) -> NDArray[np.uint8]:
    """Draw a picture, uint8 (height, width, 3); both sides are multiples of 8."""
    assert width % GRID == 0, width
    assert height % GRID == 0, height
    data = _packed(carried)
    cells = np.unpackbits(np.frombuffer(data + _check(data), np.uint8)).reshape(GRID, GRID)
    grey = np.repeat(np.repeat(cells * np.uint8(255), height // GRID, 0), width // GRID, 1)
    return np.repeat(grey[:, :, None], 3, 2)


def read(pixels: NDArray[np.uint8]) -> Carried:
    """Read a picture, uint8 (S, S, 3), S a multiple of 16.

    Raises:
        DamagedPicture: a cell is neither black nor white, or the check does not fit.
    """
    bits = _bits(pixels)
    data = np.packbits(bits).tobytes()
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if _check(body) != check:
        msg = f"the cells {data.hex()} do not fit their checksum: no picture of the script looks like this"
        raise DamagedPicture(msg)
    codes = tuple(body[4] >> shift & 3 for shift in range(2 * BEHAVIORS - 2, -1, -2))
    return Carried(body[0], int.from_bytes(body[1:4], "big"), codes)


def _bits(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell black from white by the middle of each cell, bool (64,)."""
    cell = pixels.shape[0] // GRID
    rim = cell // 4
    cells = pixels.reshape(GRID, cell, GRID, cell, 3)[:, rim : cell - rim, :, rim : cell - rim]
    levels = cells.mean(axis=(1, 3, 4), dtype=np.float32).reshape(-1)
    bits: NDArray[np.bool_] = levels >= _BRIGHT
    unclear = ~bits & (levels > _DARK)
    if unclear.any():
        place = int(unclear.argmax())
        msg = f"cell {place} of the picture has brightness {levels[place]:.0f}: neither black nor white"
        raise DamagedPicture(msg)
    return bits


def _packed(carried: Carried) -> bytes:
    assert 0 <= carried.camera < _CAMERAS, carried
    assert 0 <= carried.number < _PICTURES, carried
    assert len(carried.codes) == BEHAVIORS, carried
    return bytes((carried.camera, *carried.number.to_bytes(3, "big"), _codes_byte(carried.codes)))


def _codes_byte(codes: Sequence[int]) -> int:
    packed = 0
    for code in codes:
        assert 0 <= code <= 3, codes  # noqa: PLR2004  (two bits)
        packed = packed << 2 | code
    return packed


def _check(data: bytes) -> bytes:
    return (zlib.crc32(data) & 0xFFFFFF).to_bytes(_CHECK_BYTES, "big")
