"""Builds a BLIP VQA checkpoint of a small size with random weights, saved as Hugging Face saves one."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertTokenizerFast, BlipConfig, BlipForQuestionAnswering, BlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipeline.questions import Question, QuestionSet

SIDE = 48
POSITIONS = 24
QUESTIONS = QuestionSet(
    (
        Question("present", "is there a dog?"),
        Question("barking", "is the dog barking?"),
        Question("playing", "is the dog playing with a ball on the sofa?"),
        Question("sleeping", "sleeping?"),
    )
)


def pictures(count: int, side: int) -> NDArray[np.uint8]:
    """Smooth random colour fields, uint8 (count, side, side, 3): unlike white noise they differ for the model."""
    random = np.random.default_rng(7)
    return np.stack([cv2.resize(random.integers(0, 256, (5, 5, 3), np.uint8), (side, side)) for _ in range(count)])


def tiny_tokenizer(*, words: tuple[str, ...] = ("yes", "no")) -> Any:
    """A WordPiece tokenizer that knows the questions' words and `words`."""
    asked = {word for question in QUESTIONS.questions for word in question.ask.rstrip("?").split()}
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [*sorted(asked - {"a"}), *words, "?", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, "[DEC]"]
    return BertTokenizerFast(vocab={token: index for index, token in enumerate(vocabulary)}, do_lower_case=True)


def tiny_model(tokenizer: Any) -> Any:
    """Random weights wide enough that picture and question decide the answer, which is yes or no more often than not."""
    vocabulary = tokenizer.get_vocab()
    torch.manual_seed(5)
    model = BlipForQuestionAnswering(
        BlipConfig(
            vision_config={
                "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 2,
                "image_size": SIDE, "patch_size": 8, "initializer_range": 0.1,
            },
            text_config={
                "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
                "max_position_embeddings": POSITIONS, "vocab_size": len(vocabulary), "initializer_range": 0.1,
                "bos_token_id": vocabulary["[DEC]"], "sep_token_id": vocabulary["[SEP]"], "eos_token_id": vocabulary["[SEP]"],
            },
            initializer_range=0.1,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
        for word in {"yes", "no"} & vocabulary.keys():
            model.text_decoder.cls.predictions.bias[vocabulary[word]] += 6
    return model.eval()


def save_tiny(folder: Path, *, tokenizer: Any | None = None, image_side: int = SIDE) -> Path:
    """Save model, tokenizer and image processor the way their own `save_pretrained` does."""
    tokenizer = tokenizer or tiny_tokenizer()
    tiny_model(tokenizer).save_pretrained(folder)
    image_processor = BlipImageProcessorPil(size={"height": image_side, "width": image_side})
    BlipProcessor(image_processor, tokenizer).save_pretrained(folder)
    return folder
