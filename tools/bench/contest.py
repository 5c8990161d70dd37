"""The contenders of `bench model`, on one frame batch, in interleaved rounds: a slow moment of the machine hits them all."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch
import transformers

from pipeline.checkpoint import Checkpoint
from pipeline.engine import CpuEngine
from pipeline.questions import Question, QuestionSet
from pipeline.reference import generate, normalise, read_answers, share_image

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
_PRODUCTS = 20
"""Matrix products per measurement: 50 ms and more at the base model's size."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run measured. Seconds are per frame, medians over the rounds."""

    questions: int
    bucket: int
    generate_s: float
    """Hugging Face `generate()`, one question after the other, from normalised pixels."""
    shared_image_s: float
    """Image encoded once, then Hugging Face's text encoder and one decoder step per question."""
    packed_s: float
    """This project's engine, from uint8 pixels."""
    speedup: float
    """generate_s / packed_s."""
    matrix_gflops: float
    """float32 matrix product at the model's main shape: image tokens x width by width x MLP width."""
    max_abs_dp: float
    """Largest difference of P(yes) or share between the packed pass and `generate()`."""
    threads: int
    rounds: int
    torch: str
    transformers: str


def question_set(count: int) -> QuestionSet:
    """So many questions of a pet camera's usual length; beyond eight the wordings repeat."""
    return QuestionSet(tuple(Question(f"question_{index + 1}", WORDINGS[index % len(WORDINGS)]) for index in range(count)))


class Contest:
    """All contenders over the same weights, frames and threads."""

    def __init__(self, checkpoint: Checkpoint, questions: QuestionSet, *, bucket: int, threads: int | None) -> None:
        """Draw the frames: noise, since no contender's time depends on what is on them."""
        self._checkpoint = checkpoint
        self._engine = CpuEngine(checkpoint, questions, buckets=(bucket,), threads=threads)
        self._asked = [checkpoint.tokenize(question.ask) for question in questions.questions]
        side = checkpoint.image.size
        self._frames = np.random.default_rng(0).integers(0, 256, (bucket, side, side, 3), np.uint8)
        self._pixels = normalise(list(self._frames), checkpoint.image)
        vision = checkpoint.vqa.config.vision_config
        tokens = bucket * ((side // vision.patch_size) ** 2 + 1)
        self._factors = torch.randn(tokens, vision.hidden_size), torch.randn(vision.hidden_size, vision.intermediate_size)

    def run(self, rounds: Iterable[int]) -> Figures:
        """Meet once untimed, compare the answers, then take the rounds."""
        max_abs_dp = self._difference()
        self._share_image()
        contenders = (self._generate, self._share_image, self._pack, self._multiply)
        timed = [[_seconds(contender) for contender in contenders] for _ in rounds]
        generate_s, shared_image_s, packed_s, products_s = (median(column) for column in zip(*timed, strict=True))
        bucket = len(self._frames)
        (tokens, width), (_, mlp) = (factor.shape for factor in self._factors)
        return Figures(
            questions=len(self._asked),
            bucket=bucket,
            generate_s=generate_s / bucket,
            shared_image_s=shared_image_s / bucket,
            packed_s=packed_s / bucket,
            speedup=generate_s / packed_s,
            matrix_gflops=_PRODUCTS * 2 * tokens * width * mlp / products_s / 1e9,
            max_abs_dp=max_abs_dp,
            threads=torch.get_num_threads(),
            rounds=len(timed),
            torch=torch.__version__,
            transformers=transformers.__version__,
        )

    def _difference(self) -> float:
        first_BQV = torch.stack([generate(self._checkpoint.vqa, self._pixels, tokens).first_logits for tokens in self._asked], 1)
        reference = read_answers(first_BQV, self._checkpoint.blip.tokens)
        answers = self._engine.answer(self._frames, len(self._frames))
        return float(max(abs(answers.p_yes - reference.p_yes).max(), abs(answers.share - reference.share).max()))

    def _generate(self) -> None:
        for tokens in self._asked:
            generate(self._checkpoint.vqa, self._pixels, tokens)

    def _share_image(self) -> None:
        share_image(self._checkpoint.vqa, self._pixels, self._asked)

    def _pack(self) -> None:
        self._engine.answer(self._frames, len(self._frames))

    def _multiply(self) -> None:
        left, right = self._factors
        for _ in range(_PRODUCTS):
            torch.mm(left, right)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
