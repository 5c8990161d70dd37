"""A decoded picture to the model's input size, exactly as the checkpoint's own image processor would.

Runs on the host, in the decoding threads of `stream` (Pillow releases the GIL while it resamples), hence no torch here.
Rescaling to [0, 1] and normalisation run inside the model's graph (`pipeline.blip.ImageEncoder`): the host hands over bytes.

The reference is transformers' `BlipImageProcessorPil` on RGB pictures. Measured deviation: 0 of the resized bytes, and 0 of the
normalised tensor, although the processor rescales in float64 and the graph in float32 (tests/integration/test_preprocess.py).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What a checkpoint expects of a picture. Resampling is bicubic: other checkpoints are refused when loaded."""

    size: int
    """Side of the square input, pixels."""
    mean: tuple[float, float, float]
    """Per RGB channel, in units of [0, 1]."""
    std: tuple[float, float, float]
    """Per RGB channel, in units of [0, 1]."""


def fit(pixels_HW3: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize an RGB picture, uint8 (H, W, 3), to uint8 (size, size, 3); the aspect ratio is not kept, as in BLIP's training.

    Bicubic with a filter as wide as the reduction (no aliasing), Pillow's fixed-point arithmetic.
    """
    assert pixels_HW3.dtype == np.uint8, pixels_HW3.dtype
    assert pixels_HW3.ndim == 3, pixels_HW3.shape  # noqa: PLR2004  (height, width, channels)
    assert pixels_HW3.shape[2] == 3, pixels_HW3.shape  # noqa: PLR2004  (RGB)
    picture = Image.fromarray(np.ascontiguousarray(pixels_HW3))
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
