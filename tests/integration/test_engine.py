"""The engine on a compiled artifact: buckets, padding, other question sets, and what it refuses to start with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.artifact import Artifact, open_artifact
from pipeline.backends.backend import Runner
from pipeline.backends.cpu import Cpu, CpuRunner
from pipeline.capacity import Capacity
from pipeline.checkpoint import Checkpoint, load
from pipeline.errors import ArtifactError, DeviceLost, QuestionError
from pipeline.packing import Vocabulary, pack
from pipeline.questions import Question, QuestionSet
from pipeline.reference import answers_alone
from tests.integration.compiled import BUCKETS, compiled, on_cpu, padded, spec
from tests.integration.tiny_checkpoint import POSITIONS, QUESTIONS, SIDE, pictures, save_tiny, tiny_tokenizer

TOLERANCE = 1e-4
CAPACITY = Capacity(16, 48)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint and, beside it, its artifact."""
    root = tmp_path_factory.mktemp("engine")
    compiled(save_tiny(root / "model"), root / "artifact", spec(capacity=CAPACITY))
    return root


def vocabulary() -> Vocabulary:
    """The small checkpoint's."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer.get_vocab()
    return Vocabulary(lambda text: list(tokenizer(text)["input_ids"]), ids["[DEC]"], ids["[UNK]"], POSITIONS)


@pytest.fixture
def artifact(folder: Path) -> Artifact:
    """The artifact of the small checkpoint."""
    return open_artifact(folder / "artifact")


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    """What it was compiled from."""
    return load(str(folder / "model"))


def test_engine_tells_what_the_worker_needs(artifact: Artifact, folder: Path) -> None:
    """Image size, buckets, questions and model are those that it was built from."""
    engine = on_cpu(artifact)
    assert (engine.image_size, engine.buckets, engine.questions) == (SIDE, BUCKETS, QUESTIONS)
    assert (engine.model_id, engine.submitters) == (str(folder / "model"), 1)


@pytest.mark.parametrize("bucket", BUCKETS)
def test_answers_belong_to_the_frames_and_not_to_the_padding(artifact: Artifact, checkpoint: Checkpoint, bucket: int) -> None:
    """As many rows as frames, whatever lies behind them, and for every bucket the answers that Hugging Face gives each frame."""
    engine = on_cpu(artifact)
    engine.warm()
    frames = pictures(max(1, bucket - 1), SIDE)
    answers = engine.answer(padded(frames, bucket, 255), len(frames))
    assert answers.p_yes.dtype == answers.share.dtype == np.float32
    reference = answers_alone(checkpoint, QUESTIONS, frames)
    np.testing.assert_allclose(answers.p_yes, reference.p_yes, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(answers.share, reference.share, rtol=0, atol=TOLERANCE)


OTHER_SETS = {
    "reworded": QuestionSet(tuple(Question(one.behavior, f"{one.ask} there?") for one in QUESTIONS.questions)),
    "one": QuestionSet((Question("sofa", "is the sofa there?"),)),
    "candidates": QuestionSet(
        (
            Question("where", "is the dog there?", yes=("sofa", "there"), no=("ball", "dog", "no")),
            Question("what", "playing?", yes=("yes", "sofa there"), no=("no", "playing with a ball")),
            Question("present", "is there a dog?"),
        )
    ),
}


@pytest.mark.parametrize("name", OTHER_SETS)
def test_one_artifact_answers_any_question_set(artifact: Artifact, checkpoint: Checkpoint, name: str) -> None:
    """Rewording, fewer questions, candidates of one and several words need no compiling, while the engine lives, either."""
    engine, questions, frames = on_cpu(artifact), OTHER_SETS[name], pictures(2, SIDE)
    before = engine.answer(frames, 2)
    engine.ask(engine.prepare(questions))
    answers, reference = engine.answer(frames, 2), answers_alone(checkpoint, questions, frames)
    assert engine.questions == questions
    assert ((reference.p_yes > 0.01) & (reference.p_yes < 0.99)).any(), "answers that could not be wrong"
    np.testing.assert_allclose(answers.p_yes, reference.p_yes, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(answers.share, reference.share, rtol=0, atol=TOLERANCE)
    engine.ask(engine.prepare(QUESTIONS))
    np.testing.assert_array_equal(engine.answer(frames, 2).p_yes, before.p_yes)


@pytest.fixture(scope="module")
def runner(folder: Path) -> Runner:
    """The artifact's program, as the engine runs it."""
    return Cpu().load(open_artifact(folder / "artifact").programs(Cpu()), 0)


