"""How much arithmetic a frame takes by the model's sizes alone, whoever computes it and however it is padded.

A multiply-add counts as two operations. Every matrix product counts: linear layers, the patches' convolution, both products of
each attention, the vocabulary head. What is linear in the activations (normalisation, softmax, biases, GELU) does not: under 1 %.
"""

from collections.abc import Sequence
from typing import Any


def flops_per_frame(config: Any, question_tokens: Sequence[int]) -> int:
    """Count the operations of one frame that is asked yes/no questions, each answered in one decoder slot.

    The image is encoded once and each question reads itself and the image only, so tokens of different questions do not meet.

    Args:
        config: a `BlipConfig`.
        question_tokens: tokens of each question, [CLS] and [SEP] included.

    Returns:
        Floating-point operations.
    """
    vision, text = config.vision_config, config.text_config
    image_tokens = (vision.image_size // vision.patch_size) ** 2 + 1
    multiply_adds = (
        _image_encoder(vision, image_tokens)
        + text.num_hidden_layers * _question_layer(text, vision.hidden_size, image_tokens, question_tokens)
        + text.num_hidden_layers * _answer_layer(text, question_tokens)
        + len(question_tokens) * text.hidden_size * (text.hidden_size + text.vocab_size)
    )
    return int(2 * multiply_adds)


def _image_encoder(vision: Any, tokens: int) -> int:
    width, mlp = vision.hidden_size, vision.intermediate_size
    patches = (tokens - 1) * 3 * vision.patch_size**2 * width
    projections = 4 * tokens * width**2  # query, key, value, output
    attention = 2 * tokens**2 * width
    return int(patches + vision.num_hidden_layers * (projections + attention + 2 * tokens * width * mlp))


def _question_layer(text: Any, image_width: int, image_tokens: int, question_tokens: Sequence[int]) -> int:
    width, mlp, tokens = text.hidden_size, text.intermediate_size, sum(question_tokens)
    own = 4 * tokens * width**2 + 2 * sum(each**2 for each in question_tokens) * width
    image = 2 * tokens * width**2 + 2 * image_tokens * image_width * width + 2 * tokens * image_tokens * width
    return int(own + image + 2 * tokens * width * mlp)


def _answer_layer(text: Any, question_tokens: Sequence[int]) -> int:
    width, mlp, tokens, slots = text.hidden_size, text.intermediate_size, sum(question_tokens), len(question_tokens)
    own = 4 * slots * width**2 + 2 * slots * width  # a slot sees no other slot
    question = 2 * slots * width**2 + 2 * tokens * width**2 + 2 * tokens * width
    return int(own + question + 2 * slots * width * mlp)
