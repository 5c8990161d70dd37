"""`bench model`: the figures that it promises, its table's and its plot's."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.backends.backend import Precision
from pipeline.checkpoint import load
from tests.integration.tiny_checkpoint import save_tiny
from tools.bench.contest import Contest
from tools.bench.engines import Plan, question_set, refusal, rung_set
from tools.bench.figures import CompiledFigures, Figures
from tools.bench.hugging_face import HuggingFace
from tools.bench.plot import alt_text, draw, save_plot
from tools.charts import check_chart
from tools.errors import CommandError

ROOT = Path(__file__).parent.parent.parent


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress."""


def measured(folder: Path, *precisions: Precision, buckets: tuple[int, ...] = (1, 2)) -> Figures:
    """A contest over the tiny checkpoint, three questions, two rounds."""
    model = save_tiny(folder / "model")
    plan = Plan(question_set(3), buckets, precisions, rounds=2, torch_compile_s=None)
    return Contest(lambda: load(str(model)), plan, folder, silent).run()


def figures(*, compiled_s: float | None = 0.5, max_abs_dp: float = 1e-6) -> Figures:
    """Figures as a run might give them."""
    shares = {"fp32": (0.8, 0.95), "bf16": (2.0, 2.6)}
    compiled = tuple(
        CompiledFigures("cpu", precision, bucket, 0.1 / share, share, max_abs_dp if precision == "fp32" else 0.02)
        for precision, values in shares.items()
        for bucket, share in zip((1, 8), values, strict=True)
    )
    return Figures(
        questions=8, bucket=1, generate_s=9.0, generate_batch_s=7.0, generate_batch_compiled_s=compiled_s,
        generate_batch_compiled_missing=None if compiled_s else "no compiler", shared_image_s=2.5, packed_s=1.0, speedup=9.0,
        max_abs_dp=1e-6, compiled=compiled, best_bucket=8, best_speedup=85.5, extra_question_percent=1.2,
        flops_per_frame=145 * 10**9, matrix_gflops=150.0, threads=2, rounds=5, torch="2", transformers="5",
    )  # fmt: skip


def test_figures_are_per_frame_and_consistent(tmp_path: Path) -> None:
    """Equal answers, quotients of the times that stand beside them, and one row per bucket."""
    found = measured(tmp_path, Precision.FP32)
    assert (found.questions, found.bucket, found.rounds) == (3, 1, 2)
    assert [(each.backend, each.precision, each.bucket) for each in found.compiled] == [("cpu", "fp32", 1), ("cpu", "fp32", 2)]
    assert found.speedup == pytest.approx(found.generate_s / found.packed_s)
    fastest = min(found.compiled, key=lambda each: each.frame_s)
    assert found.best_bucket == fastest.bucket
    assert found.best_speedup == pytest.approx(found.generate_s / fastest.frame_s)
    for each in found.compiled:
        rate = found.flops_per_frame / each.frame_s / 1e9
        assert each.share_of_matrix_rate == pytest.approx(rate / found.matrix_gflops)
        assert each.max_abs_dp < 1e-5
    assert found.max_abs_dp < 1e-5
    assert found.is_equal
    assert min(found.generate_s, found.generate_batch_s, found.shared_image_s, found.packed_s, found.matrix_gflops) > 0
    assert (found.generate_batch_compiled_s, found.generate_batch_compiled_missing) == (None, "left out by --no-torch-compile")
    assert math.isfinite(found.extra_question_percent)


@pytest.mark.proof
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.INT8])
def test_lower_precisions_meet_in_the_same_rounds(tmp_path: Path, precision: Precision) -> None:
    """Their deviation is reported, never died of, and does not count as wrong."""
    if (reason := refusal(precision, (1, 2))) is not None:
        pytest.skip(f"THIS PROCESSOR CANNOT COMPUTE IN {precision.value}: {reason}")
    found = measured(tmp_path, Precision.FP32, precision)
    assert [each.precision for each in found.compiled] == ["fp32"] * 2 + [precision.value] * 2
    assert all(0 < each.max_abs_dp < 0.5 for each in found.compiled[2:])
    assert found.is_equal


def test_buckets_beyond_the_pictures_repeat_them(tmp_path: Path) -> None:
    """Each row of a larger batch is compared with its own picture's answers."""
    found = measured(tmp_path, Precision.FP32, buckets=(6,))
    assert found.compiled[0].max_abs_dp < 1e-5


def test_any_number_of_questions_can_be_measured() -> None:
    """Beyond the eight wordings they repeat under names of their own."""
    assert len(question_set(20).questions) == 20


