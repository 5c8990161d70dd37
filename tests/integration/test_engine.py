"""The CPU engine: buckets, padding, and what it does when the model fails."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.checkpoint import Checkpoint, load
from pipeline.engine import CpuEngine
from pipeline.errors import DeviceLost, QuestionError
from pipeline.questions import Question, QuestionSet
from tests.integration.tiny_checkpoint import POSITIONS, QUESTIONS, SIDE, pictures, save_tiny


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """Load a small checkpoint that the test may break."""
    return load(str(save_tiny(tmp_path)))


def test_engine_tells_what_the_worker_needs(checkpoint: Checkpoint) -> None:
    """Image size, buckets, questions, model and weights are those that it was built from."""
    engine = CpuEngine(checkpoint, QUESTIONS)
    assert (engine.image_size, engine.buckets, engine.questions) == (SIDE, (1, 2, 4, 8), QUESTIONS)
    assert (engine.model_id, engine.weights) == (checkpoint.model_id, checkpoint.weights)


@pytest.mark.parametrize(("frames", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (8, 8)])
def test_bucket_is_the_smallest_that_holds_the_frames(checkpoint: Checkpoint, frames: int, bucket: int) -> None:
    """No larger batch than needed."""
    assert CpuEngine(checkpoint, QUESTIONS).bucket_for(frames) == bucket


@pytest.mark.parametrize("frames", [0, 9])
def test_no_bucket_for_what_cannot_be_batched(checkpoint: Checkpoint, frames: int) -> None:
    """None and more than the largest bucket are the batcher's mistake."""
    with pytest.raises(AssertionError):
        CpuEngine(checkpoint, QUESTIONS).bucket_for(frames)


def test_answers_belong_to_the_frames_and_not_to_the_padding(checkpoint: Checkpoint) -> None:
    """As many rows as frames, whatever lies behind them, and the answers that each frame has alone."""
    engine = CpuEngine(checkpoint, QUESTIONS)
    engine.warm()
    frames = pictures(3, SIDE)
    batch = np.full((4, SIDE, SIDE, 3), 255, np.uint8)
    batch[:3] = frames
    answers = engine.answer(batch, 3)
    assert answers.p_yes.shape == answers.share.shape == (3, len(QUESTIONS.questions))
    assert answers.p_yes.dtype == answers.share.dtype == np.float32
    for row, frame in enumerate(frames):
        alone = engine.answer(frame[None], 1)
        np.testing.assert_allclose(answers.p_yes[row], alone.p_yes[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(answers.share[row], alone.share[0], rtol=0, atol=1e-6)


def test_read_only_frames_are_taken(checkpoint: Checkpoint) -> None:
    """Frames may lie in memory that nobody may write to."""
    frames = pictures(1, SIDE)
    frames.flags.writeable = False
    assert CpuEngine(checkpoint, QUESTIONS).answer(frames, 1).p_yes.shape == (1, 4)


@pytest.mark.parametrize(
    ("batch", "frames"),
    [
        (np.zeros((1, SIDE, SIDE, 3), np.float32), 1),
        (np.zeros((1, SIDE, SIDE + 1, 3), np.uint8), 1),
        (np.zeros((3, SIDE, SIDE, 3), np.uint8), 3),
        (np.zeros((2, SIDE, SIDE, 3), np.uint8), 3),
        (np.zeros((2, SIDE, SIDE, 3), np.uint8), 0),
    ],
    ids=["dtype", "size", "no-bucket", "too-many", "none"],
)
def test_a_batch_that_breaks_the_promise_is_refused(checkpoint: Checkpoint, batch: np.ndarray, frames: int) -> None:
    """Wrong dtype, size, bucket or count is the caller's mistake, not the device's."""
    with pytest.raises(AssertionError):
        CpuEngine(checkpoint, QUESTIONS).answer(batch, frames)


def test_question_over_the_models_positions_is_refused(checkpoint: Checkpoint) -> None:
    """It names the question, its length and the limit, before anything runs."""
    long = Question("rambling", " ".join(["dog"] * POSITIONS))
    with pytest.raises(QuestionError, match=f"question 2 has {POSITIONS + 2} tokens, the model holds {POSITIONS}"):
        CpuEngine(checkpoint, QuestionSet((QUESTIONS.questions[0], long)))


def test_question_as_long_as_the_models_positions_is_asked(checkpoint: Checkpoint) -> None:
    """The limit itself is usable."""
    longest = QuestionSet((Question("rambling", " ".join(["dog"] * (POSITIONS - 2))),))
    assert CpuEngine(checkpoint, longest).answer(pictures(1, SIDE), 1).p_yes.shape == (1, 1)


def test_failure_of_the_model_is_a_lost_device(checkpoint: Checkpoint) -> None:
    """What torch raises inside a layer becomes DeviceLost with the cause kept."""
    layer = checkpoint.vqa.text_encoder.encoder.layer[1].output.dense
    layer.weight = torch.nn.Parameter(layer.weight[:, :-1])
    with pytest.raises(DeviceLost, match="failed on the CPU") as lost:
        CpuEngine(checkpoint, QUESTIONS).warm()
    assert isinstance(lost.value.__cause__, RuntimeError)


def test_answers_that_are_no_numbers_are_a_lost_device(checkpoint: Checkpoint) -> None:
    """Damaged weights must not pass for an answer: no comparison with a threshold would ever hold."""
    with torch.no_grad():
        checkpoint.vqa.vision_model.post_layernorm.weight[0] = float("nan")
    with pytest.raises(DeviceLost, match="NaN"):
        CpuEngine(checkpoint, QUESTIONS).warm()


def test_threads_are_torchs(checkpoint: Checkpoint) -> None:
    """The number of threads is set for the process; by default torch's own choice stands."""
    CpuEngine(checkpoint, QUESTIONS, threads=2)
    assert torch.get_num_threads() == 2
    CpuEngine(checkpoint, QUESTIONS)
    assert torch.get_num_threads() == 2
