"""The CPU's fast layers against the plain ones that they stand for, and through `torch.export` to another process's eyes."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export, load, save
from torch.nn.functional import gelu

from pipeline.backends.cpu_layers import (
    Activation,
    HalfAttention,
    Int8Linear,
    OneDnnLinear,
    Precision,
    keep_freed_memory,
    lower,
    missing_instructions,
)
from pipeline.blip import Attention, ImageEncoder
from tests.integration.tiny_checkpoint import tiny_model, tiny_tokenizer

WIDTH_IN, WIDTH_OUT, TOKENS = 96, 80, 33
ACTIVATIONS: tuple[Activation, ...] = ("none", "gelu")
MEAN_ERROR = {"fp32": 1e-6, "bf16": 4e-3, "int8": 1e-2}
"""Of values of standard deviation 1: float32 in another order, 8 bits of mantissa, 127 steps to the largest of a token."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Leave the machine's other cores alone, and take no gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(threads)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(*, has_bias: bool = True) -> nn.Linear:
    """A layer whose outputs have a standard deviation of 1 or so."""
    layer = nn.Linear(WIDTH_IN, WIDTH_OUT, bias=has_bias)
    layer.weight.copy_(normal(WIDTH_OUT, WIDTH_IN, seed=1) / WIDTH_IN**0.5)
    if has_bias:
        layer.bias.copy_(normal(WIDTH_OUT, seed=2) / 4)
    return layer


def fast(layer: nn.Linear, precision: Precision, activation: Activation = "none") -> nn.Module:
    """The layer that stands for it."""
    if precision == "int8":
        return Int8Linear(layer, activation)
    return OneDnnLinear(layer, activation, torch.bfloat16 if precision == "bf16" else torch.float32)


def image_encoder() -> ImageEncoder:
    """The vision model of a small checkpoint."""
    return ImageEncoder(tiny_model(tiny_tokenizer()).eval().vision_model, (0.5, 0.4, 0.3), (0.3, 0.2, 0.3))


def frames(count: int) -> Tensor:
    """Noise, uint8."""
    return torch.randint(0, 256, (count, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_layer_equals_linear(precision: Precision, activation: Activation, has_bias: bool) -> None:  # noqa: FBT001
    """Every fast layer computes what `nn.Linear` does, up to the rounding of its precision."""
    layer, x = linear(has_bias=has_bias), normal(2, TOKENS, WIDTH_IN)
    expected = gelu(layer(x)) if activation == "gelu" else layer(x)
    error = (fast(layer, precision, activation)(x).float() - expected).abs().mean()
    assert error < MEAN_ERROR[precision]
    assert precision == "fp32" or error > MEAN_ERROR["fp32"], "nothing was rounded"


def test_channels_of_different_sizes_keep_their_own_scale() -> None:
    """One scale per output channel: a large channel does not cost the others their precision."""
    layer, x = linear(has_bias=False), normal(1, TOKENS, WIDTH_IN)
    layer.weight[0] *= 100  # with one scale for all channels the others would round to a step or two
    others = (Int8Linear(layer, "none")(x) - layer(x))[..., 1:]
    assert others.abs().mean() < MEAN_ERROR["int8"]
    shared = layer.weight.abs().amax() / 127
    coarse = (x @ ((layer.weight / shared).round() * shared).T - layer(x))[..., 1:]
    assert coarse.abs().mean() > 10 * others.abs().mean()


@pytest.mark.parametrize("size", [1e4, 1e-30, 0.0])
def test_what_else_is_in_the_batch_changes_no_answer(size: float) -> None:
    """One scale per token: the other tokens and frames, however large, leave its outputs as they are, to the bit."""
    layer, x = Int8Linear(linear(), "none"), normal(2, TOKENS, WIDTH_IN)
    alone = layer(x)
    x[1, 1:] *= size
    beside = layer(x)
    assert torch.equal(beside[0], alone[0])
    assert torch.equal(beside[1, 0], alone[1, 0])
    assert beside.isfinite().all()


@pytest.mark.parametrize("is_head_by_head", [True, False])
@pytest.mark.parametrize("is_masked", [True, False])
def test_attention_equals_the_plain_one(is_head_by_head: bool, is_masked: bool) -> None:  # noqa: FBT001
    """Both forms, with and without a mask, within bfloat16's rounding."""
    q, k, v = (normal(2, tokens, 48, seed=seed) for tokens, seed in ((TOKENS, 1), (17, 2), (17, 3)))
    mask = (torch.arange(TOKENS)[:, None] + torch.arange(17)[None]) % 3 > 0 if is_masked else None
    mixed = HalfAttention(is_head_by_head=is_head_by_head)(q, k, v, 3, mask)
    torch.testing.assert_close(mixed.float(), Attention()(q, k, v, 3, mask), rtol=0, atol=0.02)


def test_a_stage_is_lowered_whole_and_left_as_it_was() -> None:
    """No linear layer is passed over, the boundary stays float32, and the original is untouched and shares its weights."""
    encoder, pictures = image_encoder(), frames(3)
    before = encoder(pictures)
    bounds: dict[Precision, float] = {"fp32": 1e-5, "bf16": 0.05, "int8": 0.1}
    for precision, bound in bounds.items():
        lowered = lower(encoder, precision)
        kinds = {type(module).__name__ for module in lowered.modules()}
        assert not kinds & {"Linear", "GELUActivation"}, "a layer or an activation was passed over"
        assert (lowered(pictures) - before).abs().mean() < bound * before.std()
        assert lowered(pictures).dtype is torch.float32
    assert torch.equal(encoder(pictures), before)
    assert (
        lower(encoder, "fp32").vision_model.encoder.layers[0].mlp.fc1.weight
        is encoder.vision_model.encoder.layers[0].mlp.fc1.weight
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_saved_program_takes_any_batch(precision: Precision, tmp_path: Path) -> None:
    """The layers survive `torch.export`, its file format and another batch size."""
    lowered = lower(image_encoder(), precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export speaks of its own internals
        save(export(lowered, (frames(2),), dynamic_shapes=({0: Dim("batch", min=1, max=8)},)), tmp_path / "program.pt2")
        program = load(tmp_path / "program.pt2").module()
    for count in (1, 2, 5, 8):
        torch.testing.assert_close(program(frames(count)), lowered(frames(count)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("precision", "flags", "missing"),
    [
        ("fp32", {}, None),
        ("bf16", {"avx512_bf16": True}, None),
        ("bf16", {"amx_bf16": True}, None),
        ("bf16", {"avx512_vnni": True}, "precision bf16 needs a processor with AVX-512 BF16 or AMX BF16"),
        ("int8", {"avx_vnni": True}, None),
        ("int8", {"avx512_bf16": True, "avx512_vnni": False}, "precision int8 needs a processor with AVX-512 VNNI, AVX VNNI or"),
    ],
)
def test_a_processor_without_the_instructions_is_refused(
    precision: Precision, flags: dict[str, bool], missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the instruction sets suffices; without any there is a sentence."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    sentence = missing_instructions(precision)
    assert (sentence is None) if missing is None else str(sentence).startswith(missing)


def test_int8_without_bfloat16_keeps_the_plain_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its instructions bfloat16 is emulated, slower than float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    assert isinstance(lower(image_encoder(), "int8").attend, Attention)


def test_the_allocator_can_be_told_twice() -> None:
    """A process may load several artifacts."""
    assert keep_freed_memory() == keep_freed_memory()
