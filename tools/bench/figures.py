"""What `bench model` measures, under the names of its JSON document."""

from dataclasses import dataclass

from pipeline.backends.backend import Precision

TOLERANCE = 1e-4
"""Largest difference of P(yes) or share from `generate()`'s that counts as equal."""


@dataclass(frozen=True, slots=True)
class CompiledFigures:
    """One artifact at one batch size."""

    backend: str
    precision: str
    bucket: int
    frame_s: float
    share_of_matrix_rate: float
    """Of `matrix_gflops`, the fp32 rate, whatever the precision."""
    max_abs_dp: float
    """Largest difference of P(yes) or share from `generate()`'s."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run measured. Seconds are per frame, medians over the rounds."""

    questions: int
    bucket: int
    """Frames at a time of every contender but the compiled ones."""
    generate_s: float
    """Hugging Face `generate()`, one question after the other, from normalised pixels."""
    generate_batch_s: float
    """`generate()` with all questions as one padded batch. Its answers are others."""
    generate_batch_compiled_s: float | None
    """The same with image encoder, text encoder and text decoder under torch.compile."""
    generate_batch_compiled_missing: str | None
    """Why there is none."""
    shared_image_s: float
    """Image encoded once, then Hugging Face's text encoder and one decoder step per question."""
    packed_s: float
    """This project's packed pass over the checkpoint's own layers, not compiled, from uint8 pixels."""
    speedup: float
    """generate_s / packed_s."""
    max_abs_dp: float
    """Largest difference of P(yes) or share between the packed pass and `generate()`."""
    compiled: tuple[CompiledFigures, ...]
    best_bucket: int
    """Of the compiled fp32 artifact."""
    best_speedup: float
    """generate_s / the compiled fp32 artifact's frame_s at its best bucket."""
    extra_question_percent: float
    """What one more question of eight tokens costs, in percent of a frame with eight: compiled fp32, best bucket."""
    flops_per_frame: int
    """By the model's sizes, over the real questions and tokens."""
    matrix_gflops: float
    """The best float32 matrix product of image tokens of a batch x width by width x (width or MLP width)."""
    threads: int
    rounds: int
    torch: str
    transformers: str

    @property
    def is_equal(self) -> bool:
        """Whether the packed and the compiled fp32 answers are `generate()`'s."""
        compiled = [each.max_abs_dp for each in self.compiled if each.precision == Precision.FP32]
        return all(each <= TOLERANCE for each in (self.max_abs_dp, *compiled))  # NaN is not

    def fastest(self) -> list[CompiledFigures]:
        """The artifact of each precision at its best bucket."""
        precisions = dict.fromkeys(each.precision for each in self.compiled)
        return [
            min((each for each in self.compiled if each.precision == name), key=lambda each: each.frame_s) for name in precisions
        ]

    def alone(self) -> dict[str, float | None]:
        """Seconds per frame of all that is not compiled, by its name in table and plot."""
        return {
            "generate() per question": self.generate_s,
            "generate(), padded batch": self.generate_batch_s,
            "the same, torch.compile": self.generate_batch_compiled_s,
            "image encoded once": self.shared_image_s,
            "packed, not compiled": self.packed_s,
        }
