"""What the packed pass is judged against: Hugging Face's own code, one question at a time.

Used by `compile`, the tests and `tools bench`.

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
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import BlipConfig, BlipForQuestionAnswering
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from pipeline.answers import Answers
from pipeline.checkpoint import Checkpoint, fuse, silence_transformers
from pipeline.packing import Vocabulary
from pipeline.preprocess import ImageSpec
from pipeline.questions import QuestionSet

ANSWER_TOKENS = 2
"""Tokens that `generate()` is made to emit, no more and no fewer: the answer and the end, as a yes/no answer takes."""


_UNKNOWN = "[UNK]"
_WORDS = "? is there a an the dog cat person barking playing with ball chewing furniture on sofa eating sleeping outside wet bed"

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
    start = [vqa.decoder_start_token_id]
    first = [_decode(vqa, _read(vqa, image_BPC, token_ids), start)[:, 0] for token_ids in questions]
    return torch.stack(first, 1)


@torch.inference_mode()
def answers_alone(checkpoint: Checkpoint, questions: QuestionSet, pictures_NSS3: NDArray[np.uint8]) -> Answers:
    """Ask Hugging Face's own modules each question and each candidate alone, unpadded, in float32; probabilities in float64.

    Candidates of one word are judged by the answer's first token, as `generate()` chooses it. Where a question has one of
    several, all of its candidates are scored to their end token, teacher-forced: what BLIP's own rank mode does.
    """
    said = [_alone(checkpoint, questions, picture[None]) for picture in pictures_NSS3]
    return Answers(p_yes=np.concatenate([one.p_yes for one in said]), share=np.concatenate([one.share for one in said]))


def _alone(checkpoint: Checkpoint, questions: QuestionSet, picture_1SS3: NDArray[np.uint8]) -> Answers:
    vqa, tokenize = checkpoint.vqa, checkpoint.vocabulary.tokenize
    image_1PC = vqa.vision_model(pixel_values=normalise(list(picture_1SS3), checkpoint.image))[0]
    shares = []
    for question in questions.questions:
        states = _read(vqa, image_1PC, tokenize(question.ask))
        ends = max(len(tokenize(word)) for word in (*question.yes, *question.no)) > len(("[CLS]", "word", "[SEP]"))
        sides = (question.yes, question.no)
        shares.append([sum(_says(checkpoint, states, word, ends=ends) for word in words) for words in sides])
    yes_Q, no_Q = np.array(shares).T
    return Answers(p_yes=(yes_Q / (yes_Q + no_Q))[None].astype(np.float32), share=(yes_Q + no_Q)[None].astype(np.float32))


def _says(checkpoint: Checkpoint, states_1LC: Tensor, candidate: str, *, ends: bool) -> float:
    """Probability that the answer begins with a word, or is a candidate to its end."""
    words = checkpoint.vocabulary.tokenize(candidate)[1:] if ends else checkpoint.vocabulary.tokenize(candidate)[1:-1]
    logits_1DV = _decode(checkpoint.vqa, states_1LC, [checkpoint.vocabulary.start, *words[:-1]])
    chosen = logits_1DV[0].double().log_softmax(-1)[range(len(words)), words]
    return float(chosen.sum().exp())


def _read(vqa: Any, image_BPC: Tensor, token_ids: Sequence[int]) -> Tensor:
    ids_BL = torch.tensor([token_ids]).expand(image_BPC.shape[0], -1)
    states_BLC: Tensor = vqa.text_encoder(input_ids=ids_BL, encoder_hidden_states=image_BPC, return_dict=False)[0]
    return states_BLC


def _decode(vqa: Any, states_BLC: Tensor, token_ids: Sequence[int]) -> Tensor:
    ids_BD = torch.tensor([token_ids]).expand(states_BLC.shape[0], -1)
    reply = vqa.text_decoder(
        input_ids=ids_BD, attention_mask=torch.ones_like(ids_BD), encoder_hidden_states=states_BLC, use_cache=False
    )
    logits_BDV: Tensor = reply.logits
    return logits_BDV


def read_yes_no(logits_BQV: Tensor, yes: int, no: int) -> Answers:
    """Take P(yes | yes or no) and the share of both from first logits, in float64, by the plain softmax."""
    probabilities_BQV = logits_BQV.double().softmax(-1)
    yes_BQ, no_BQ = probabilities_BQV[..., yes], probabilities_BQV[..., no]
    share_BQ = yes_BQ + no_BQ
    return Answers(p_yes=(yes_BQ / share_BQ).float().numpy(), share=share_BQ.float().numpy())


def random_base(seed: int) -> Checkpoint:
    """A checkpoint of the sizes of Salesforce/blip-vqa-base with random weights: for speed and parity where it cannot be had.

    361 million parameters, 1.4 GB in float32. The sizes are transformers' defaults, which are that checkpoint's (384 px, 577
    image tokens, width 768, 12 layers in each of the three parts), with the 12 text heads of the published weights. Word
    embeddings, which are the answers' weights too, are drawn wider than at the start of a training, so that picture and
    question decide what is answered. No vocabulary is at hand: the words of the benches and tests get ids by their checksum.
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
    tokenizer = _base_tokenizer()
    return Checkpoint(
        model_id="random weights of Salesforce/blip-vqa-base's sizes",
        weights=f"seed {seed}",
        blip=fuse(vqa.eval(), image),
        vqa=vqa,
        image=image,
        vocabulary=Vocabulary(
            tokenize=lambda text: list(tokenizer.encode(text).ids),
            start=vqa.decoder_start_token_id,
            unknown=tokenizer.token_to_id(_UNKNOWN),
            max_positions=vqa.config.text_config.max_position_embeddings,
        ),
        tokenizer_json=tokenizer.to_str(),
    )


def _base_tokenizer() -> Any:
    """A tokenizer of [CLS], one id per known word and mark, [SEP]: as many tokens as BERT's own gives to common words."""
    ids = {_UNKNOWN: 100, "[CLS]": 101, "[SEP]": 102, "yes": 2748, "no": 2053}
    for word in _WORDS.split():
        ids[word] = 3000 + zlib.crc32(word.encode()) % 27_000
    tokenizer: Any = Tokenizer(WordLevel(ids, unk_token=_UNKNOWN))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)])
    return tokenizer
