"""Rewrites a stage for the GPU before it is exported, so that fewer and larger steps are left. The artifact holds the result.

PyTorch's own kernels leave a quarter of the time to memory traffic between matrix products, and to launches too small for the
card. So in bf16 linear layers that read the same tensor become one; GELU is computed where its matrix product ends; a residual
sum and its layer norm are one pass over memory; a mask is made additive once, not in every layer; the decoder ends in one
log-softmax. In every precision the patch
embedding's weights normalise the pixels, so that frames stay bytes until they are multiplied.

Legend: B frames, S image side, P image tokens, K bytes of a patch, C channels, R rows (tokens of all frames).
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, getitem
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export
from torch.fx import GraphModule, Node
from torch.nn.functional import linear, pad

from pipeline.backends.cuda_kernels import MIDDLE, PACK, patches
from pipeline.blip import BlipVqa, ImageEncoder

_ATEN = torch.ops.aten
_MERGED = 8
"""Linear layers joined at most: the keys and values of four layers. More gain nothing and take 113 MB per 32 frames and layer."""


class _FrameEmbeddings(nn.Module):
    """Patch embedding of bytes: one matrix product whose weights hold the normalisation, whose first row is the class token."""

    def __init__(self, encoder: ImageEncoder) -> None:
        super().__init__()
        old = encoder.vision_model.embeddings
        kernel = old.patch_embedding.weight.detach().double()  # float64: folded once, so rounded once
        self.patch = kernel.shape[-1]
        mean_3, std_3 = (buffer.double().flatten() for buffer in (encoder.mean, encoder.std))
        weight = kernel / (255 * std_3)[:, None, None]
        bias_C = old.patch_embedding.bias.detach().double() + torch.einsum("cijk,i->c", kernel, (MIDDLE / 255 - mean_3) / std_3)
        positions_1PC = old.position_embedding.detach().double().clone()
        positions_1PC[:, 1:] += bias_C
        positions_1PC[:, :1] += old.class_embedding.detach().double()
        self.weight = nn.Parameter(weight.permute(0, 2, 3, 1).flatten(1).float(), requires_grad=False)
        self.positions_1PC = nn.Parameter(positions_1PC.float(), requires_grad=False)

    def forward(self, frames_BSS3: Tensor) -> Tensor:
        """Embed uint8 frames to (B, P, C)."""
        patches_BPK = patches(frames_BSS3, self.patch).to(self.weight.dtype)
        return linear(patches_BPK, self.weight) + self.positions_1PC


class _FrameEncoder(ImageEncoder):
    """The image encoder without a normalisation of its own."""

    def __init__(self, encoder: ImageEncoder) -> None:
        nn.Module.__init__(self)  # without the parent's mean and std: they are in the weights
        self.vision_model, self.attend = encoder.vision_model, encoder.attend
        self.vision_model.embeddings = _FrameEmbeddings(encoder)

    def forward(self, frames_BSS3: Tensor) -> Tensor:
        """See `ImageEncoder`; in the model's own dtype."""
        return self.encode(frames_BSS3)


def fold_normalisation(blip: BlipVqa) -> BlipVqa:
    """Move the normalisation of pixels and the class token into the weights of a float32 model's patch embedding, in place."""
    blip.image = _FrameEncoder(blip.image)
    return blip


def export_fused(stage: nn.Module, inputs: Sequence[Tensor], sizes: tuple[Mapping[int, object], ...]) -> ExportedProgram:
    """Export a bf16 stage in its rewritten form.

    Args:
        stage: to export.
        inputs: of any size within the limits.
        sizes: the axes that vary, as `pipeline.stages.dynamic_axes` gives them.
    """
    plain = export(stage, tuple(inputs), dynamic_shapes=sizes).module(check_guards=False)
    assert isinstance(plain, GraphModule), type(plain)
    for node in _calls(plain, _ATEN._assert_tensor_metadata.default):  # noqa: SLF001  (an operator's public name)
        plain.graph.erase_node(node)  # what export claims of dtypes would keep replaced layers alive
    for rewrite in (_merge_linears, _fuse_gelu, _fuse_norms, _share_masks, _fuse_log_probabilities):
        rewrite(plain)
    plain.graph.eliminate_dead_code()
    plain.delete_all_unused_submodules()  # the layers that were merged: their weights would be stored beside the merged ones
    plain.recompile()
    return export(plain, tuple(inputs), dynamic_shapes=sizes)


def _calls(program: GraphModule, target: Any) -> list[Node]:
    return list(program.graph.find_nodes(op="call_function", target=target))


