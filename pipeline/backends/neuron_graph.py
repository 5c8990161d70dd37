"""How the graph is handed to the Neuron compiler: attention spelled out, and nothing traced that would be dropped."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from pipeline.errors import CompileFailed

_HIDDEN = -1e9
"""Score of what a token must not see: exp() of it is exactly 0 in float32 and bfloat16, and unlike -inf it is a number."""
_UNUSED = "Received an input tensor that was unused"
"""What torch_neuronx's hlo_conversion.py warns of before it drops an input (aws-neuron-sdk issue 906)."""


class PlainAttention(TorchFunctionMode):
    """Within it, `scaled_dot_product_attention` is matmul, softmax, matmul.

    torch's own decomposition protects rows in which everything is masked, which costs a compare, a reduction and a select over
    every attention matrix (the image's, too, which has no mask) and hides the softmax from a compiler that looks for it. No row
    of these graphs is masked as a whole: every token sees itself, and unused slots see all.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Let through everything else."""
        del types
        called = _attention if func is scaled_dot_product_attention else func
        return called(*args, **(kwargs or {}))


def _attention(
    query_BHTc: Tensor, key_BHKc: Tensor, value_BHKc: Tensor, attn_mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Stand in for torch's function; any other of its arguments is an error."""
    scores_BHTK = (query_BHTc * (scale or query_BHTc.shape[-1] ** -0.5)) @ key_BHKc.transpose(-2, -1)
    if attn_mask is not None:
        # masked_fill would hand the number over as a float64 (found by tests/device)
        hidden = torch.full((), _HIDDEN, dtype=scores_BHTK.dtype, device=scores_BHTK.device)
        scores_BHTK = torch.where(attn_mask, scores_BHTK, hidden)
    return scores_BHTK.softmax(-1) @ value_BHKc


@contextmanager
def every_input_used(component: str) -> Iterator[None]:
    """Refuse a trace that drops an input: whether the program would then still take it is not documented.

    Raises:
        CompileFailed: torch_neuronx warned of an unused input.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    dropped = [str(warning.message) for warning in caught if _UNUSED in str(warning.message)]
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if dropped:
        msg = f"{component}: {'; '.join(dropped)}. This torch_neuronx cannot be used with this graph: report it"
        raise CompileFailed(msg)
