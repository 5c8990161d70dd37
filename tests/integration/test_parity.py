"""The packed pass against Hugging Face `generate()` on each question alone, unpadded: same answers, |dP| <= 1e-4."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.blip import AnswerTokens
from pipeline.checkpoint import Checkpoint, load
from pipeline.engine import CpuEngine
from pipeline.packing import pack
from pipeline.questions import Question, QuestionSet
from pipeline.reference import ANSWER_TOKENS, generate, normalise, random_base, read_answers, share_image
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools.options import DEMO_CHECKPOINT, DEMO_QUESTIONS
from tools.questions import load_questions

TOLERANCE = 1e-4
LEAK = 1e-6
"""Float32 rounding of other matrix shapes; what one question's words do to another's answer where they leak is 0.01 and more."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Leave the machine's other cores alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def packed_logits(checkpoint: Checkpoint, frames_BSS3: NDArray[np.uint8], questions: QuestionSet) -> Tensor:
    """Full-vocabulary logits of our one pass, (B, Q, V)."""
    packed = pack([checkpoint.tokenize(question.ask) for question in questions.questions], max_positions=checkpoint.max_positions)
    arrays = (packed.token_ids, packed.positions, packed.segments, packed.owners)
    with torch.inference_mode():
        return checkpoint.blip.first_logits(torch.tensor(frames_BSS3), *map(torch.tensor, arrays))


def assert_parity(checkpoint: Checkpoint, frames_BSS3: NDArray[np.uint8], questions: QuestionSet) -> None:
    """Compare every picture's and question's answer token, P(yes) and share; refuse a comparison that could not fail."""
    pixels = normalise(list(frames_BSS3), checkpoint.image)
    replies = [generate(checkpoint.vqa, pixels, checkpoint.tokenize(question.ask)) for question in questions.questions]
    theirs_BQV = torch.stack([reply.first_logits for reply in replies], 1)
    reference = read_answers(theirs_BQV, checkpoint.blip.tokens)
    assert reference.p_yes.std(0).mean() > 100 * TOLERANCE, "the pictures do not matter"
    assert reference.p_yes.std(1).mean() > 100 * TOLERANCE, "the questions do not matter"
    assert reference.share.mean() > 0.1, "yes and no are not among the answers"

    ours_BQV = packed_logits(checkpoint, frames_BSS3, questions)
    assert all(reply.tokens.shape == (len(frames_BSS3), ANSWER_TOKENS) for reply in replies)
    generated_BQ = torch.stack([reply.tokens[:, 0] for reply in replies], 1)
    assert len(generated_BQ.unique()) > 1, "one answer to everything"
    assert ours_BQV.argmax(-1).tolist() == generated_BQ.tolist()

    engine = CpuEngine(checkpoint, questions, buckets=(len(frames_BSS3),))
    answers = engine.answer(frames_BSS3, len(frames_BSS3))
    np.testing.assert_allclose(answers.p_yes, reference.p_yes, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(answers.share, reference.share, rtol=0, atol=TOLERANCE)


def test_demo_checkpoint_answers_as_generate_does() -> None:
    """The shipped checkpoint with its eight questions."""
    checkpoint = load(str(DEMO_CHECKPOINT))
    assert_parity(checkpoint, pictures(16, checkpoint.image.size), load_questions(DEMO_QUESTIONS).questions)


def test_checkpoint_of_another_size_answers_as_generate_does(tmp_path: Path) -> None:
    """Other widths, depths, heads and vocabulary, saved and loaded in Hugging Face format."""
    checkpoint = load(str(save_tiny(tmp_path)))
    assert_parity(checkpoint, pictures(8, checkpoint.image.size), QUESTIONS)


@pytest.mark.slow
def test_checkpoint_of_full_size_answers_as_generate_does() -> None:
    """Salesforce/blip-vqa-base's sizes, eight questions; yes and no are the two likeliest words of these random weights."""
    checkpoint = random_base(seed=0)
    questions = load_questions(DEMO_QUESTIONS).questions
    frames = pictures(2, checkpoint.image.size)
    likeliest = packed_logits(checkpoint, frames, questions).softmax(-1).mean((0, 1)).topk(2).indices.tolist()
    checkpoint.blip.tokens = AnswerTokens(checkpoint.blip.tokens.start, *likeliest)
    assert_parity(checkpoint, frames, questions)


def test_questions_do_not_leak_into_each_other(tmp_path: Path) -> None:
    """Other words in one question change its own answer and no other one."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(4, checkpoint.image.size)
    first, second, *rest = QUESTIONS.questions
    reworded = dataclasses.replace(second, ask="sofa playing on the sofa with sofa there?")

    def answers(questions: QuestionSet) -> NDArray[np.float32]:
        return CpuEngine(checkpoint, questions, buckets=(4,)).answer(frames, 4).p_yes

    before, after = answers(QUESTIONS), answers(QuestionSet((first, reworded, *rest)))
    others = [0, 2, 3]
    np.testing.assert_allclose(after[:, others], before[:, others], rtol=0, atol=LEAK)
    assert np.abs(after[:, 1] - before[:, 1]).min() > 1000 * LEAK


def test_padded_batch_of_generate_is_no_reference(tmp_path: Path) -> None:
    """Why each question is asked alone: padding a question changes what `generate()` answers, far beyond the tolerance."""
    checkpoint = load(str(save_tiny(tmp_path)))
    pixels = normalise(list(pictures(4, checkpoint.image.size)), checkpoint.image)
    alone = checkpoint.tokenize("is there a dog?")
    pad = checkpoint.vqa.config.text_config.pad_token_id
    padded = [*alone, *[pad] * 8]
    mask = torch.tensor([[1] * len(alone) + [0] * 8]).expand(4, -1)
    reply = checkpoint.vqa.generate(
        input_ids=torch.tensor([padded]).expand(4, -1), attention_mask=mask, pixel_values=pixels,
        min_new_tokens=1, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    tokens = checkpoint.blip.tokens
    theirs = read_answers(reply.logits[0][:, None], tokens)
    unpadded = read_answers(generate(checkpoint.vqa, pixels, alone).first_logits[:, None], tokens)
    assert np.abs(theirs.p_yes - unpadded.p_yes).max() > 100 * TOLERANCE


def test_shared_image_encoding_gives_generates_logits(tmp_path: Path) -> None:
    """The bench's middle contender computes what `generate()` computes: the image is only encoded once."""
    checkpoint = load(str(save_tiny(tmp_path)))
    pixels = normalise(list(pictures(3, checkpoint.image.size)), checkpoint.image)
    asked = [checkpoint.tokenize(question.ask) for question in QUESTIONS.questions]
    each_BQV = torch.stack([generate(checkpoint.vqa, pixels, tokens).first_logits for tokens in asked], 1)
    torch.testing.assert_close(share_image(checkpoint.vqa, pixels, asked), each_BQV, rtol=0, atol=1e-5)


def test_a_question_alone_and_in_a_set_has_one_answer(tmp_path: Path) -> None:
    """Adding questions to a set leaves the others' answers as they were."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(2, checkpoint.image.size)
    together = CpuEngine(checkpoint, QUESTIONS, buckets=(2,)).answer(frames, 2)
    for column, question in enumerate(QUESTIONS.questions):
        alone = CpuEngine(checkpoint, QuestionSet((Question("alone", question.ask),)), buckets=(2,)).answer(frames, 2)
        np.testing.assert_allclose(alone.p_yes[:, 0], together.p_yes[:, column], rtol=0, atol=LEAK)