@settings(max_examples=25)
@given(frames=st.integers(1, 4), more_slots=st.integers(0, 12), more_tokens=st.integers(0, 10), filling=st.integers(0, 255))
def test_padding_has_no_influence(runner: Runner, frames: int, more_slots: int, more_tokens: int, filling: int) -> None:
    """Unused slots, unused tokens and whatever lies behind the frames of a batch: the scores stay what they are."""
    inputs = pack(QUESTIONS, vocabulary()).inputs
    pixels = pictures(frames, SIDE)
    runner.ask(inputs)
    alone = runner.run(pixels)
    runner.ask(inputs.padded(Capacity(inputs.size.slots + more_slots, inputs.size.tokens + more_tokens)))
    scores = runner.run(padded(pixels, 8, filling))
    np.testing.assert_allclose(scores[:frames, : inputs.size.slots], alone, rtol=0, atol=1e-5)
    assert np.isfinite(scores).all()


def test_a_set_over_the_capacity_is_refused_by_limit_and_excess(artifact: Artifact) -> None:
    """Both limits are named, and what would be enough; the set that is asked stays."""
    many = QuestionSet(tuple(Question(f"q{index}", "is the dog there?") for index in range(18)))
    engine = on_cpu(artifact)
    slots = "take 18 answer slots, the artifact holds 16: 2 too many"
    tokens = "126 question tokens, the artifact holds 48: 78 too many"
    with pytest.raises(QuestionError, match=f"{slots} and {tokens}.* --capacity 18x126"):
        engine.prepare(many)
    assert engine.questions == QUESTIONS


def test_question_over_the_models_positions_is_refused(artifact: Artifact) -> None:
    """It names the behaviour, the length and the limit, before anything runs."""
    long = Question("rambling", " ".join(["dog"] * POSITIONS))
    with pytest.raises(QuestionError, match=f"'rambling' has {POSITIONS + 2} tokens, the model holds {POSITIONS}"):
        on_cpu(artifact, QuestionSet((QUESTIONS.questions[0], long)))


def test_read_only_frames_are_taken(artifact: Artifact) -> None:
    """Frames may lie in memory that nobody may write to."""
    frames = pictures(1, SIDE)
    frames.flags.writeable = False
    assert on_cpu(artifact).answer(frames, 1).p_yes.shape == (1, 4)


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
def test_a_batch_that_breaks_the_promise_is_refused(artifact: Artifact, batch: np.ndarray, frames: int) -> None:
    """Wrong dtype, size, bucket or count is the caller's mistake, not the device's."""
    with pytest.raises(AssertionError):
        on_cpu(artifact).answer(batch, frames)


def test_frames_beyond_the_largest_bucket_are_the_programs_refusal(artifact: Artifact) -> None:
    """The program itself holds the sizes it was compiled for."""
    engine = on_cpu(artifact)
    engine.buckets = (16,)
    with pytest.raises(DeviceLost, match="cpu failed with 16 frames"):
        engine.answer(np.zeros((16, SIDE, SIDE, 3), np.uint8), 16)


@pytest.fixture
def overflowing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the device answer frames with NaN whose first byte is at least the given level."""
    run = CpuRunner.run

    def overflow_from(level: int) -> None:
        def overflow(self: CpuRunner, frames_BSS3: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.where(frames_BSS3[:, 0, 0, 0, None, None] >= level, np.float32("nan"), run(self, frames_BSS3))

        monkeypatch.setattr(CpuRunner, "run", overflow)

    return overflow_from


def test_a_frame_that_gets_no_number_costs_its_neighbours_nothing(artifact: Artifact, overflowing: Callable[[int], None]) -> None:
    """It counts as not asked; the others of its batch are answered as ever."""
    engine, frames = on_cpu(artifact), pictures(3, SIDE)
    frames[:, 0, 0, 0] = 0, 255, 0
    whole = engine.answer(padded(frames, 4), 3)
    overflowing(255)
    answers = engine.answer(padded(frames, 4), 3)
    assert not answers.share[1].any()
    np.testing.assert_allclose(answers.p_yes[[0, 2]], whole.p_yes[[0, 2]], rtol=0, atol=1e-5)
    np.testing.assert_allclose(answers.share[[0, 2]], whole.share[[0, 2]], rtol=0, atol=1e-5)


def test_an_artifact_that_answers_a_blank_frame_with_no_number_is_refused(
    artifact: Artifact, overflowing: Callable[[int], None]
) -> None:
    """At the start it is the artifact that is wrong; later, when it has answered before, the device."""
    engine = on_cpu(artifact)
    overflowing(0)
    with pytest.raises(ArtifactError, match=r"artifact .* answers a blank frame with NaN on cpu: .* overflow in fp32"):
        engine.warm()
    with pytest.raises(DeviceLost, match=r"cpu answers even a blank frame of .* with NaN"):
        engine.answer(pictures(1, SIDE), 1)
