"""BLIP's layers as the CPU runs them fastest, one set for each precision, out of operators that `torch.export` can save.

What is behind the choices was measured on two AMD Zen 4 cores with the sizes of blip-vqa-base, 577 image tokens a frame:

- float32: oneDNN's matrix product called by name is 5-30 % faster than `F.linear`, which goes to MKL, and takes GELU along.
- bfloat16 and int8: `scaled_dot_product_attention` runs at 110-130 GFLOP/s in bfloat16; one head after the other, by plain
  products whose scores stay in the cache, at 180-220.
- int8: `torch._int_mm` with one scale per token and one per output channel. oneDNN's fused int8 layer saves 5 % more but has one
  scale for the whole batch: what else is in the batch, padding even, would then change an answer.
- The residual stream, normalisations, the patch embedding and the vocabulary head, from whose logits the share of yes and no
  is read, stay float32 in every precision.

Legend: B frames, T tokens, K tokens attended to, C channels, H heads, c channels of a head, I inputs and O outputs of a layer,
M rows: all tokens of all frames.
"""

import copy
import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.blip import ImageEncoder

Precision: TypeAlias = Literal["fp32", "bf16", "int8"]
Activation: TypeAlias = Literal["none", "gelu"]
Lowered = TypeVar("Lowered", bound=nn.Module)

_HEAD = "cls"
"""The child of the text decoder that holds the vocabulary head."""
_ATTEND = "attend"
"""The child of a stage that mixes values; called as `HalfAttention` is."""
_KEYS_VALUES = "keys_values"
"""The child of a text stage's layers that reads keys and values; called as `Int8KeysValues` is."""
_ACTIVATED = (("fc1", "activation_fn"), ("dense", "intermediate_act_fn"))
"""Names, in BLIP's modules, of a linear layer and of the activation that alone reads it: vision and text."""
_LAST_READERS = frozenset({"qkv", "fc1", "fc2"})
"""The vision model's linear layers whose input, a normalisation's or an activation's, nothing else reads."""
_BITS_7 = 127.0
"""Largest magnitude of an int8 that has a negative counterpart."""
_SILENCE = 1e-12
"""Magnitude below which a token's activations are zero: its scale would divide by nothing."""


class OneDnnLinear(nn.Module):
    """A linear layer, with its activation where it has one, as one oneDNN call in float32 or bfloat16."""

    def __init__(self, linear: nn.Linear, activation: Activation, dtype: torch.dtype) -> None:
        """Take over the weights of `linear`: its own if they are of `dtype` already, else copies."""
        super().__init__()
        self.weight = _as_type(linear.weight, dtype)
        bias_O: Any = linear.bias  # None without one, whatever its type says
        self.bias = None if bias_O is None else _as_type(bias_O, dtype)
        self.activation = activation

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Map (..., I) of any float type to (..., O) of the weights' type."""
        algorithm = "none" if self.activation == "gelu" else ""  # GELU by the error function, not by tanh
        arguments = [None]  # read by neither activation; torch.export cannot save an empty list
        fused: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - public under no other name
        return fused(x_BTI.to(self.weight.dtype), self.weight, self.bias, self.activation, arguments, algorithm)


def _as_type(parameter: Any, dtype: torch.dtype) -> nn.Parameter:
    """Keep a parameter of the type as it is: the vocabulary head's weight is the word embeddings', and is saved once."""
    return parameter if parameter.dtype == dtype else nn.Parameter(parameter.detach().to(dtype), requires_grad=False)


