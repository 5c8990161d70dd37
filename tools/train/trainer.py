"""Trains the tiny BLIP in three stages of one run: see, then answer, then settle.

1. `see`: vision alone learns which class of thing covers each patch, from the renderer's masks, and a linear guess of all
   answers; without this the questions stay at chance for the first 16,000 pictures.
2. `answer`: the packed questions join, with the two decoder steps that `generate()` will take: start -> answer -> end.
3. `settle`: the same with the learning rate falling to nothing; brings the last points.

The heads of stage 1 are thrown away. The forward pass is the pipeline's own stages, not a second one. The result depends on
the seed and on the number of threads (the order of float sums), so that is fixed; it counts steps, never time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.blip import AnswerDecoder, ImageEncoder, QuestionEncoder
from pipeline.packing import pack
from tools.scenes.moments import BEHAVIORS
from tools.scenes.pen import CLASSES
from tools.train.dataset import CELLS, IMAGE_SIZE, Pictures
from tools.train.model import PATCH, QUESTIONS, WIDTH, Vocabulary, make_model

THREADS = 2
BATCH = 32
WARM_UP_STEPS = 100
RATE = 1e-3
FLOOR = 0.02
"""Share of the rate left at the end."""
END_WEIGHT = 0.1
CLASS_WEIGHTS = {"bowl": 2.0, "ball": 3.0, "body": 1.5, "head": 3.0, "mouth": 6.0, "bark": 6.0}
COVERED = 85
"""Share of a cell, of 255, from which on a class counts as fully there."""
BALANCE_PICTURES = 8_192
"""Pictures from which the yes rates are measured: a prefix, so that a short run weighs like the long one."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_NOISE_SIDE = 192
_MIRRORED = 0.5
_LOGGED_STEPS = 50


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps of each stage, and the share of the last one over which the rate falls."""

    see: int = 2_200
    answer: int = 2_000
    settle: int = 7_500
    falling: float = 0.8

    @property
    def steps(self) -> int:
        """All steps."""
        return self.see + self.answer + self.settle

    def rate(self, step: int) -> float:
        """Learning rate: warmed up anew for each stage, falling in the last."""
        starts = (0, self.see, self.see + self.answer)
        start = max(begin for begin in starts if begin <= step)
        warm = min(1.0, (step - start + 1) / WARM_UP_STEPS)
        left = min(1.0, (self.steps - step) / (self.settle * self.falling))
        return RATE * warm * (left * (1 - FLOOR) + FLOOR)


@dataclass(frozen=True, slots=True)
class Logged:
    """Mean loss of the steps up to and including `step`, since the last report."""

    step: int
    seen: float
    """Loss of the stage-1 heads."""
    answered: float
    """Loss of the answers; 0 in stage 1."""


Report = Callable[[Logged], None]


class Learner(nn.Module):
    """The model in its pipeline stages, with the heads that only training needs."""

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.model = model
        self.image = ImageEncoder(model.vision_model, MEAN, STD)
        self.question = QuestionEncoder(model.text_encoder)
        self.answer = AnswerDecoder(model.text_decoder)
        self.covers = nn.Linear(WIDTH, len(CLASSES))
        self.guess = nn.Linear(WIDTH, len(BEHAVIORS))
        self.vocabulary = vocabulary
        packed = pack(QUESTIONS, vocabulary.words(model.config.text_config.max_position_embeddings)).inputs
        self.token_ids, self.positions, self.segments, owners = map(
            torch.from_numpy, (packed.token_ids, packed.positions, packed.segments, packed.owners)
        )
        count = len(QUESTIONS.questions)
        same = torch.eye(count, dtype=torch.bool)
        self._own_answer = torch.cat([torch.cat([same, torch.zeros_like(same)], 1), torch.cat([same, same], 1)])
        self._own_question = (owners[:, None] == self.segments[None]).repeat(2, 1)
        self._answer_positions = torch.arange(2).repeat_interleave(count)

    def decode(self, image_BPC: Tensor, answers_BQ: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, Q, V) after the start token, and after the true answer."""
        states = self.question(image_BPC, self.token_ids, self.positions, self.segments)
        tokens = torch.cat([torch.full_like(answers_BQ, self.vocabulary.start), answers_BQ], 1)
        logits = self.answer(states, tokens, self._answer_positions, self._own_answer, self._own_question)
        first, second = logits.chunk(2, 1)
        return first, second


