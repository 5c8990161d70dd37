"""The contenders of `bench model` on the same weights and pictures, in interleaved rounds, and the figures that follow."""

from collections.abc import Hashable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers

from pipeline.answers import Answers
from pipeline.backends.backend import Precision
from pipeline.compile import Report, compare
from pipeline.packing import PackedQuestions
from tools.bench.engines import BACKEND, PICTURES, Plan, Source, compile_engines, rung_set
from tools.bench.figures import TOLERANCE, CompiledFigures, Figures
from tools.bench.flops import flops_per_frame
from tools.bench.hugging_face import HuggingFace
from tools.bench.timing import Product, Work, medians, slope
from tools.compile import scenes

_RUNGS = (8, 16)
"""Questions of eight tokens: what the capacity's rungs are made for."""
_MORE_ROUNDS = 3
"""A question is about 1 % of a frame, eight are about 10 %: noise must stay well below."""

Took = Mapping[Hashable, float]
"""Median seconds per contender: Hugging Face's by name, artifacts by precision and bucket, matrix products by shape."""


class Contest:
    """Makes the contenders ready and lets them meet."""

    def __init__(self, source: Source, plan: Plan, folder: Path, report: Report) -> None:
        """Compile every precision, then load the checkpoint for the others.

        Args:
            source: makes the checkpoint.
            plan: what is measured.
            folder: for the artifacts.
            report: told of every step.
        """
        self._plan = plan
        self._report = report
        self._engines = compile_engines(source, plan, folder, report)
        report("building the model", 0, 1)
        checkpoint = source()
        self._config = checkpoint.vqa.config
        drawn = scenes(PICTURES, checkpoint.image.size)
        self._frames = np.resize(drawn, (plan.buckets[-1], *drawn.shape[1:]))  # repeats or cuts
        self._differing = min(len(drawn), plan.buckets[-1])
        self._hugging_face = HuggingFace(checkpoint, plan.questions, self._frames[0])
        lengths = [len(checkpoint.vocabulary.tokenize(question.ask)) for question in plan.questions.questions]
        self._flops = flops_per_frame(self._config, lengths)

    def run(self) -> Figures:
        """Compare the answers, take the rounds, then the slope."""
        off = self._deviations()
        missing = self._compile_hugging_face()
        products = self._products()
        contenders = self._contenders(is_compiled=missing is None) | {shape: each.run for shape, each in products.items()}
        took: Took = medians(contenders, self._plan.rounds, self._report)
        matrix_flops_s = max(each.flops / took[shape] for shape, each in products.items())
        compiled = self._compiled_figures(took, off, matrix_flops_s)
        best = min((each for each in compiled if each.precision == Precision.FP32), key=lambda each: each.frame_s)
        return Figures(
            questions=len(self._plan.questions.questions),
            bucket=1,
            generate_s=took["generate"],
            generate_batch_s=took["generate_batch"],
            generate_batch_compiled_s=took.get("generate_batch_compiled"),
            generate_batch_compiled_missing=missing,
            shared_image_s=took["share_image"],
            packed_s=took["packed"],
            speedup=took["generate"] / took["packed"],
            max_abs_dp=off["packed"],
            compiled=compiled,
            best_bucket=best.bucket,
            best_speedup=took["generate"] / best.frame_s,
            extra_question_percent=self._extra_question_percent(best.bucket),
            flops_per_frame=self._flops,
            matrix_gflops=matrix_flops_s / 1e9,
            threads=torch.get_num_threads(),
            rounds=self._plan.rounds,
            torch=torch.__version__,
            transformers=transformers.__version__,
        )

    def _deviations(self) -> dict[Hashable, float]:
        """Largest difference of P(yes) or share from `generate()`'s, of the packed pass and of each artifact at each bucket."""
        differing = self._frames[: self._differing]
        self._report("asking generate()", 0, 1)
        reference = self._hugging_face.answers(differing)
        off: dict[Hashable, float] = {
            "packed": compare(self._hugging_face.packed_answers(differing), reference, TOLERANCE).max_abs_dp
        }
        for number, (precision, engine) in enumerate(self._engines.items()):
            self._report(f"{precision.value}: comparing the answers", number, len(self._engines))
            for bucket in self._plan.buckets:
                answers = engine.answer(self._frames[:bucket], bucket)
                rows = np.arange(bucket) % self._differing
                expected = Answers(p_yes=reference.p_yes[rows], share=reference.share[rows])
                off[precision, bucket] = compare(answers, expected, TOLERANCE).max_abs_dp
        return off

    def _compile_hugging_face(self) -> str | None:
        """Put `generate()` under torch.compile; say why it is left out."""
        if self._plan.torch_compile_s is None:
            return "left out by --no-torch-compile"
        self._report("torch.compile", 0, 1)
        return self._hugging_face.compile(self._plan.torch_compile_s)

    def _contenders(self, *, is_compiled: bool) -> dict[Hashable, Work]:
        alone = self._hugging_face
        contenders: dict[Hashable, Work] = {
            "generate": alone.generate,
            "generate_batch": alone.generate_batch,
            "share_image": alone.share_image,
            "packed": alone.packed,
        }
        if is_compiled:
            contenders["generate_batch_compiled"] = alone.generate_batch_compiled
        for precision, engine in self._engines.items():
            for bucket in self._plan.buckets:
                contenders[precision, bucket] = partial(engine.answer, self._frames[:bucket], bucket)
        return contenders

    def _products(self) -> dict[Hashable, Product]:
        vision = self._config.vision_config
        tokens, width = (vision.image_size // vision.patch_size) ** 2 + 1, vision.hidden_size
        shapes = [
            (tokens * bucket, width, columns) for bucket in self._plan.buckets for columns in (vision.intermediate_size, width)
        ]
        return {shape: Product.of(*shape) for shape in shapes}

    def _compiled_figures(self, took: Took, off: Mapping[Hashable, float], matrix_flops_s: float) -> tuple[CompiledFigures, ...]:
        return tuple(
            CompiledFigures(
                backend=BACKEND,
                precision=precision.value,
                bucket=bucket,
                frame_s=took[precision, bucket] / bucket,
                share_of_matrix_rate=self._flops * bucket / took[precision, bucket] / matrix_flops_s,
                max_abs_dp=off[precision, bucket],
            )
            for precision in self._engines
            for bucket in self._plan.buckets
        )

    def _extra_question_percent(self, bucket: int) -> float:
        engine = self._engines[Precision.FP32]
        packed = [engine.prepare(rung_set(count)) for count in _RUNGS]
        assert [each.inputs.size.tokens for each in packed] == [8 * count for count in _RUNGS], packed

        def answer(questions: PackedQuestions) -> None:
            engine.ask(questions)
            engine.answer(self._frames[:bucket], bucket)

        more = slope(partial(answer, packed[0]), partial(answer, packed[1]), _MORE_ROUNDS * self._plan.rounds, self._report)
        return more / (_RUNGS[1] - _RUNGS[0]) * 100
