"""The tiny BLIP's shape, vocabulary and start. Real `BlipForQuestionAnswering`, 0.65 M parameters. Knows no training.

Sizes are the smallest found that answer all eight questions. BLIP ties them: text and vision width must be equal (the decoder
reads text states with keys sized for the vision width), and question encoder and answer decoder have the same layers.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering

from pipeline.packing import Vocabulary as Words
from pipeline.questions import Question, QuestionSet
from tools.scenes.moments import BEHAVIORS
from tools.train.dataset import IMAGE_SIZE

PATCH = 16
WIDTH = 96
HEADS = 4
VISION_LAYERS = 4
INITIALIZER_RANGE = 0.06
"""BLIP's 0.02 is meant for width 768."""
_POSITION_GAIN = 0.5
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"

WORDINGS = (
    "is there a dog?",
    "is there a person?",
    "is the dog barking?",
    "is the dog playing with a ball?",
    "is the dog chewing the furniture?",
    "is the dog on the sofa?",
    "is the dog eating?",
    "is the dog sleeping?",
)
QUESTIONS = QuestionSet(tuple(Question(behavior, ask) for behavior, ask in zip(BEHAVIORS, WORDINGS, strict=True)))
"""What the checkpoint learns to answer; other wordings are outside its world."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token ids that training needs by name."""

    tokenizer: Any
    start: int
    end: int
    yes: int
    no: int

    def words(self, max_positions: int) -> Words:
        """As the pipeline packs questions with."""
        return Words(lambda text: list(self.tokenizer(text)["input_ids"]), self.start, self.tokenizer.unk_token_id, max_positions)


def make_vocabulary() -> Vocabulary:
    """The tokenizer: the questions' words, yes and no, and single letters for all others."""
    words = {word for ask in WORDINGS for word in ask.replace("?", " ?").split()} | {"yes", "no"}
    letters = [letter for letter in _LETTERS if letter not in words]
    pieces = [f"##{letter}" for letter in _LETTERS]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words), *letters, *pieces, "[DEC]", "[ENC]"]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = BertTokenizer(vocab=ids, do_lower_case=True, model_max_length=64, additional_special_tokens=["[DEC]", "[ENC]"])
    return Vocabulary(tokenizer, start=ids["[DEC]"], end=ids["[SEP]"], yes=ids["yes"], no=ids["no"])


def make_model(vocabulary: Vocabulary) -> Any:
    """An untrained model; draws from torch's global generator."""
    shared = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "projection_dim": WIDTH,
        "num_attention_heads": HEADS,
        "initializer_range": INITIALIZER_RANGE,
        "hidden_act": "gelu",
    }
    vision = {"num_hidden_layers": VISION_LAYERS, "image_size": IMAGE_SIZE, "patch_size": PATCH}
    text = {
        "vocab_size": len(vocabulary.tokenizer),
        "encoder_hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "max_position_embeddings": 64,
        "bos_token_id": vocabulary.start,
        "eos_token_id": vocabulary.end,
        "sep_token_id": vocabulary.end,
        "pad_token_id": 0,
    }
    config = BlipConfig(
        vision_config={**shared, **vision},
        text_config={**shared, **text},
        projection_dim=WIDTH,
        initializer_range=INITIALIZER_RANGE,
    )
    model = BlipForQuestionAnswering(config)
    _start_vision(model.vision_model.embeddings)
    return model


@torch.no_grad()
def _start_vision(embeddings: Any) -> None:
    """Sine and cosine positions and variance-keeping patches: with random ones the short training ends before it sees."""
    side = IMAGE_SIZE // PATCH
    frequencies = 1 / (10_000 ** (torch.arange(WIDTH // 4) / (WIDTH // 4)))
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.flatten()[:, None] * (32 / side) * frequencies[None] for axis in (rows, columns)]
    waves = [wave(angle) for angle in angles for wave in (torch.sin, torch.cos)]
    embeddings.position_embedding[0, 1:] = torch.cat(waves, 1) * _POSITION_GAIN
    weight = embeddings.patch_embedding.weight
    nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel()))
