"""What a user of transformers can do without this project, and the packed pass before it is compiled. One frame at a time."""

import copy
import signal
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.answers import Answers
from pipeline.checkpoint import Checkpoint
from pipeline.packing import pack
from pipeline.questions import QuestionSet
from pipeline.reference import ANSWER_TOKENS, generate, normalise, read_yes_no, share_image


class _OutOfTime(BaseException):
    """No `Exception`: torch's compiler would take one for a graph that it cannot compile, and go on."""


class HuggingFace:
    """The contenders over one checkpoint and one frame."""

    def __init__(self, checkpoint: Checkpoint, questions: QuestionSet, frame_SS3: NDArray[np.uint8]) -> None:
        """Tokenise and normalise beforehand: only the packed pass, like an artifact, starts from bytes."""
        self._checkpoint = checkpoint
        self._packed = pack(questions, checkpoint.vocabulary)
        self._asked = [checkpoint.vocabulary.tokenize(question.ask) for question in questions.questions]
        self._frame_1SS3 = frame_SS3[None]
        self._pixels_13SS = normalise([frame_SS3], checkpoint.image)
        self._batch = _padded_batch(self._asked, self._pixels_13SS, pad=checkpoint.vqa.config.text_config.pad_token_id)
        self._compiled_vqa: Any = None

    @torch.inference_mode()
    def answers(self, frames_NSS3: NDArray[np.uint8]) -> Answers:
        """Ask any number of frames by `generate()`, each question alone: what all others are judged by."""
        said = []
        for frame in frames_NSS3:
            pixels = normalise([frame], self._checkpoint.image)
            said.append(torch.stack([generate(self._checkpoint.vqa, pixels, tokens).first_logits for tokens in self._asked], 1))
        yes, no = (self._checkpoint.vocabulary.tokenize(word)[1] for word in ("yes", "no"))
        return read_yes_no(torch.cat(said), yes, no)

    @torch.inference_mode()
    def generate(self) -> None:
        """`generate()`, one unpadded question after the other."""
        for tokens in self._asked:
            generate(self._checkpoint.vqa, self._pixels_13SS, tokens)

    @torch.inference_mode()
    def generate_batch(self) -> None:
        """`generate()` with all questions as one padded batch, the picture repeated, as the checkpoint's processor makes it.

        Its answers differ: the decoder reads the padding (`pipeline.reference`).
        """
        _generate(self._checkpoint.vqa, self._batch)

    @torch.inference_mode()
    def generate_batch_compiled(self) -> None:
        """The same under torch.compile, after `compile`."""
        _generate(self._compiled_vqa, self._batch)

    def share_image(self) -> None:
        """Image encoded once, then Hugging Face's text encoder and one decoder step per question."""
        share_image(self._checkpoint.vqa, self._pixels_13SS, self._asked)

    def packed(self) -> Answers:
        """The packed pass over the checkpoint's own layers."""
        return self.packed_answers(self._frame_1SS3)

    @torch.inference_mode()
    def packed_answers(self, frames_NSS3: NDArray[np.uint8]) -> Answers:
        """The packed pass over any number of frames."""
        questions = map(torch.from_numpy, self._packed.inputs.arrays)
        return self._packed.read(self._checkpoint.blip(torch.tensor(frames_NSS3), *questions).numpy())

    def compile(self, limit_s: float) -> str | None:
        """Put image encoder, text encoder and text decoder of a copy under torch.compile.

        Args:
            limit_s: give up after so many seconds.

        Returns:
            Why it cannot be done here; None when it is done.
        """
        self._compiled_vqa = vqa = copy.deepcopy(self._checkpoint.vqa)
        try:
            with _at_most(limit_s), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's compiler speaks of its own internals
                for part in (vqa.vision_model, vqa.text_encoder, vqa.text_decoder):
                    part.compile()
                self.generate_batch_compiled()
                self.generate_batch_compiled()  # sizes that have changed are compiled once more
        except (RuntimeError, OSError) as error:  # torch's compiler's own are RuntimeErrors
            return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no further word')}"
        except _OutOfTime:
            return f"not compiled within {limit_s:.0f} s"
        return None


def _padded_batch(asked: Sequence[Sequence[int]], pixels_13SS: Tensor, pad: int) -> dict[str, Tensor]:
    longest = max(len(tokens) for tokens in asked)
    return {
        "input_ids": torch.tensor([[*tokens, *[pad] * (longest - len(tokens))] for tokens in asked]),
        "attention_mask": torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in asked]),
        "pixel_values": pixels_13SS.repeat(len(asked), 1, 1, 1),
    }


def _generate(vqa: Any, batch: dict[str, Tensor]) -> None:
    vqa.generate(**batch, do_sample=False, num_beams=1, min_new_tokens=ANSWER_TOKENS, max_new_tokens=ANSWER_TOKENS)


@contextmanager
def _at_most(limit_s: float) -> Iterator[None]:
    """Raise `_OutOfTime` in this, the main, thread. A timer that somebody else had set goes on."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _OutOfTime

    others = signal.signal(signal.SIGALRM, stop)
    begun = time.monotonic()
    left_s, interval_s = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, others)
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, max(left_s - (time.monotonic() - begun), 0.001), interval_s)
