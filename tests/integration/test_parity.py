"""The packed pass against Hugging Face `generate()` on each question alone, unpadded: same answers, |dP| <= 1e-4."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.answers import Answers
from pipeline.checkpoint import Checkpoint, load
from pipeline.packing import pack
from pipeline.questions import Question, QuestionSet
from pipeline.reference import ANSWER_TOKENS, answers_alone, generate, normalise, read_yes_no, share_image
from tests.integration.tiny_checkpoint import QUESTIONS, pictures, save_tiny
from tools.options import DEMO_CHECKPOINT, DEMO_QUESTIONS
from tools.questions import load_questions

TOLERANCE = 1e-4
YES_NO = ("yes", "no")
LEAK = 1e-6
"""Float32 rounding of other matrix shapes; what one question's words do to another's answer where they leak is 0.01 and more."""


def packed_logits(checkpoint: Checkpoint, frames_BSS3: NDArray[np.uint8], questions: QuestionSet) -> Tensor:
    """Full-vocabulary logits of our one pass, (B, D, V): one slot a yes/no question."""
    inputs = [torch.from_numpy(array) for array in pack(questions, checkpoint.vocabulary).inputs.arrays]
    blip = checkpoint.blip
    with torch.inference_mode():
        states = blip.question(blip.image(torch.tensor(frames_BSS3)), *inputs[:3])
        return blip.answer.logits(states, *inputs[2:7])


def ask(checkpoint: Checkpoint, frames_BSS3: NDArray[np.uint8], questions: QuestionSet) -> Answers:
    """What our one pass, not compiled, answers."""
    packed = pack(questions, checkpoint.vocabulary)
    inputs = [torch.from_numpy(array) for array in packed.inputs.arrays]
    with torch.inference_mode():
        return packed.read(checkpoint.blip(torch.tensor(frames_BSS3), *inputs).numpy())


def assert_parity(checkpoint: Checkpoint, frames_BSS3: NDArray[np.uint8], questions: QuestionSet) -> None:
    """Compare every picture's and question's answer token, P(yes) and share; refuse a comparison that could not fail."""
    pixels, tokenize = normalise(list(frames_BSS3), checkpoint.image), checkpoint.vocabulary.tokenize
    replies = [generate(checkpoint.vqa, pixels, tokenize(question.ask)) for question in questions.questions]
    theirs_BQV = torch.stack([reply.first_logits for reply in replies], 1)
    reference = read_yes_no(theirs_BQV, *(tokenize(word)[1] for word in YES_NO))
    assert reference.p_yes.std(0).mean() > 100 * TOLERANCE, "the pictures do not matter"
    assert reference.p_yes.std(1).mean() > 100 * TOLERANCE, "the questions do not matter"
    assert reference.share.mean() > 0.1, "yes and no are not among the answers"

    ours_BQV = packed_logits(checkpoint, frames_BSS3, questions)
    assert all(reply.tokens.shape == (len(frames_BSS3), ANSWER_TOKENS) for reply in replies)
    generated_BQ = torch.stack([reply.tokens[:, 0] for reply in replies], 1)
    assert len(generated_BQ.unique()) > 1, "one answer to everything"
    assert ours_BQV.argmax(-1).tolist() == generated_BQ.tolist()

    for answers in (ask(checkpoint, frames_BSS3, questions), answers_alone(checkpoint, questions, frames_BSS3)):
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


def test_questions_do_not_leak_into_each_other(tmp_path: Path) -> None:
    """Other words in one question change its own answer and no other one."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(4, checkpoint.image.size)
    first, second, *rest = QUESTIONS.questions
    reworded = dataclasses.replace(second, ask="sofa playing on the sofa with sofa there?")

    before, after = (ask(checkpoint, frames, asked).p_yes for asked in (QUESTIONS, QuestionSet((first, reworded, *rest))))
    others = [0, 2, 3]
    np.testing.assert_allclose(after[:, others], before[:, others], rtol=0, atol=LEAK)
    assert np.abs(after[:, 1] - before[:, 1]).min() > 1000 * LEAK


