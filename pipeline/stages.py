"""The parts of the model that are compiled, and how their programs are joined again.

Layout `fused` is one graph; `components` are three, as in the AWS post: each is compiled and saved on its own, and what passes
between them crosses the boundary of a program.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pipeline.blip import BlipVqa
from pipeline.capacity import Capacity

Program: TypeAlias = Callable[..., Tensor]
"""A compiled stage: tensors in, one tensor out."""


class Layout(StrEnum):
    """How the model is cut."""

    FUSED = "fused"
    COMPONENTS = "components"


class Stage(StrEnum):
    """A part that is compiled as one graph."""

    FUSED = "fused"
    IMAGE = "image-encoder"
    QUESTION = "text-encoder"
    ANSWER = "text-decoder"


STAGES: Mapping[Layout, tuple[Stage, ...]] = {
    Layout.FUSED: (Stage.FUSED,),
    Layout.COMPONENTS: (Stage.IMAGE, Stage.QUESTION, Stage.ANSWER),
}
READS_QUESTIONS = frozenset({Stage.FUSED, Stage.QUESTION, Stage.ANSWER})
READS_FRAMES = frozenset(Stage)


@dataclass(frozen=True, slots=True)
class Shapes:
    """The model's own sizes that the boundaries between stages take."""

    side: int
    """Pixels."""
    image_tokens: int
    width: int
    """Channels of image tokens and question states."""

    @classmethod
    def of(cls, blip: BlipVqa) -> "Shapes":
        """Read them off a model."""
        vision = blip.image.vision_model.config
        tokens = (vision.image_size // vision.patch_size) ** 2 + 1
        return cls(side=vision.image_size, image_tokens=tokens, width=vision.hidden_size)


def module(blip: BlipVqa, stage: Stage) -> nn.Module:
    """The part of the model that a stage is."""
    parts = {Stage.FUSED: blip, Stage.IMAGE: blip.image, Stage.QUESTION: blip.question, Stage.ANSWER: blip.answer}
    return parts[stage]


def example(stage: Stage, shapes: Shapes, bucket: int, size: Capacity, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Inputs of a stage of the given sizes, for tracing.

    Args:
        stage: whose inputs.
        shapes: the model's.
        bucket: frames.
        size: slots and tokens.
        dtype: of what passes between stages.
    """
    frames = torch.zeros(bucket, shapes.side, shapes.side, 3, dtype=torch.uint8)
    image = torch.zeros(bucket, shapes.image_tokens, shapes.width, dtype=dtype)
    states = torch.zeros(bucket, size.tokens, shapes.width, dtype=dtype)
    tokens = tuple(torch.zeros(size.tokens, dtype=torch.int32) for _ in range(3))
    slots = tuple(torch.zeros(size.slots, dtype=torch.int32) for _ in range(4))
    targets = torch.zeros(size.slots, 2, dtype=torch.int32)
    return {
        Stage.FUSED: (frames, *tokens, *slots, targets),
        Stage.IMAGE: (frames,),
        Stage.QUESTION: (image, *tokens),
        Stage.ANSWER: (states, tokens[2], *slots, targets),
    }[stage]


def dynamic_axes(stage: Stage, batch: object, tokens: object, slots: object) -> tuple[dict[int, object], ...]:
    """Axes of each input of a stage that vary, as `torch.export` wants them, each given the size's name."""
    by_batch, by_tokens, by_slots = {0: batch}, {0: tokens}, {0: slots}
    return {
        Stage.FUSED: (by_batch, *[by_tokens] * 3, *[by_slots] * 5),
        Stage.IMAGE: (by_batch,),
        Stage.QUESTION: (by_batch, *[by_tokens] * 3),
        Stage.ANSWER: ({0: batch, 1: tokens}, by_tokens, *[by_slots] * 5),
    }[stage]


def join(programs: Mapping[Stage, Program]) -> Program:
    """Join the programs of a layout into one of frames and the eight question inputs."""
    if Stage.FUSED in programs:
        return programs[Stage.FUSED]
    image, question, answer = (programs[stage] for stage in STAGES[Layout.COMPONENTS])

    def run(frames: Tensor, *questions: Tensor) -> Tensor:
        return answer(question(image(frames), *questions[:3]), *questions[2:])

    return run
