"""BLIP visual question answering as three stages over the checkpoint's own layers, all questions in one pass.

The stages run their own layer loop because transformers >= 4.54 ignores BLIP's cross-attention mask: the packed questions
would see each other through the decoder. What they compute equals Hugging Face `generate()` on each question alone,
unpadded (`pipeline.reference`; held by tests/integration/test_parity.py).

Legend: B frames, S image side, P image tokens (patches + 1), T tokens of all questions, D answer slots (decoder tokens),
C channels, V vocabulary. Modules of the checkpoint are untyped (`Any`): transformers ships no types for them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """What mixes values by queries and keys in every layer of a stage; a backend may put its own in this one's place."""

    def forward(self, q_BTC: Tensor, k_BKC: Tensor, v_BKC: Tensor, heads: int, mask_TK: Tensor | None) -> Tensor:
        """Mix the values, (B, T, C).

        Args:
            q_BTC: queries of all heads side by side, not scaled.
            k_BKC: keys.
            v_BKC: values.
            heads: into how many parts the channels fall.
            mask_TK: bool, False where a query must not see a key; every query sees one at least.
        """
        q, k, v = (_split_heads(part, heads) for part in (q_BTC, k_BKC, v_BKC))
        return scaled_dot_product_attention(q, k, v, attn_mask=mask_TK).transpose(1, 2).flatten(2)


