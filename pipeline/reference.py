"""What the packed pass is judged against: Hugging Face's own code, one question at a time. Used by tests and `tools bench`.

The questions are never padded: `BlipForQuestionAnswering.generate()` lets the decoder read the padding of a question as if it
were words, so a padded batch answers differently from each of its questions alone (held by tests/integration/test_parity.py).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BlipConfig, BlipForQuestionAnswering
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipeline.answers import Answers
from pipeline.blip import AnswerTokens
from pipeline.checkpoint import Checkpoint, fuse, silence_transformers
from pipeline.preprocess import ImageSpec

ANSWER_TOKENS = 2
"""Tokens that `generate()` is made to emit, no more and no fewer: the answer and the end, as a yes/no answer takes."""


_WIDER = 7.5
"""Logits of standard deviation 4: the likeliest of 30,524 random answers holds 0.1 to 0.6 instead of 0.003."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One question's answer by `generate()`, for each of B pictures."""

    tokens: Tensor
    """(B, ANSWER_TOKENS) int64, without the start token."""
    first_logits: Tensor
    """(B, vocabulary) float32: what the first of them was chosen from."""


def normalise(pictures: Sequence[NDArray[np.uint8]], image: ImageSpec) -> Tensor:
    """Run RGB pictures, uint8 (H, W, 3), through BLIP's image processor, to float32 (B, 3, S, S)."""
    processor = BlipImageProcessorPil(
        size={"height": image.size, "width": image.size}, image_mean=list(image.mean), image_std=list(image.std)
    )
    pixels: Tensor = processor(images=list(pictures), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
    return pixels


def generate(vqa: Any, pixels_B3SS: Tensor, token_ids: Sequence[int]) -> Generated:
    """Ask one unpadded question about each picture, greedily."""
    reply = vqa.generate(
        input_ids=torch.tensor([token_ids]).expand(pixels_B3SS.shape[0], -1),
        pixel_values=pixels_B3SS,
        do_sample=False,
        num_beams=1,
        min_new_tokens=ANSWER_TOKENS,
        max_new_tokens=ANSWER_TOKENS,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return Generated(tokens=reply.sequences[:, 1:], first_logits=reply.logits[0])


@torch.inference_mode()
def share_image(vqa: Any, pixels_B3SS: Tensor, questions: Sequence[Sequence[int]]) -> Tensor:
    """Encode each picture once, then ask one question after the other in one decoder step: first logits, (B, Q, vocabulary).

    What a careful user gets from the checkpoint's own modules without packing.
    """
    image_BPC = vqa.vision_model(pixel_values=pixels_B3SS)[0]
    batch = image_BPC.shape[0]
    start_B1 = torch.full((batch, 1), vqa.decoder_start_token_id)
    first = []
    for token_ids in questions:
        ids_BL = torch.tensor([token_ids]).expand(batch, -1)
        states_BLC = vqa.text_encoder(input_ids=ids_BL, encoder_hidden_states=image_BPC, return_dict=False)[0]
        reply = vqa.text_decoder(
            input_ids=start_B1, attention_mask=torch.ones_like(start_B1), encoder_hidden_states=states_BLC, use_cache=False
        )
        first.append(reply.logits[:, 0])
    return torch.stack(first, 1)


def read_answers(logits_BQV: Tensor, tokens: AnswerTokens) -> Answers:
    """Take P(yes | yes or no) and the share of both from first logits, in float64, by the plain softmax."""
    probabilities_BQV = logits_BQV.double().softmax(-1)
    yes_BQ, no_BQ = probabilities_BQV[..., tokens.yes], probabilities_BQV[..., tokens.no]
    share_BQ = yes_BQ + no_BQ
    return Answers(p_yes=(yes_BQ / share_BQ).float().numpy(), share=share_BQ.float().numpy())


def random_base(seed: int) -> Checkpoint:
    """A checkpoint of the sizes of Salesforce/blip-vqa-base with random weights: for speed and parity where it cannot be had.

    361 million parameters, 1.4 GB in float32. The sizes are transformers' defaults, which are that checkpoint's (384 px, 577
    image tokens, width 768, 12 layers in each of the three parts), with the 12 text heads of the published weights. Word
    embeddings, which are the answers' weights too, are drawn wider than at the start of a training, so that picture and
    question decide what is answered. Words get token ids by their checksum: no vocabulary is at hand.
    """
    silence_transformers()
    torch.manual_seed(seed)
    vqa: Any = BlipForQuestionAnswering(
        BlipConfig(vision_config={"initializer_range": 0.02}, text_config={"num_attention_heads": 12})
    )
    with torch.no_grad():
        for text in (vqa.text_encoder, vqa.text_decoder.bert):
            text.embeddings.word_embeddings.weight *= _WIDER
    processor: Any = BlipImageProcessorPil
    image = ImageSpec(vqa.config.vision_config.image_size, tuple(processor.image_mean), tuple(processor.image_std))
    return Checkpoint(
        model_id="random weights of Salesforce/blip-vqa-base's sizes",
        weights=f"seed {seed}",
        blip=fuse(vqa.eval(), image, AnswerTokens(start=vqa.decoder_start_token_id, yes=2748, no=2053)),
        vqa=vqa,
        image=image,
        tokenize=_checksum_tokens,
        max_positions=vqa.config.text_config.max_position_embeddings,
    )


def _checksum_tokens(question: str) -> list[int]:
    """[CLS], one id per word and per question mark, [SEP], as many as BERT's own vocabulary gives to common words."""
    words = question.replace("?", " ?").split()
    return [101, *(1000 + zlib.crc32(word.encode()) % 29000 for word in words), 102]
