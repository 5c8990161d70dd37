"""Lowers the Neuron graphs with torch_xla and says what came out, as JSON. Runs in the lowering environment, not in .venv.

torch_neuronx.trace records with torch_xla, too: what falls back to the host here would leave the compiled program there.
Weights are random at the widths of Salesforce/blip-vqa-base; a second layer adds the same operations again, so two are enough.
"""

import copy
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
import torch_xla
from torch import Tensor, nn
from torch_xla.debug import metrics
from transformers import BlipConfig, BlipForQuestionAnswering

from pipeline import stages
from pipeline.backends.neuron_graph import PlainAttention
from pipeline.blip import BlipVqa
from pipeline.capacity import Capacity
from pipeline.checkpoint import fuse
from pipeline.packing import QuestionInputs, Vocabulary, pack
from pipeline.preprocess import ImageSpec
from pipeline.questions import Question, QuestionSet
from pipeline.stages import READS_QUESTIONS, Stage

BUCKET = 2
RUNGS = (Capacity(8, 72), Capacity(16, 128))
LAYERS = 2
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
_DEFINED = re.compile(r"= (\(?)([a-z]+\d*)\[([\d,<=]*)\]\S* .*?([a-z][a-z0-9-]*)\(")
_TUPLE = re.compile(r"= \(.*?\) ([a-z][a-z0-9-]*)\(")


def main() -> None:
    """Lower every stage at every rung, then graphs that must be found wanting."""
    torch.manual_seed(0)
    blip = model()
    frames = torch.randint(0, 256, (BUCKET, blip.image.vision_model.config.image_size, 384, 3), dtype=torch.uint8)
    report: dict[str, Any] = {"torch": torch.__version__, "graphs": {}, "controls": {}}
    for rung in RUNGS:
        for stage, inputs in stage_inputs(blip, frames, asked(rung)).items():
            name = f"{stage}-{rung}" if stage in READS_QUESTIONS else str(stage)
            if name not in report["graphs"]:
                report["graphs"][name] = lowered(stages.module(blip, stage), inputs)
    report["controls"] = {name: lowered(module, inputs) for name, (module, inputs) in controls().items()}
    json.dump(report, sys.stdout)


def model() -> BlipVqa:
    """Few layers of the base model, random."""
    config = BlipConfig(
        vision_config={"num_hidden_layers": LAYERS}, text_config={"num_hidden_layers": LAYERS, "bos_token_id": 30522}
    )
    vqa = BlipForQuestionAnswering(config).eval()
    return fuse(vqa, ImageSpec(size=config.vision_config.image_size, mean=MEAN, std=STD))


def asked(rung: Capacity) -> QuestionInputs:
    """As many questions of eight tokens as the rung has slots, padded to it."""
    vocabulary = Vocabulary(
        tokenize=lambda text: [101, *range(2000, 2006), 102] if "?" in text else [101, 2748 + len(text), 102],
        start=30522, unknown=100, max_positions=512,
    )  # fmt: skip
    questions = QuestionSet(tuple(Question(f"asked_{index}", "is it?") for index in range(rung.slots)))
    return pack(questions, vocabulary).inputs.padded(rung)


def stage_inputs(blip: BlipVqa, frames: Tensor, questions: QuestionInputs) -> dict[Stage, tuple[Tensor, ...]]:
    """What each stage is given, made by the stages before it."""
    arrays = tuple(map(torch.from_numpy, questions.arrays))
    with torch.no_grad():
        image = blip.image(frames)
        states = blip.question(image, *arrays[:3])
    return {
        Stage.FUSED: (frames, *arrays),
        Stage.IMAGE: (frames,),
        Stage.QUESTION: (image, *arrays[:3]),
        Stage.ANSWER: (states, *arrays[2:]),
    }


class Graph(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        """Call it."""
        return self.function(*inputs)


def controls() -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Graphs with one fault each, by which the checks are checked."""
    x, wide = torch.rand(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
    return {
        "falls back": (Graph(lambda x: torch.logaddexp(x, x * 2)), (x,)),
        "bicubic": (Graph(lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bicubic")), (x,)),
        "dynamic": (Graph(lambda x: x.nonzero() * 2), (x,)),
        "sorts": (Graph(lambda x: x.sort(-1).values), (x,)),
        "double": (Graph(lambda x: x.double().sum()), (x,)),
        "int64": (Graph(lambda x, ids: x[ids]), (x, wide)),
        "unused": (Graph(lambda x, _: x + 1), (x, wide.int())),
        "safe softmax": (Graph(lambda x: nn.functional.scaled_dot_product_attention(x, x, x)), (x,)),
    }


def lowered(module: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """Lower one graph and run it on XLA's CPU."""
    started = time.monotonic()
    with torch.no_grad():
        wanted = module(*inputs)
    device = torch_xla.device()
    there, given = copy.deepcopy(module).to(device), [tensor.to(device) for tensor in inputs]
    torch_xla.sync()
    metrics.clear_all()
    is_control = isinstance(module, Graph)  # whose attention is left as torch has it
    with torch.no_grad():
        output = there(*given) if is_control else _plainly(there, given)
    hlo = torch_xla._XLAC._get_xla_tensors_hlo([output])
    fallbacks = [name for name in metrics.counter_names() if name.startswith("aten::")]
    difference = (output.cpu().double() - wanted.double()).abs().max().item() if output.numel() else 0.0
    return _read(hlo) | {
        "fallbacks": fallbacks,
        "inputs": [_described(tensor) for tensor in inputs],
        "difference": difference,
        "seconds": round(time.monotonic() - started, 1),
    }


def _plainly(module: nn.Module, inputs: list[Tensor]) -> Tensor:
    with PlainAttention():
        output: Tensor = module(*inputs)
    return output


def _read(hlo: str) -> dict[str, Any]:
    entry = hlo[hlo.index("\nENTRY") :]
    operations = Counter(found[4] for found in _DEFINED.finditer(hlo)) + Counter(_TUPLE.findall(hlo))
    return {
        "operations": dict(sorted(operations.items())),
        "dtypes": dict(Counter(found[2] for found in _DEFINED.finditer(hlo))),
        "parameters": re.findall(r"= ([a-z]+\d*\[[\d,<=]*\])\S* parameter\(", entry),
        "is_dynamic": "<=" in hlo,
    }


def _described(tensor: Tensor) -> str:
    names = {torch.float32: "f32", torch.int32: "s32", torch.uint8: "u8", torch.int64: "s64"}
    return f"{names[tensor.dtype]}[{','.join(map(str, tensor.shape))}]"


if __name__ == "__main__":
    main()