def _split_heads(x_BTC: Tensor, heads: int) -> Tensor:
    batch, tokens, channels = x_BTC.shape
    return x_BTC.view(batch, tokens, heads, channels // heads).transpose(1, 2)


class KeysValues(nn.Module):
    """How a text layer's keys and values are read off a context; a backend may put its own in this one's place."""

    def prepare(self, context_BKC: Tensor) -> Any:
        """Do what all layers that read this context would do again."""
        return context_BKC

    def forward(self, weights: Any, prepared: Any) -> tuple[Tensor, Tensor]:
        """Give one layer's keys and values, (B, K, C) each, of a context that was prepared."""
        return weights.key(prepared), weights.value(prepared)


class _TextLayers(nn.Module):
    """A text model's layers: self-attention, cross-attention to a context, feed-forward."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers
        self.attend = Attention()
        self.keys_values = KeysValues()

    def forward(self, x_BTC: Tensor, self_mask_TT: Tensor, context_BKC: Tensor, cross_mask_TK: Tensor | None) -> Tensor:
        context = self.keys_values.prepare(context_BKC)
        for layer in self.layers:
            x_BTC = self._attention(layer.attention, x_BTC, self.keys_values.prepare(x_BTC), self_mask_TT)
            x_BTC = self._attention(layer.crossattention, x_BTC, context, cross_mask_TK)
            x_BTC = layer.feed_forward_chunk(x_BTC)
        return x_BTC

    def _attention(self, attention: Any, x_BTC: Tensor, prepared: Any, mask_TK: Tensor | None) -> Tensor:
        """One attention block (self or cross), with the mask that transformers would drop."""
        weights = attention.self
        keys, values = self.keys_values(weights, prepared)
        mixed = self.attend(weights.query(x_BTC), keys, values, weights.num_attention_heads, mask_TK)
        joined: Tensor = attention.output(mixed, x_BTC)
        return joined


def _embed(embeddings: Any, token_ids_T: Tensor, positions_T: Tensor) -> Tensor:
    """Embed (T,) or (B, T) tokens to (1 or B, T, C)."""
    words = embeddings.word_embeddings(token_ids_T) + embeddings.position_embeddings(positions_T)
    embedded: Tensor = embeddings.dropout(embeddings.LayerNorm(words))
    return embedded.view(-1, *embedded.shape[-2:])


class ImageEncoder(nn.Module):
    """uint8 frames to image tokens. Normalisation is part of the graph: the host hands over bytes."""

    def __init__(self, vision_model: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Wrap `BlipForQuestionAnswering.vision_model`; `mean` and `std` per RGB channel in [0, 1] units."""
        super().__init__()
        self.vision_model = vision_model
        self.attend = Attention()
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
            q_BPC, k_BPC, v_BPC = attention.qkv(layer.layer_norm1(hidden_BPC)).chunk(3, -1)
            hidden_BPC = hidden_BPC + attention.projection(self.attend(q_BPC, k_BPC, v_BPC, attention.num_heads, None))
            hidden_BPC = hidden_BPC + layer.mlp(layer.layer_norm2(hidden_BPC))
        encoded: Tensor = vision.post_layernorm(hidden_BPC)
        return encoded


class QuestionEncoder(nn.Module):
    """The packed questions read the image: block-diagonal self-attention, one shared cross-attention."""

    def __init__(self, text_encoder: Any) -> None:
        """Wrap `BlipForQuestionAnswering.text_encoder`."""
        super().__init__()
        self.embeddings = text_encoder.embeddings
        self.layers = _TextLayers(text_encoder.encoder.layer)

    def forward(self, image_BPC: Tensor, token_ids_T: Tensor, positions_T: Tensor, segments_T: Tensor) -> Tensor:
        """Encode the questions against each image to (B, T, C); ids, positions and segments are int32 (T,)."""
        questions = _embed(self.embeddings, token_ids_T, positions_T).expand(image_BPC.shape[0], -1, -1)
        own_question_TT = segments_T[:, None] == segments_T[None, :]
        states: Tensor = self.layers(questions, own_question_TT, image_BPC, None)
        return states


class AnswerDecoder(nn.Module):
    """Answer tokens read the questions; each sees its own question only."""

    def __init__(self, text_decoder: Any) -> None:
        """Wrap `BlipForQuestionAnswering.text_decoder`."""
        super().__init__()
        self.embeddings = text_decoder.bert.embeddings
        self.layers = _TextLayers(text_decoder.bert.encoder.layer)
        self.cls = text_decoder.cls

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
        answers = _embed(self.embeddings, token_ids_D, positions_D).expand(states_BTC.shape[0], -1, -1)
        logits: Tensor = self.cls(self.layers(answers, self_mask_DD, states_BTC, cross_mask_DT))
        return logits


class AnswerScorer(nn.Module):
    """What every answer slot says about its two target tokens, in one decoder step."""

    def __init__(self, decoder: AnswerDecoder) -> None:
        """Put slots and targets on top of the decoder."""
        super().__init__()
        self.decoder = decoder

    def forward(  # noqa: PLR0913, PLR0917  (the graph's inputs, positional by the compilers' rules)
        self,
        states_BTC: Tensor,
        segments_T: Tensor,
        answer_ids_D: Tensor,
        answer_positions_D: Tensor,
        chains_D: Tensor,
        owners_D: Tensor,
        targets_D2: Tensor,
    ) -> Tensor:
        """Score the targets: log-probabilities, float32 (B, D, 2). Arguments as in `pipeline.packing.QuestionInputs`."""
        logits_BDV = self.logits(states_BTC, segments_T, answer_ids_D, answer_positions_D, chains_D, owners_D).float()
        indices_BD2 = targets_D2.long().expand(logits_BDV.shape[0], -1, -1)  # int64 inside, never at the boundary
        return logits_BDV.gather(-1, indices_BD2) - logits_BDV.logsumexp(-1, keepdim=True)

    def logits(
        self,
        states_BTC: Tensor,
        segments_T: Tensor,
        answer_ids_D: Tensor,
        answer_positions_D: Tensor,
        chains_D: Tensor,
        owners_D: Tensor,
    ) -> Tensor:
        """Vocabulary logits of the token after each slot, (B, D, V)."""
        own_question_DT = (owners_D[:, None] == segments_T[None, :]) | (owners_D[:, None] < 0)
        is_earlier_DD = answer_positions_D[None, :] <= answer_positions_D[:, None]
        own_chain_DD = (chains_D[:, None] == chains_D[None, :]) & is_earlier_DD
        logits: Tensor = self.decoder(states_BTC, answer_ids_D, answer_positions_D, own_chain_DD, own_question_DT)
        return logits


class BlipVqa(nn.Module):
    """The fused graph: uint8 frames and packed questions in, log-probabilities of the answers' tokens out."""

    def __init__(self, image: ImageEncoder, question: QuestionEncoder, answer: AnswerScorer) -> None:
        """Join the three stages."""
        super().__init__()
        self.image = image
        self.question = question
        self.answer = answer

    def forward(  # noqa: PLR0913, PLR0917  (the graph's inputs, positional by the compilers' rules)
        self,
        frames_BSS3: Tensor,
        token_ids_T: Tensor,
        positions_T: Tensor,
        segments_T: Tensor,
        answer_ids_D: Tensor,
        answer_positions_D: Tensor,
        chains_D: Tensor,
        owners_D: Tensor,
        targets_D2: Tensor,
    ) -> Tensor:
        """Answer every question about every frame in one decoder step.

        Args:
            frames_BSS3: uint8 RGB.
            token_ids_T: int32, like all that follow; they are those of `pipeline.packing.QuestionInputs`.
            positions_T: within each question.
            segments_T: padding -1.
            answer_ids_D: what each slot reads.
            answer_positions_D: within each answer.
            chains_D: unused slots -1.
            owners_D: unused slots -1 (what they say means nothing, and stays finite).
            targets_D2: the tokens to score.

        Returns:
            (B, D, 2) float32 log-probabilities in the full-vocabulary softmax.
        """
        states_BTC = self.question(self.image(frames_BSS3), token_ids_T, positions_T, segments_T)
        scores: Tensor = self.answer(states_BTC, segments_T, answer_ids_D, answer_positions_D, chains_D, owners_D, targets_D2)
        return scores