class Int8Linear(nn.Module):
    """A linear layer over int8 weights and activations: one scale per output channel, one per token as it comes."""

    def __init__(self, linear: nn.Linear, activation: Activation) -> None:
        """Quantise the weights of `linear`, symmetrically, to the largest of each output channel."""
        super().__init__()
        weight_OI = linear.weight.detach().to(torch.float32)
        scale_O = weight_OI.abs().amax(1).clamp_min(_SILENCE) / _BITS_7
        bias_O: Any = linear.bias
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor
        self.register_buffer("weight", (weight_OI / scale_O[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale_O / _BITS_7)  # of a product: a token's own factor is its largest magnitude
        self.register_buffer("bias", torch.zeros_like(scale_O) if bias_O is None else bias_O.detach().to(torch.float32))
        self.activation = activation
        self.is_last_reader = False
        """Whether nothing reads the input behind this layer, which then may overwrite it."""

    def forward(self, x_BTI: Tensor) -> Tensor:
        """Map (..., I) of any float type to float32 (..., O)."""
        return self.of_quantised(*quantised(x_BTI, may_overwrite=self.is_last_reader))

    def of_quantised(self, x_BTI: Tensor, largest_BT1: Tensor) -> Tensor:
        """Map what `quantised` gave to float32 (..., O)."""
        sums_MO = torch._int_mm(x_BTI.flatten(0, -2), self.weight.t())  # noqa: SLF001 - int8 product's only name
        # In place from here on, the sums' own bytes too: another buffer of the widest layer's output would fall out of the cache.
        y_BTO = sums_MO.view(torch.float32).copy_(sums_MO).view(*x_BTI.shape[:-1], -1).mul_(largest_BT1)
        torch.addcmul(self.bias, y_BTO, self.scale, out=y_BTO)
        if self.activation == "gelu":
            torch.ops.aten.gelu_(y_BTO)
        return y_BTO


def quantised(x_BTI: Tensor, *, may_overwrite: bool = False) -> tuple[Tensor, Tensor]:
    """Quantise each token, of any float type, to its own largest magnitude.

    Returns:
        int8 (..., I), and the magnitude, float32 (..., 1).
    """
    may_overwrite = may_overwrite or x_BTI.dtype != torch.float32  # what is converted is a copy
    x_BTI = x_BTI.to(torch.float32)
    # Both extremes read faster than the magnitudes could be written and read back.
    largest_BT1 = torch.maximum(x_BTI.amax(-1, keepdim=True), -x_BTI.amin(-1, keepdim=True)).clamp_min(_SILENCE)
    factor_BT1 = _BITS_7 / largest_BT1
    scaled_BTI = x_BTI.mul_(factor_BT1) if may_overwrite else x_BTI * factor_BT1
    return scaled_BTI.round_().to(torch.int8), largest_BT1


class Int8KeysValues(nn.Module):
    """Keys and values of a context that is quantised once for all layers that read it."""

    def prepare(self, context_BKC: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise the context."""
        return quantised(context_BKC)

    def forward(self, weights: Any, prepared: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Read one layer's keys and values, float32 (B, K, C) each."""
        return weights.key.of_quantised(*prepared), weights.value.of_quantised(*prepared)


class HalfAttention(nn.Module):
    """Attention by plain products in bfloat16."""

    def __init__(self, *, is_head_by_head: bool) -> None:
        """Choose what the scores do not leave the cache for.

        Args:
            is_head_by_head: take one head of all frames after the other: right where one head's scores fill the cache. Few
                queries are taken in one product instead, for its calls would cost more than its sums.
        """
        super().__init__()
        self.is_head_by_head = is_head_by_head

    def forward(self, q_BTC: Tensor, k_BKC: Tensor, v_BKC: Tensor, heads: int, mask_TK: Tensor | None) -> Tensor:
        """Mix the values.

        Args:
            q_BTC: queries of all heads side by side, any float type, not scaled.
            k_BKC: keys.
            v_BKC: values.
            heads: H.
            mask_TK: bool, False where a query must not see a key; every query sees one at least.

        Returns:
            bfloat16 (B, T, C).
        """
        scaled_BTC = q_BTC.to(torch.bfloat16) * (q_BTC.shape[-1] // heads) ** -0.5  # of 64 channels: 1/8, which rounds nothing
        q_HBTc, k_HBKc, v_HBKc = _heads_first(scaled_BTC, heads), _heads_first(k_BKC, heads), _heads_first(v_BKC, heads)
        if not self.is_head_by_head:
            mixed_NTc = _mix(q_HBTc.flatten(0, 1), k_HBKc.flatten(0, 1), v_HBKc.flatten(0, 1), mask_TK)
            return mixed_NTc.view(q_HBTc.shape).permute(1, 2, 0, 3).flatten(2)
        by_head = zip(q_HBTc.unbind(), k_HBKc.unbind(), v_HBKc.unbind(), strict=True)
        return torch.cat([_mix(q_BTc, k_BKc, v_BKc, mask_TK) for q_BTc, k_BKc, v_BKc in by_head], -1)


def _mix(q_NTc: Tensor, k_NKc: Tensor, v_NKc: Tensor, mask_TK: Tensor | None) -> Tensor:
    """Mix the values of N independent sequences."""
    scores_NTK = torch.bmm(q_NTc, k_NKc.transpose(1, 2))
    if mask_TK is not None:
        scores_NTK = scores_NTK.masked_fill(~mask_TK, float("-inf"))
    return torch.bmm(scores_NTK.softmax(-1), v_NKc)


def _heads_first(x_BTC: Tensor, heads: int) -> Tensor:
    """Give each head one block of memory, (H, B, T, c) bfloat16: a product copies what it gets in pieces.

    Converted first and moved then: both at once take twice as long.
    """
    return x_BTC.to(torch.bfloat16).view(*x_BTC.shape[:2], heads, -1).permute(2, 0, 1, 3).contiguous()


def lower(blip: Lowered, precision: Precision) -> Lowered:
    """Rebuild a model of the CPU's fast layers.

    Args:
        blip: stages over BLIP's modules, float32, left as they are.
        precision: of the linear layers and the attention; the boundaries between stages stay float32.

    Returns:
        The same structure in other modules. Weights that stay float32 are shared with `blip`, not copied.
    """
    tensors = {id(tensor): tensor for tensor in (*blip.parameters(), *blip.buffers())}
    lowered = copy.deepcopy(blip, tensors)  # tensors that the copier believes to have copied stay where they are
    _replace(lowered, precision)
    return lowered


def missing_instructions(precision: Precision) -> str | None:
    """Say why this processor must not run a precision, or None: without its instructions it is slower than float32."""
    has = _capabilities()
    needed = {
        "fp32": (),
        "bf16": (("avx512_bf16", "AVX-512 BF16"), ("amx_bf16", "AMX BF16")),
        "int8": (("avx512_vnni", "AVX-512 VNNI"), ("avx_vnni", "AVX VNNI"), ("amx_int8", "AMX INT8")),
    }[precision]
    if not needed or any(has.get(flag) for flag, _ in needed):
        return None
    *others, last = (name for _, name in needed)
    names = f"{', '.join(others)} or {last}"
    return f"precision {precision} needs a processor with {names}, which this one lacks: use fp32"


def _capabilities() -> Mapping[str, Any]:
    """What the processor has, by the names of torch >= 2.10; torch 2.9, torch-neuronx's, tells these."""
    if hasattr(torch.cpu, "get_capabilities"):
        told: Mapping[str, Any] = torch.cpu.get_capabilities()
        return told
    untyped: Any = torch.cpu
    return {
        "avx512_bf16": untyped._is_avx512_bf16_supported(),  # noqa: SLF001 - torch 2.9's only way
        "avx512_vnni": untyped._is_vnni_supported(),  # noqa: SLF001
        "amx_int8": untyped._is_amx_tile_supported(),  # noqa: SLF001
        "amx_bf16": untyped._is_amx_tile_supported(),  # noqa: SLF001
    }


def keep_freed_memory() -> bool:
    """Make this process's allocator keep what is freed: else every layer's buffers are mapped and faulted in anew.

    That costs int8 a third of its time and more on wide layers. Process-wide, harmless to repeat; False where the allocator is
    not glibc's, and nothing is changed. Threads share one arena from then on: others would give their memory back all the same.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    largest = 32 << 20  # that glibc allows
    return all(mallopt(*setting) for setting in ((mmap_threshold, largest), (trim_threshold, 2**31 - 1), (arena_max, 1)))


def attends_in_half(precision: Precision) -> bool:
    """Whether a model that is lowered here attends in bfloat16: int8's does where the processor is fast at it."""
    return precision != "fp32" and missing_instructions("bf16") is None


def _replace(module: nn.Module, precision: Precision, *, is_head: bool = False) -> None:
    is_half = attends_in_half(precision)
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            layer = _layer(child, _take_activation(module, name), "fp32" if is_head else precision)
            if isinstance(layer, Int8Linear):
                layer.is_last_reader = name in _LAST_READERS
            setattr(module, name, layer)
        elif name == _ATTEND:
            setattr(module, name, HalfAttention(is_head_by_head=isinstance(module, ImageEncoder)) if is_half else child)
        elif name == _KEYS_VALUES and precision == "int8":
            setattr(module, name, Int8KeysValues())
        else:
            _replace(child, precision, is_head=is_head or name == _HEAD)


def _layer(linear: nn.Linear, activation: Activation, precision: Precision) -> nn.Module:
    if precision == "int8":
        return Int8Linear(linear, activation)
    return OneDnnLinear(linear, activation, torch.bfloat16 if precision == "bf16" else torch.float32)


def _take_activation(module: nn.Module, linear: str) -> Activation:
    """Take the activation behind a linear layer out of a module, if there is one that can be fused."""
    for name, activation in _ACTIVATED:
        if name == linear and _is_gelu(getattr(module, activation, None)):
            setattr(module, activation, nn.Identity())
            return "gelu"
    return "none"


def _is_gelu(activation: Callable[[Tensor], Tensor] | None) -> bool:
    """Judge by what it computes: transformers' own class cannot be named without importing transformers."""
    probe = torch.linspace(-4, 4, 33)
    return activation is not None and torch.allclose(activation(probe), functional.gelu(probe), rtol=0, atol=1e-6)
