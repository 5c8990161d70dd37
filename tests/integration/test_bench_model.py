"""`bench model`: the figures that it promises."""

from pathlib import Path

import pytest

from pipeline.checkpoint import load
from tests.integration.tiny_checkpoint import save_tiny
from tools.bench.contest import Contest, question_set


def test_figures_are_per_frame_and_consistent(tmp_path: Path) -> None:
    """Equal answers, a speedup that is the quotient of its two times, and the sizes that were asked for."""
    figures = Contest(load(str(save_tiny(tmp_path))), question_set(3), bucket=2, threads=None).run(range(2))
    assert (figures.questions, figures.bucket, figures.rounds) == (3, 2, 2)
    assert figures.speedup == pytest.approx(figures.generate_s / figures.packed_s)
    assert min(figures.generate_s, figures.shared_image_s, figures.packed_s) > 0
    assert figures.matrix_gflops > 0
    assert figures.max_abs_dp < 1e-5


def test_any_number_of_questions_can_be_measured() -> None:
    """Beyond the eight wordings they repeat under names of their own."""
    assert len(question_set(20).questions) == 20