class Trainer:
    """One run: `step` after `step` over a set of pictures."""

    def __init__(self, pictures: Pictures, vocabulary: Vocabulary, schedule: Schedule, seed: int) -> None:
        torch.set_num_threads(THREADS)
        torch.set_flush_denormal(True)  # the optimizer's small moments would slow down old CPUs
        torch.manual_seed(seed)
        self._choices = np.random.default_rng(seed)
        self._pictures = pictures
        self._schedule = schedule
        self._learner = Learner(make_model(vocabulary), vocabulary)
        weights = [parameter for parameter in self._learner.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self._learner.parameters() if parameter.ndim <= 1]
        groups = [{"params": weights, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
        self._optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
        self._grain = torch.randn(3, 3, _NOISE_SIDE, _NOISE_SIDE)
        self._class_weights = torch.tensor([CLASS_WEIGHTS.get(name, 1.0) for name in CLASSES])
        yes_rate = torch.from_numpy(pictures.truth[:BALANCE_PICTURES].mean(0)).float()
        self._yes_weight, self._no_weight = (0.5 / yes_rate).sqrt(), (0.5 / (1 - yes_rate)).sqrt()
        self._order = np.arange(len(pictures.truth))

    @property
    def model(self) -> Any:
        """The checkpoint being trained, without the training heads."""
        return self._learner.model

    def run(self, steps: int, report: Report) -> None:
        """Take the first `steps` steps; `report` is called every 50."""
        self._learner.train()
        sums = np.zeros(2)
        for step in range(steps):
            sums += self._step(step)
            if (step + 1) % _LOGGED_STEPS == 0:
                seen, answered = (sums / _LOGGED_STEPS).tolist()
                report(Logged(step + 1, seen, answered))
                sums[:] = 0
        self._learner.eval()

    def _step(self, step: int) -> tuple[float, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.rate(step)
        rows = self._rows(step)
        pixels, grid = self._augmented(self._pictures.pixels[rows], self._pictures.classes[rows])
        yes = torch.from_numpy(self._pictures.truth[rows]).bool()
        image = self._learner.image.encode(pixels)
        seen = self._seen_loss(image, grid, yes, guessing=step < self._schedule.see)
        answered = self._answer_loss(image, yes) if step >= self._schedule.see else torch.zeros(())
        self._optimizer.zero_grad(set_to_none=True)
        (seen + answered).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._learner.parameters(), 1.0)
        self._optimizer.step()
        return seen.item(), answered.item()

    def _rows(self, step: int) -> np.ndarray:
        """The first pass takes the pictures in order, so that a short run needs only a prefix; later ones shuffle."""
        batches = len(self._order) // BATCH
        turn = step % batches
        if turn == 0 and step:
            self._choices.shuffle(self._order)
        return np.sort(self._order[turn * BATCH : (turn + 1) * BATCH])

    def _seen_loss(self, image_BPC: Tensor, grid: Tensor, yes: Tensor, *, guessing: bool) -> Tensor:
        patches = image_BPC[:, 1:]
        covered = (functional.max_pool2d(grid, CELLS * PATCH // IMAGE_SIZE) / COVERED).clamp(max=1)
        dense = functional.binary_cross_entropy_with_logits(
            self._learner.covers(patches), covered.flatten(2).transpose(1, 2), reduction="none"
        )
        loss = (dense.mean((0, 1)) * self._class_weights).sum()
        if guessing:
            guess = self._learner.guess(patches.mean(1))
            loss = loss + functional.binary_cross_entropy_with_logits(guess, yes.float(), weight=self._weight(yes))
        return loss

    def _answer_loss(self, image_BPC: Tensor, yes: Tensor) -> Tensor:
        vocabulary = self._learner.vocabulary
        answers = torch.where(yes, vocabulary.yes, vocabulary.no)
        first, second = self._learner.decode(image_BPC, answers)
        losses = functional.cross_entropy(first.flatten(0, 1), answers.flatten(), reduction="none")
        end = functional.cross_entropy(second.flatten(0, 1), torch.full_like(answers, vocabulary.end).flatten())
        return (losses * self._weight(yes).flatten()).mean() + END_WEIGHT * end

    def _weight(self, yes: Tensor) -> Tensor:
        return torch.where(yes, self._yes_weight, self._no_weight)

    def _augmented(self, pixels: np.ndarray, classes: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mirror, shift by up to half a patch, change gain, colour and brightness, add noise; normalised float32."""
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float()
        grid = torch.from_numpy(classes).float()
        batch = len(x)
        mirrored = torch.rand(batch) < _MIRRORED
        x[mirrored], grid[mirrored] = x[mirrored].flip(-1), grid[mirrored].flip(-1)
        down, right = self._choices.integers(0, 3, 2).tolist()
        cell = IMAGE_SIZE // CELLS
        padded = functional.pad(x, (cell, cell, cell, cell), mode="replicate")
        x = padded[:, :, down * cell :, right * cell :][:, :, :IMAGE_SIZE, :IMAGE_SIZE]
        grid = functional.pad(grid, (1, 1, 1, 1))[:, :, down:, right:][:, :, :CELLS, :CELLS]
        gain = torch.empty(batch, 1, 1, 1).uniform_(0.8, 1.2) * torch.empty(batch, 3, 1, 1).uniform_(0.92, 1.08)
        x = x * gain + torch.empty(batch, 1, 1, 1).uniform_(-15, 15)
        tile, top, left = self._choices.integers((3, _NOISE_SIDE - IMAGE_SIZE, _NOISE_SIDE - IMAGE_SIZE)).tolist()
        grain = self._grain[tile, :, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
        x = (x + grain * torch.empty(batch, 1, 1, 1).uniform_(0, 5)).clamp_(0, 255)
        return (x / 255 - self._learner.image.mean) / self._learner.image.std, grid
