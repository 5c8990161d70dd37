"""The CUDA backend's decisions, which need no GPU, and its rewriting of programs, which computes the same on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from pipeline.backends.backend import Failure, Precision, Programs, Spec
from pipeline.backends.cuda import make
from pipeline.backends.cuda_fusion import export_fused
from pipeline.capacity import Capacity
from pipeline.errors import DeviceUnavailable
from pipeline.stages import Layout


def spec(precision: Precision = Precision.BF16) -> Spec:
    """What is to be compiled."""
    return Spec("cuda", precision, Layout.FUSED, (1, 8), Capacity(16, 128))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that there are so many GPUs of a compute capability."""

    def pretend(count: int, capability: tuple[int, int] = (9, 0)) -> None:
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some Card")

    return pretend


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), Failure.RETRY),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), Failure.DEVICE_LOST),
        (RuntimeError("CUDA error: unspecified launch failure"), Failure.DEVICE_LOST),
        (RuntimeError("CUDA error: device-side assert triggered"), Failure.DEVICE_LOST),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), Failure.DEVICE_LOST),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), Failure.DEVICE_LOST),
    ],
)
def test_errors_are_told_apart(error: Exception, meaning: Failure) -> None:
    """Only a shortage of memory passes."""
    assert make().classify(error) is meaning


def test_int8_is_refused_with_what_to_use() -> None:
    """It would be no gain."""
    refusal = make().refusal(spec(Precision.INT8))
    assert refusal is not None
    assert "--precision bf16" in refusal


def test_a_machine_that_has_what_it_takes_is_not_refused(gpus: Any) -> None:
    """A GPU of compute capability 9.0."""
    gpus(2)
    assert make().refusal(spec()) is None


@pytest.mark.parametrize(
    ("count", "capability", "core", "says"),
    [
        (0, (9, 0), 0, "no NVIDIA GPU here"),
        (1, (9, 0), 1, "there is no cuda:1, only 1 GPU: use cuda:0"),
        (4, (9, 0), 7, "there is no cuda:7, only 4 GPUs: use cuda:0 to cuda:3"),
        (1, (7, 5), 0, "7.5) has no bf16, which came with 8.0: use --precision fp32"),
    ],
)
def test_what_is_not_there_is_said(gpus: Any, count: int, capability: tuple[int, int], core: int, says: str) -> None:
    """No GPU, no such GPU, too old a GPU: each its own sentence."""
    gpus(count, capability)
    with pytest.raises(DeviceUnavailable, match=says.replace("(", r"\(").replace(")", r"\)")):
        make().load(Programs(spec(), {}, Path()), core)


def test_a_build_without_cuda_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's CPU build."""
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceUnavailable, match="built without CUDA"):
        make().load(Programs(spec(), {}, Path()), 0)
    with pytest.raises(DeviceUnavailable, match="built without CUDA"):
        make().versions()


class _Block(nn.Module):
    """One of each thing that is rewritten: layers of one input, a mask, residual sums and norms, GELU, the decoder's end."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.grow, self.shrink = (nn.Linear(*sizes) for sizes in [(16, 16)] * 3 + [(16, 32), (32, 16)])
        self.first, self.second = nn.LayerNorm(16), nn.LayerNorm(16)
        self.positions = nn.Parameter(torch.randn(1, 3, 16))
        self.vocabulary = nn.Linear(16, 19)

    def forward(self, x_BTC: Tensor, segments_T: Tensor) -> Tensor:
        mask_TT = segments_T[:, None] == segments_T[None, :]
        normed = self.first(x_BTC + self.positions)
        mixed = nn.functional.scaled_dot_product_attention(self.q(normed), self.k(normed), self.v(normed), attn_mask=mask_TT)
        x_BTC = normed + mixed
        y_BTC = self.second(x_BTC)
        logits_BTV = self.vocabulary(x_BTC + self.shrink(nn.functional.gelu(self.grow(y_BTC)))).float()
        words_BT2 = segments_T.long()[:, None].expand(logits_BTV.shape[0], -1, 2)
        scores_BT2: Tensor = logits_BTV.gather(-1, words_BT2) - logits_BTV.logsumexp(-1, keepdim=True)
        return scores_BT2


def test_a_rewritten_program_computes_the_same() -> None:
    """At batch sizes other than the exported one."""
    torch.manual_seed(0)
    block = _Block().eval()
    segments_T = torch.tensor([0, 0, 1], dtype=torch.int32)
    with torch.no_grad():
        program = export_fused(block, (torch.randn(2, 3, 16), segments_T), ({0: Dim("batch", min=1, max=8)}, {}))
        for batch in (1, 5):
            x_BTC = torch.randn(batch, 3, 16)
            torch.testing.assert_close(program.module()(x_BTC, segments_T), block(x_BTC, segments_T), atol=1e-5, rtol=1e-5)


def test_a_rewritten_program_is_smaller() -> None:
    """What was there to be joined is joined."""
    with torch.no_grad():
        inputs = (torch.randn(2, 3, 16), torch.zeros(3, dtype=torch.int32))
        program = export_fused(_Block().eval(), inputs, ({0: Dim("batch", min=1, max=8)}, {}))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called.count("aten.linear.default") == 3  # q, k and v are one; one before no GELU; the vocabulary
    assert called.count("aten._addmm_activation.default") == 1
    assert called.count("pawsight.add_layer_norm.default") == 2
    assert not {"aten.gelu.default", "aten.layer_norm.default", "aten.logsumexp.default"} & set(called)
    weights = [name for name in program.state_dict if name.endswith("weight")]
    assert len(weights) == 6  # merged, grow, shrink, vocabulary, two norms: none is stored twice
    assert all(len(program.state_dict[name]) % 8 == 0 for name in weights)
