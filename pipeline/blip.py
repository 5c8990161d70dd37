"""BLIP visual question answering as three stages over the checkpoint's own layers, all questions in one pass.

The stages run their own layer loop because transformers >= 4.54 ignores BLIP's cross-attention mask: the packed questions
would see each other through the decoder. What they compute equals Hugging Face `generate()` on each question alone,
unpadded (`pipeline.reference`; held by tests/integration/test_parity.py).

Legend: B frames, S image side, P image tokens (patches + 1), T tokens of all questions, Q questions, D decoder tokens,
C channels, V vocabulary. Modules of the checkpoint are untyped (`Any`): transformers ships no types for them.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def _split_heads(x_BTC: Tensor, heads: int) -> Tensor:
    batch, tokens, channels = x_BTC.shape
    return x_BTC.view(batch, tokens, heads, channels // heads).transpose(1, 2)


def _join_heads(x_BHTc: Tensor) -> Tensor:
    return x_BHTc.transpose(1, 2).flatten(2)


def _attend(attention: Any, x_BTC: Tensor, context_BKC: Tensor, mask_TK: Tensor | None) -> Tensor:
    """One of the text model's attention blocks (self or cross), with the mask that transformers would drop."""
    weights = attention.self
    heads = weights.num_attention_heads
    mixed = scaled_dot_product_attention(
        _split_heads(weights.query(x_BTC), heads),
        _split_heads(weights.key(context_BKC), heads),
        _split_heads(weights.value(context_BKC), heads),
        attn_mask=mask_TK,
    )
    joined: Tensor = attention.output(_join_heads(mixed), x_BTC)
    return joined


def _embed(embeddings: Any, token_ids_T: Tensor, positions_T: Tensor) -> Tensor:
    """Embed (T,) or (B, T) tokens to (1 or B, T, C)."""
    words = embeddings.word_embeddings(token_ids_T) + embeddings.position_embeddings(positions_T)
    embedded: Tensor = embeddings.dropout(embeddings.LayerNorm(words))
    return embedded.view(-1, *embedded.shape[-2:])


def _run_layers(layers: Any, x_BTC: Tensor, self_mask_TT: Tensor, context_BKC: Tensor, cross_mask_TK: Tensor | None) -> Tensor:
    """The text model's layers: self-attention, cross-attention to `context`, feed-forward."""
    for layer in layers:
        x_BTC = _attend(layer.attention, x_BTC, x_BTC, self_mask_TT)
        x_BTC = _attend(layer.crossattention, x_BTC, context_BKC, cross_mask_TK)
        x_BTC = layer.feed_forward_chunk(x_BTC)
    return x_BTC