@pytest.mark.parametrize("source", ["tiny", "demo"])
def test_a_rungs_questions_have_eight_tokens(tmp_path: Path, source: str) -> None:
    """What one more question costs is told of questions of eight tokens, in every vocabulary that is measured."""
    checkpoint = load(str(save_tiny(tmp_path) if source == "tiny" else ROOT / "artifacts" / "demo"))
    assert {len(checkpoint.vocabulary.tokenize(each.ask)) for each in rung_set(16).questions} == {8}


@pytest.mark.parametrize("off", [1.1e-4, math.nan])
def test_answers_that_differ_are_not_equal(off: float) -> None:
    """NaN is no agreement either."""
    assert figures().is_equal
    assert not figures(max_abs_dp=off).is_equal


@pytest.fixture
def contenders(tmp_path: Path) -> HuggingFace:
    """Hugging Face's ways over the tiny checkpoint."""
    checkpoint = load(str(save_tiny(tmp_path)))
    return HuggingFace(checkpoint, question_set(2), np.zeros((checkpoint.image.size, checkpoint.image.size, 3), np.uint8))


def test_what_torch_cannot_compile_is_said(contenders: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a C++ compiler still gets the other figures."""
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.fx_graph_cache", False)
    reason = contenders.compile(limit_s=120)
    assert reason is not None
    assert "compiler" in reason.lower()
    contenders.generate_batch()


def test_a_compiler_that_takes_too_long_is_given_up(contenders: HuggingFace) -> None:
    """Long before minutes have passed; the checkpoint's own modules stay as they were."""
    assert contenders.compile(limit_s=0.2) == "not compiled within 0 s"
    contenders.generate_batch()


def test_the_plots_bars_are_the_figures() -> None:
    """Every contender once on the left, every bucket and precision on the right."""
    found = figures()
    times, shares = draw(found, "title").axes
    assert [bar.get_width() for bar in times.patches] == pytest.approx(
        [9000, 7000, 500, 2500, 1000, 100 / 0.95, 100 / 2.6], rel=1e-9
    )
    assert times.get_xscale() == "log"
    assert [tick.get_text() for tick in times.get_yticklabels()][-2:] == ["compiled fp32, batch 8", "compiled bf16, batch 8"]
    assert [bar.get_height() for bar in shares.patches] == [0.8, 0.95, 2.0, 2.6]
    assert [text.get_text() for text in shares.get_legend().get_texts()] == ["fp32", "bf16"]
    least, most = times.get_xlim()
    assert all(least < bar.get_width() < most for bar in times.patches)


def test_the_plot_is_a_picture_with_words(tmp_path: Path) -> None:
    """A PNG of a readable size that says what it shows; what was not measured is left out."""
    found = figures(compiled_s=None)
    words = save_plot(found, "base, 8 questions", tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
        assert picture.info["Description"] == words == alt_text(found)
    assert "generate() per question 9000.0 ms" in words
    assert "bf16 2.60 at batch 8" in words
    assert "torch.compile" not in words


def no_folder(_patch: pytest.MonkeyPatch) -> str:
    """A folder that is not there."""
    return "no/such/folder/bench.png"


def no_picture(_patch: pytest.MonkeyPatch) -> str:
    """Another format."""
    return "bench.pdf"


def no_matplotlib(patch: pytest.MonkeyPatch) -> str:
    """An environment for workers."""
    patch.setattr("tools.charts.find_spec", lambda _name: None)
    return "bench.png"


@pytest.mark.parametrize(
    ("arrange", "said"),
    [(no_folder, "there is no folder"), (no_picture, r"ends in \.png or \.svg"), (no_matplotlib, "by tools/run")],
)
def test_a_plot_that_cannot_be_drawn_is_refused_beforehand(
    arrange: Callable[[pytest.MonkeyPatch], str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after a quarter of an hour."""
    with pytest.raises(CommandError, match=said):
        check_chart("--plot", Path(arrange(monkeypatch)))


@pytest.mark.slow
def test_the_command_writes_document_and_picture(tmp_path: Path) -> None:
    """On the demo checkpoint, in a process of its own: fields, exit status, nothing but JSON on standard output."""
    command = [
        "bench",
        "model",
        "--config",
        "demo",
        "--rounds",
        "1",
        "--buckets",
        "1,2",
        "--precision",
        "fp32",
        "--no-torch-compile",
    ]
    picture = tmp_path / "bench.png"
    done = subprocess.run(
        [sys.executable, "-m", "tools", *command, "--json", "-", "--plot", os.fspath(picture)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert {"config", "generate_s", "packed_s", "matrix_gflops", "extra_question_percent", "best_speedup"} <= said.keys()
    assert {"backend", "precision", "bucket", "frame_s", "share_of_matrix_rate", "max_abs_dp"} == said["compiled"][0].keys()
    assert picture.stat().st_size > 10_000
    assert "Time per frame: generate() per question" in done.stderr
