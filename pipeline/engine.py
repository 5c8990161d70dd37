"""Runs the model on the host's CPU: batches of frames in, answers out. Knows nothing of where frames come from.

What it raises while answering is `DeviceLost`: a process whose model failed once is not to be trusted with the next batch.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.checkpoint import Checkpoint
from pipeline.errors import DeviceLost
from pipeline.packing import pack
from pipeline.questions import QuestionSet

PackedTokens: TypeAlias = tuple[torch.Tensor, ...]

BUCKETS = (1, 2, 4, 8)
"""Batch sizes that callers pad to."""


class CpuEngine:
    """A question set put to a checkpoint on the CPU, eager float32. Calls must not overlap."""

    def __init__(
        self, checkpoint: Checkpoint, questions: QuestionSet, *, buckets: Sequence[int] = BUCKETS, threads: int | None = None
    ) -> None:
        """Tokenise and pack the questions.

        Args:
            checkpoint: what to ask; its weights are used in place.
            questions: what is asked of every frame.
            buckets: batch sizes, ascending.
            threads: torch's threads within one operation, of the whole process; None leaves torch's choice.

        Raises:
            QuestionError: a question is longer than the model's positions.
        """
        assert list(buckets) == sorted(set(buckets)), buckets
        assert buckets[0] > 0, buckets
        self.buckets = tuple(buckets)
        """Batch sizes, ascending."""
        self.image_size = checkpoint.image.size
        """Side of the frames, pixels."""
        self.model_id = checkpoint.model_id
        self.weights = checkpoint.weights
        """First 16 hex digits of the weights' SHA-256."""
        self._checkpoint = checkpoint
        self._blip = checkpoint.blip
        self.ask(self.prepare(questions))
        if threads is not None:
            torch.set_num_threads(threads)

    def prepare(self, questions: QuestionSet) -> tuple[QuestionSet, PackedTokens]:
        """Tokenise and pack a question set, without asking it yet.

        Raises:
            QuestionError: a question is longer than the model's positions.
        """
        tokens = [self._checkpoint.tokenize(question.ask) for question in questions.questions]
        packed = pack(tokens, max_positions=self._checkpoint.max_positions)
        return questions, tuple(map(torch.tensor, (packed.token_ids, packed.positions, packed.segments, packed.owners)))

    def ask(self, prepared: tuple[QuestionSet, PackedTokens]) -> None:
        """Ask these questions from now on. No call of `answer` may be running."""
        self.questions, self._packed = prepared

    def bucket_for(self, frames: int) -> int:
        """Smallest bucket that holds so many frames (1 to the largest bucket)."""
        assert 0 < frames <= self.buckets[-1], (frames, self.buckets)
        return next(bucket for bucket in self.buckets if bucket >= frames)

    def warm(self) -> None:
        """Answer one blank batch of every bucket, so that the first real one meets no first-time cost.

        Raises:
            DeviceLost: the model does not run here.
        """
        for bucket in self.buckets:
            self.answer(np.zeros((bucket, self.image_size, self.image_size, 3), np.uint8), bucket)

    def answer(self, pixels_BSS3: NDArray[np.uint8], frames: int) -> Answers:
        """Answer every question about the first `frames` pictures of a batch; the rest of it is padding.

        Args:
            pixels_BSS3: uint8 (bucket, S, S, 3) RGB.
            frames: how many of them are pictures, 1 to bucket.

        Returns:
            `frames` rows.

        Raises:
            DeviceLost: the model failed, or answered something that is no number.
        """
        bucket = pixels_BSS3.shape[0]
        assert pixels_BSS3.dtype == np.uint8, pixels_BSS3.dtype
        assert pixels_BSS3.shape[1:] == (self.image_size, self.image_size, 3), (pixels_BSS3.shape, self.image_size)
        assert bucket in self.buckets, (bucket, self.buckets)
        assert 0 < frames <= bucket, (frames, bucket)
        try:
            with torch.inference_mode():
                # shapes are dynamic here, so the padding is not computed
                answers_FQ2 = self._blip(torch.tensor(pixels_BSS3[:frames]), *self._packed).numpy()
        except (RuntimeError, MemoryError) as error:
            msg = f"the model {self.model_id} failed on the CPU with {frames} frames: {error}"
            raise DeviceLost(msg) from error
        if not np.isfinite(answers_FQ2).all():
            msg = f"the model {self.model_id} answers NaN on the CPU: its weights are damaged"
            raise DeviceLost(msg)
        return Answers(p_yes=answers_FQ2[..., 0], share=answers_FQ2[..., 1])