class ImageEncoder(nn.Module):
    """uint8 frames to image tokens. Normalisation is part of the graph: the host hands over bytes."""

    def __init__(self, vision_model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Wrap `BlipForQuestionAnswering.vision_model`; `mean` and `std` per RGB channel in [0, 1] units."""
        super().__init__()
        self.vision_model = vision_model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)

    def forward(self, frames_BSS3: Tensor) -> Tensor:
        """Encode RGB frames, uint8 (B, S, S, 3), to image tokens, float32 (B, P, C)."""
        pixels = frames_BSS3.permute(0, 3, 1, 2).to(torch.float32) / 255
        return self.encode((pixels - self.mean) / self.std)

    def encode(self, pixels_B3SS: Tensor) -> Tensor:
        """Encode normalised float32 pixels; the trainer enters here with augmented ones."""
        vision = self.vision_model
        hidden_BPC: Tensor = vision.embeddings(pixels_B3SS)
        for layer in vision.encoder.layers:
            attention = layer.self_attn
            batch, tokens, channels = hidden_BPC.shape
            qkv = attention.qkv(layer.layer_norm1(hidden_BPC))
            q, k, v = qkv.view(batch, tokens, 3, attention.num_heads, channels // attention.num_heads).permute(2, 0, 3, 1, 4)
            mixed = scaled_dot_product_attention(q, k, v, scale=attention.scale)
            hidden_BPC = hidden_BPC + attention.projection(_join_heads(mixed))
            hidden_BPC = hidden_BPC + layer.mlp(layer.layer_norm2(hidden_BPC))
        encoded: Tensor = vision.post_layernorm(hidden_BPC)
        return encoded


class QuestionEncoder(nn.Module):
    """The packed questions read the image: block-diagonal self-attention, one shared cross-attention."""

    def __init__(self, text_encoder: Any) -> None:
        """Wrap `BlipForQuestionAnswering.text_encoder`."""
        super().__init__()
        self.text_encoder = text_encoder

    def forward(self, image_BPC: Tensor, token_ids_T: Tensor, positions_T: Tensor, segments_T: Tensor) -> Tensor:
        """Encode the questions against each image to (B, T, C); ids, positions and segments are int32 (T,)."""
        questions = _embed(self.text_encoder.embeddings, token_ids_T, positions_T)
        own_question_TT = segments_T[:, None] == segments_T[None, :]
        layers = self.text_encoder.encoder.layer
        return _run_layers(layers, questions.expand(image_BPC.shape[0], -1, -1), own_question_TT, image_BPC, None)


class AnswerDecoder(nn.Module):
    """Answer tokens read the questions; each sees its own question only."""

    def __init__(self, text_decoder: Any) -> None:
        """Wrap `BlipForQuestionAnswering.text_decoder`."""
        super().__init__()
        self.text_decoder = text_decoder

    def forward(
        self, states_BTC: Tensor, token_ids_D: Tensor, positions_D: Tensor, self_mask_DD: Tensor, cross_mask_DT: Tensor
    ) -> Tensor:
        """Decode answer tokens to vocabulary logits, (B, D, V).

        Args:
            states_BTC: the question encoder's output.
            token_ids_D: answer tokens so far, (D,) or, where they differ between frames, (B, D).
            positions_D: position of each within its answer, (D,).
            self_mask_DD: which answer token sees which, bool.
            cross_mask_DT: which answer token sees which question token, bool.
        """
        decoder = self.text_decoder.bert
        answers = _embed(decoder.embeddings, token_ids_D, positions_D).expand(states_BTC.shape[0], -1, -1)
        hidden = _run_layers(decoder.encoder.layer, answers, self_mask_DD, states_BTC, cross_mask_DT)
        logits: Tensor = self.text_decoder.cls(hidden)
        return logits


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """Vocabulary ids that an answer is read from."""

    start: int
    """The decoder's start token (`bos_token_id`, [DEC])."""
    yes: int
    no: int


class BlipVqa(nn.Module):
    """The fused graph: uint8 frames and packed questions in, P(yes) and its share out."""

    def __init__(self, image: ImageEncoder, question: QuestionEncoder, answer: AnswerDecoder, tokens: AnswerTokens) -> None:
        """Join the three stages; `tokens` are the vocabulary ids that the answer is read from."""
        super().__init__()
        self.image = image
        self.question = question
        self.answer = answer
        self.tokens = tokens

    def forward(
        self, frames_BSS3: Tensor, token_ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, owners_Q: Tensor
    ) -> Tensor:
        """Answer every question about every frame in one decoder step.

        Args:
            frames_BSS3: uint8 RGB.
            token_ids_T: int32, with `positions_T` and `segments_T` as in `pipeline.packing.PackedQuestions`.
            positions_T: int32.
            segments_T: int32; padding -1.
            owners_Q: int32; unused slots -1 (their answers mean nothing, and stay finite).

        Returns:
            (B, Q, 2) float32: P(yes | yes or no), and the share of probability that yes and no hold together.
        """
        logits_BQV = self.first_logits(frames_BSS3, token_ids_T, positions_T, segments_T, owners_Q)
        yes_BQ, no_BQ = logits_BQV[..., self.tokens.yes], logits_BQV[..., self.tokens.no]
        # logsumexp of the stacked pair: `torch.logaddexp` has no XLA lowering and would fall back to the host.
        pair_BQ = torch.logsumexp(torch.stack([yes_BQ, no_BQ], -1), -1)
        share_BQ = torch.exp(pair_BQ - torch.logsumexp(logits_BQV, -1))
        return torch.stack([torch.sigmoid(yes_BQ - no_BQ), share_BQ], -1)

    def first_logits(
        self, frames_BSS3: Tensor, token_ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, owners_Q: Tensor
    ) -> Tensor:
        """Vocabulary logits of each answer's first token, (B, Q, V); arguments as `forward`'s."""
        states_BTC = self.question(self.image(frames_BSS3), token_ids_T, positions_T, segments_T)
        start_Q = torch.zeros_like(owners_Q)
        own_question_QT = (owners_Q[:, None] == segments_T[None, :]) | (owners_Q[:, None] < 0)
        slots = torch.arange(owners_Q.shape[0], device=owners_Q.device)
        logits: Tensor = self.answer(
            states_BTC, start_Q + self.tokens.start, start_Q, slots[:, None] == slots[None, :], own_question_QT
        )
        return logits