def test_padded_batch_of_generate_is_no_reference(tmp_path: Path) -> None:
    """Why each question is asked alone: padding a question changes what `generate()` answers, far beyond the tolerance."""
    checkpoint = load(str(save_tiny(tmp_path)))
    pixels = normalise(list(pictures(4, checkpoint.image.size)), checkpoint.image)
    alone = checkpoint.vocabulary.tokenize("is there a dog?")
    pad = checkpoint.vqa.config.text_config.pad_token_id
    padded = [*alone, *[pad] * 8]
    mask = torch.tensor([[1] * len(alone) + [0] * 8]).expand(4, -1)
    reply = checkpoint.vqa.generate(
        input_ids=torch.tensor([padded]).expand(4, -1), attention_mask=mask, pixel_values=pixels,
        min_new_tokens=1, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    yes_no = [checkpoint.vocabulary.tokenize(word)[1] for word in YES_NO]
    theirs = read_yes_no(reply.logits[0][:, None], *yes_no)
    unpadded = read_yes_no(generate(checkpoint.vqa, pixels, alone).first_logits[:, None], *yes_no)
    assert np.abs(theirs.p_yes - unpadded.p_yes).max() > 100 * TOLERANCE


def test_shared_image_encoding_gives_generates_logits(tmp_path: Path) -> None:
    """The bench's middle contender computes what `generate()` computes: the image is only encoded once."""
    checkpoint = load(str(save_tiny(tmp_path)))
    pixels = normalise(list(pictures(3, checkpoint.image.size)), checkpoint.image)
    asked = [checkpoint.vocabulary.tokenize(question.ask) for question in QUESTIONS.questions]
    each_BQV = torch.stack([generate(checkpoint.vqa, pixels, tokens).first_logits for tokens in asked], 1)
    torch.testing.assert_close(share_image(checkpoint.vqa, pixels, asked), each_BQV, rtol=0, atol=1e-5)


def test_a_question_alone_and_in_a_set_has_one_answer(tmp_path: Path) -> None:
    """Adding questions to a set leaves the others' answers as they were."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(2, checkpoint.image.size)
    together = ask(checkpoint, frames, QUESTIONS)
    for column, question in enumerate(QUESTIONS.questions):
        alone = ask(checkpoint, frames, QuestionSet((Question("alone", question.ask),)))
        np.testing.assert_allclose(alone.p_yes[:, 0], together.p_yes[:, column], rtol=0, atol=LEAK)


CANDIDATES = QuestionSet(
    (
        Question("words", "is the dog there?", yes=("sofa", "there"), no=("ball", "dog", "no")),
        Question("phrases", "playing?", yes=("yes", "sofa there"), no=("no", "playing with a ball")),
        Question("present", "is there a dog?"),
    )
)


def test_candidates_score_as_hugging_faces_decoder_does(tmp_path: Path) -> None:
    """One word by the first token, several teacher-forced to their end: each sum over Hugging Face's own decoder, alone."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(6, checkpoint.image.size)
    answers, reference = ask(checkpoint, frames, CANDIDATES), answers_alone(checkpoint, CANDIDATES, frames)
    assert reference.p_yes.std(0).min() > 10 * TOLERANCE, "the pictures do not matter"
    np.testing.assert_allclose(answers.p_yes, reference.p_yes, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(answers.share, reference.share, rtol=0, atol=TOLERANCE)


def test_phrases_log_probability_is_the_decoders_own_loss(tmp_path: Path) -> None:
    """What BLIP's rank mode ranks by: the summed cross-entropy of the words behind the start token, the end included."""
    checkpoint = load(str(save_tiny(tmp_path)))
    frames = pictures(1, checkpoint.image.size)
    phrase, other = "playing with a ball", "sleeping there"
    tokenize, vqa = checkpoint.vocabulary.tokenize, checkpoint.vqa
    with torch.inference_mode():
        image = vqa.vision_model(pixel_values=normalise(list(frames), checkpoint.image))[0]
        asked = torch.tensor([tokenize("playing?")])
        states = vqa.text_encoder(input_ids=asked, encoder_hidden_states=image, return_dict=False)[0]
        losses = []
        for said in (phrase, other):
            ids = torch.tensor([[checkpoint.vocabulary.start, *tokenize(said)[1:]]])
            logits = vqa.text_decoder(input_ids=ids, attention_mask=torch.ones_like(ids), encoder_hidden_states=states).logits
            losses.append(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum"))
        ranked = torch.softmax(-torch.stack(losses), 0)
    answers = ask(checkpoint, frames, QuestionSet((Question("what", "playing?", yes=(phrase,), no=(other,)),)))
    assert answers.p_yes[0, 0] == pytest.approx(float(ranked[0]), abs=TOLERANCE)
    assert answers.share[0, 0] == pytest.approx(float((-torch.stack(losses)).exp().sum()), rel=1e-3)
