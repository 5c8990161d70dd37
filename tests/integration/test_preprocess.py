"""Our resize and normalisation against the checkpoint's own image processor."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipeline.blip import ImageEncoder
from pipeline.preprocess import fit

MEAN, STD = tuple(BlipImageProcessorPil.image_mean), tuple(BlipImageProcessorPil.image_std)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """White noise: the hardest picture to resample alike."""
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", [160, 384])
@pytest.mark.parametrize(
    ("height", "width"),
    [(480, 640), (241, 319), (1080, 1920), (37, 1001), (1, 1), (3, 500), (160, 160), (384, 384), (383, 385)],
)
def test_resized_bytes_equal_the_image_processors(height: int, width: int, size: int) -> None:
    """Shrinking, growing, odd sizes, any aspect ratio: not one byte differs from what the processor makes of an RGB picture."""
    picture = noise(height, width)
    processor = BlipImageProcessorPil(size={"height": size, "width": size}, do_rescale=False, do_normalize=False)
    theirs_3SS = processor(images=[picture], return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    np.testing.assert_array_equal(fit(picture, size), theirs_3SS.transpose(1, 2, 0))


def test_rows_that_skip_bytes_are_read_right() -> None:
    """A crop or a mirrored view of a larger picture (strides) resizes as its copy does."""
    view = noise(300, 400)[10:290, 390:20:-1]
    np.testing.assert_array_equal(fit(view, 160), fit(view.copy(), 160))


class Normalised(ImageEncoder):
    """The image encoder stopped right before its first layer."""

    def encode(self, pixels_B3SS: Tensor) -> Tensor:
        """Return what the first layer would see."""
        return pixels_B3SS


def test_normalised_tensor_is_within_float32_rounding_of_the_image_processors() -> None:
    """All 256 values of each channel: measured equal; one float32 rounding at magnitude 2 is allowed."""
    ramp_SS3 = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    ours_3SS = Normalised(nn.Identity(), MEAN, STD)(torch.tensor(ramp_SS3[None]))[0]
    theirs_3SS = BlipImageProcessorPil(do_resize=False)(images=[ramp_SS3], return_tensors="pt")["pixel_values"][0]
    assert (ours_3SS - theirs_3SS).abs().max() <= 2.4e-7
