"""Attention as it is handed to the Neuron compiler."""

import warnings

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from pipeline.backends.neuron_graph import PlainAttention, every_input_used
from pipeline.errors import CompileFailed


def qkv() -> list[torch.Tensor]:
    """Query, key, value of two heads."""
    torch.manual_seed(1)
    return [torch.randn(2, 2, tokens, 8) for tokens in (3, 5, 5)]


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_plain_attention_is_attention(*, has_mask: bool, scale: float | None) -> None:
    """With mask and scale, as torch has them; and only within the block."""
    mask = torch.tensor([[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool() if has_mask else None
    wanted = scaled_dot_product_attention(*qkv(), attn_mask=mask, scale=scale)
    with PlainAttention():
        found = scaled_dot_product_attention(*qkv(), attn_mask=mask, scale=scale)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert not torch.equal(found, scaled_dot_product_attention(*qkv(), scale=0.1))


def test_what_is_masked_has_no_influence_at_all() -> None:
    """Its weight is exactly 0, not a small number."""
    query, key, value = qkv()
    mask = torch.tensor([True, True, True, False, False])
    loud = torch.cat([value[..., :3, :], value[..., 3:, :] * 1e30], dim=-2)
    with PlainAttention():
        assert torch.equal(
            scaled_dot_product_attention(query, key, value, attn_mask=mask),
            scaled_dot_product_attention(query, key, loud, attn_mask=mask),
        )


def test_other_arguments_are_not_dropped_in_silence() -> None:
    """A graph that came to need causal attention would compute something else."""
    with PlainAttention(), pytest.raises(TypeError, match="is_causal"):
        scaled_dot_product_attention(*qkv(), is_causal=True)


def test_other_warnings_are_passed_on() -> None:
    """Only the one fails the build."""
    with pytest.warns(UserWarning, match="of another kind"), every_input_used("fused"):
        warnings.warn("of another kind", UserWarning, stacklevel=1)
    with (
        pytest.warns(UserWarning, match="was unused"),
        pytest.raises(CompileFailed, match="fused: Received an input tensor that was unused"),
        every_input_used("fused"),
    ):
        warnings.warn("Received an input tensor that was unused. (index=3)", UserWarning, stacklevel=1)
