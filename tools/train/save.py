"""Writes the checkpoint in Hugging Face format, float16, and the record of how it came to be beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BlipImageProcessorPil, BlipProcessor
from transformers.utils import logging

from tools.train.dataset import IMAGE_SIZE
from tools.train.evaluate import Score, mean_balanced
from tools.train.model import Vocabulary
from tools.train.trainer import Logged

WEIGHTS = "model.safetensors"
RECORD = "training.json"


@dataclass(frozen=True, slots=True)
class Record:
    """How a checkpoint was trained."""

    command: str
    date: str
    """ISO 8601, UTC."""
    seed: int
    pictures: int
    steps: int
    threads: int
    torch: str
    transformers: str
    training_s: float
    loss: tuple[Logged, ...]


def save_checkpoint(model: Any, vocabulary: Vocabulary, folder: Path) -> None:
    """Write weights, configuration, tokenizer and image processor into `folder`; other files in it stay."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    model.to(torch.float16).save_pretrained(folder)
    processor = BlipProcessor(BlipImageProcessorPil(size=size), vocabulary.tokenizer)  # type: ignore[no-untyped-call]
    processor.save_pretrained(folder)
    (folder / WEIGHTS).chmod(0o644)  # safetensors writes it for the owner only


def save_record(record: Record, clips: int, scores: Sequence[Score], folder: Path) -> None:
    """Write the record with the held-out scores."""
    table = [asdict(score) | {"balanced": score.balanced} for score in scores]
    held_out = {"clips": clips, "mean_balanced": mean_balanced(scores), "questions": table}
    text = json.dumps(asdict(record) | {"held_out": held_out}, indent=2) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def read_loss(folder: Path) -> tuple[Logged, ...]:
    """The loss that the record of the checkpoint in `folder` names."""
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return tuple(Logged(**entry) for entry in record["loss"])
