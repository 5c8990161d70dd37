"""The operations that a frame takes, by the model's sizes."""

from types import SimpleNamespace

import pytest
from transformers import BlipConfig

from tools.bench.flops import flops_per_frame

TINY = SimpleNamespace(
    vision_config=SimpleNamespace(image_size=4, patch_size=2, hidden_size=2, intermediate_size=3, num_hidden_layers=1),
    text_config=SimpleNamespace(hidden_size=5, intermediate_size=7, num_hidden_layers=1, vocab_size=11),
)
"""Five image tokens: four patches and the class token."""


def test_the_count_is_that_of_every_product_by_hand() -> None:
    """One question of three tokens; products as rows x inner x columns."""
    image = (
        4 * 12 * 2  # patches
        + 3 * 5 * 2 * 2  # query, key, value
        + 5 * 5 * 2 * 2  # two products of attention
        + 5 * 2 * 2  # output
        + 2 * 5 * 2 * 3  # MLP
    )
    question = (
        4 * 3 * 5 * 5  # query, key, value, output
        + 2 * 3 * 3 * 5  # attention to itself
        + 2 * 3 * 5 * 5  # query and output of the cross-attention
        + 2 * 5 * 2 * 5  # key and value of the image
        + 2 * 3 * 5 * 5  # attention to the image
        + 2 * 3 * 5 * 7  # MLP
    )
    answer = (
        4 * 1 * 5 * 5  # query, key, value, output
        + 2 * 1 * 1 * 5  # attention to itself
        + 2 * 1 * 5 * 5  # query and output of the cross-attention
        + 2 * 3 * 5 * 5  # key and value of the question
        + 2 * 1 * 3 * 5  # attention to the question
        + 2 * 1 * 5 * 7  # MLP
    )
    head = 1 * 5 * 5 + 1 * 5 * 11
    assert flops_per_frame(TINY, [3]) == 2 * (image + question + answer + head)


def test_questions_do_not_read_each_other() -> None:
    """Each further question of the same length adds the same: no term grows with the square of the set."""
    one, two, three = (flops_per_frame(TINY, [3] * count) for count in (1, 2, 3))
    assert two - one == three - two > 0


def test_a_longer_question_costs_more_than_its_share() -> None:
    """Attention within a question is quadratic in its length."""
    assert flops_per_frame(TINY, [6]) - flops_per_frame(TINY, [3]) > flops_per_frame(TINY, [3]) - flops_per_frame(TINY, [0])


def test_the_base_model_takes_145_gflop() -> None:
    """Salesforce/blip-vqa-base's sizes, eight questions of eight tokens; transformers' defaults are that checkpoint's."""
    assert flops_per_frame(BlipConfig(), [8] * 8) == pytest.approx(145.2e9, rel=0.002)