def _replace(program: GraphModule, old: Node, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Put another call in a node's place; the node is left without users."""
    with program.graph.inserting_before(old):
        new = program.graph.call_function(target, arguments)
    new.meta["val"] = old.meta["val"]
    old.replace_all_uses_with(new)


def _merge_linears(program: GraphModule) -> None:
    """Turn linear layers of one input into one layer, its output into views."""
    by_input: dict[object, list[Node]] = {}
    for node in _calls(program, _ATEN.linear.default):
        by_input.setdefault(node.args[0], []).append(node)
    for layers in by_input.values():
        for first in range(0, len(layers), _MERGED):
            _merge(program, layers[first : first + _MERGED])


def _merge(program: GraphModule, layers: list[Node]) -> None:
    parts = [_parameters(program, layer) for layer in layers]
    if len(layers) == 1 or {len(part) for part in parts} != {2}:
        return
    first = layers[0]
    kinds = zip(("weight", "bias"), zip(*parts, strict=True), strict=True)
    joined = [_keep(program, first, f"{first.name}_merged_{kind}", torch.cat(tensors)) for kind, tensors in kinds]
    with program.graph.inserting_before(first):
        merged = program.graph.call_function(_ATEN.linear.default, (first.args[0], *joined))
        widths = [part[0].shape[0] for part in parts]
        split = program.graph.call_function(_ATEN.split_with_sizes.default, (merged, widths, -1))
    for index, node in enumerate(layers):
        _replace(program, node, getitem, (split, index))


def _parameters(program: GraphModule, layer: Node) -> list[Tensor]:
    """Weight and bias of a linear layer; the weight alone if it has no bias."""
    return [attrgetter(str(argument.target))(program) for argument in layer.args[1:] if isinstance(argument, Node)]


def _keep(program: GraphModule, before: Node, name: str, tensor: Tensor) -> Node:
    """Give the program another parameter."""
    program.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    with program.graph.inserting_before(before):
        return program.graph.get_attr(name)


def _linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Linear layer and GELU in one kernel, which has the tanh form of GELU only: 7 % of bf16's own deviation (measured)."""
    flat_RC = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)  # noqa: SLF001  (the operator's public name)
    return flat_RC.view(*x.shape[:-1], -1)


def _fuse_gelu(program: GraphModule) -> None:
    for node in _calls(program, _ATEN.gelu.default):
        layer = node.args[0]
        if isinstance(layer, Node) and layer.target == _ATEN.linear.default and len(layer.users) == 1:
            _replace(program, node, _linear_gelu, layer.args)


def _fuse_norms(program: GraphModule) -> None:
    for node in _calls(program, _ATEN.layer_norm.default):
        total, shape, weight, bias, eps = node.args[:5]
        if not isinstance(total, Node) or total.target != _ATEN.add.Tensor or not _can_sum(total, shape):
            continue
        with program.graph.inserting_before(total):
            both = program.graph.call_function(torch.ops.pawsight.add_layer_norm.default, (*_ordered(total), weight, bias, eps))
        _replace(program, total, getitem, (both, 0))
        _replace(program, node, getitem, (both, 1))


def _ordered(total: Node) -> tuple[Node, Node]:
    """Operands of a sum, the larger first."""
    x, residual = (operand for operand in total.args if isinstance(operand, Node))
    return (x, residual) if x.meta["val"].shape == total.meta["val"].shape else (residual, x)


def _can_sum(total: Node, normed_shape: object) -> bool:
    """Whether the kernel takes this sum: whole vectors of channels, and only the leading axis repeated, if any."""
    if sum(isinstance(operand, Node) for operand in total.args) != 2 or total.kwargs:  # noqa: PLR2004  (the operands)
        return False
    x, residual = (operand.meta["val"] for operand in _ordered(total))
    same = residual.shape == x.shape or (residual.dim() == x.dim() and residual.shape == (1, *x.shape[1:]))
    return bool(same and x.shape == total.meta["val"].shape and normed_shape == [x.shape[-1]] and x.shape[-1] % PACK == 0)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return mask.new_zeros(mask.shape, dtype=dtype).masked_fill(~mask, float("-inf"))


def _share_masks(program: GraphModule) -> None:
    additive: dict[Node, Node] = {}
    for node in _calls(program, _ATEN.scaled_dot_product_attention.default):
        mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")  # noqa: PLR2004  (q, k, v, mask)
        if not isinstance(mask, Node) or mask.meta["val"].dtype is not torch.bool:
            continue
        if mask not in additive:
            with program.graph.inserting_after(mask):
                additive[mask] = program.graph.call_function(_additive, (mask, node.meta["val"].dtype))
        node.replace_input_with(mask, additive[mask])


def _log_probabilities(x_BDC: Tensor, weight_VC: Tensor, bias_V: Tensor, indices_BD2: Tensor) -> Tensor:
    return torch.log_softmax(linear(x_BDC, weight_VC, bias_V), -1, dtype=torch.float32).gather(-1, indices_BD2)


def _fuse_log_probabilities(program: GraphModule) -> None:
    """Turn the decoder's end into one log-softmax behind a vocabulary whose size suits the matrix units: 30,524 does not."""
    for normaliser in _calls(program, _ATEN.logsumexp.default):
        logits = normaliser.args[0]
        assert isinstance(logits, Node), logits
        layer = logits.args[0]
        assert isinstance(layer, Node), layer
        weight, bias = _parameters(program, layer)
        missing = -len(weight) % PACK
        start = next(node for node in program.graph.nodes if node.op == "call_function")
        words = _keep(program, start, f"{layer.name}_padded_weight", pad(weight, (0, 0, 0, missing)))
        offsets = _keep(program, start, f"{layer.name}_padded_bias", pad(bias, (0, missing), value=float("-inf")))
        for lookup in _calls(program, _ATEN.embedding.default):
            table = lookup.args[0]
            assert isinstance(table, Node), table
            if attrgetter(str(table.target))(program) is weight:  # BLIP ties them; stored twice, they would be 47 MB more
                lookup.replace_input_with(table, words)
        for scores in list(normaliser.users):
            chosen = scores.args[0]
            assert isinstance(chosen, Node), chosen
            _replace(program, scores, _log_probabilities, (layer.args[0], words, offsets, chosen.args[2]))
