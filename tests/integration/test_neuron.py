"""The Neuron backend on the stand-in: what is compiled answers as the reference module does, on one core, in every shape."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from pipeline.backends.backend import Programs
from pipeline.backends.neuron import make
from pipeline.backends.neuron_runner import NeuronRunner
from pipeline.capacity import Capacity
from pipeline.checkpoint import Checkpoint, load
from pipeline.errors import QuestionError
from pipeline.packing import QuestionInputs, pack
from pipeline.stages import Layout
from tests.integration.neuron_world import BUCKETS, LARGE, MANY, SMALL, child, compile_all, expected, host, machine, spec_of
from tests.integration.tiny_checkpoint import QUESTIONS, SIDE, pictures, save_tiny

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # which torch 2.9, torch_neuronx's, does not give yet
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # shapes are meant to be fixed
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing:FutureWarning"),  # the tracer looks at every attribute
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Load the small checkpoint."""
    return load(str(save_tiny(tmp_path_factory.mktemp("checkpoint"))))


@pytest.fixture(scope="module", params=[Layout.FUSED, Layout.COMPONENTS], ids=str)
def programs(request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile an artifact, once for all tests of a layout."""
    with machine(tmp_path_factory.mktemp("compiling")):
        return compile_all(checkpoint.blip, spec_of(request.param), tmp_path_factory.mktemp("artifact"))


@pytest.fixture
def runner(programs: Programs, tmp_path: Path) -> Iterator[NeuronRunner]:
    """Load it on core 1."""
    with machine(tmp_path, core=1):
        loaded = make().load(programs, core=1)
        yield loaded
        loaded.close()


def asked(checkpoint: Checkpoint, rung: Capacity) -> QuestionInputs:
    """Give a question set that needs the rung."""
    return pack(QUESTIONS if rung == SMALL else MANY, checkpoint.vocabulary).inputs


@pytest.mark.parametrize("rung", [SMALL, LARGE], ids=str)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_answers_equal_the_reference(checkpoint: Checkpoint, runner: NeuronRunner, bucket: int, rung: Capacity) -> None:
    """For each bucket and rung, and the padding of the question inputs has no influence."""
    frames, questions = pictures(bucket, SIDE), asked(checkpoint, rung)
    runner.ask(questions)
    scores = runner.run(frames)
    assert (scores.shape, scores.dtype) == ((bucket, rung.slots, 2), np.float32)
    wanted = expected(checkpoint.blip, frames, questions)
    np.testing.assert_allclose(scores[:, : questions.size.slots], wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.1


def test_unused_slots_stay_finite(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """A number that is none would be an execution error on the device, whatever slot it is in."""
    runner.ask(asked(checkpoint, SMALL))
    assert np.isfinite(runner.run(pictures(1, SIDE))).all()


def test_frames_of_a_batch_do_not_see_each_other(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """What pads a bucket is without influence."""
    runner.ask(asked(checkpoint, SMALL))
    frames = pictures(2, SIDE)
    padded = runner.run(np.stack([frames[0], np.full_like(frames[0], 255)]))
    np.testing.assert_allclose(padded[0], runner.run(frames)[0], atol=1e-6)


def test_a_reload_goes_to_the_rung_it_needs_and_back(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """Another question set needs no other artifact."""
    frames = pictures(2, SIDE)
    shapes, scores = [], []
    for rung in (SMALL, LARGE, SMALL):
        runner.ask(asked(checkpoint, rung))
        scores.append(runner.run(frames))
        shapes.append(scores[-1].shape[1])
    assert shapes == [8, 16, 8]
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_set_over_the_capacity_is_refused_and_the_old_one_stays(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """The error says by how much."""
    questions = asked(checkpoint, SMALL)
    runner.ask(questions)
    before = runner.run(pictures(1, SIDE))
    with pytest.raises(QuestionError, match="17 answer slots, the artifact holds 16: 1 too many"):
        runner.ask(questions.padded(Capacity(17, 72)))
    np.testing.assert_array_equal(runner.run(pictures(1, SIDE)), before)


def test_frames_that_may_not_be_written_are_answered(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """A decoder may hand over a view of something that is not its own."""
    frames = pictures(1, SIDE)
    frames.setflags(write=False)
    runner.ask(asked(checkpoint, SMALL))
    assert runner.run(frames).shape == (1, 8, 2)


@pytest.mark.parametrize("frames", [np.zeros((3, SIDE, SIDE, 3), np.uint8), np.zeros((1, SIDE, SIDE, 3), np.float32)])
def test_what_no_program_was_compiled_for_is_a_mistake(checkpoint: Checkpoint, runner: NeuronRunner, frames: np.ndarray) -> None:
    """A bucket that is none, and pixels that are no bytes."""
    runner.ask(asked(checkpoint, SMALL))
    with pytest.raises(AssertionError):
        runner.run(frames)


def test_every_component_is_on_the_core(programs: Programs, runner: NeuronRunner) -> None:
    """Unpinned, the stand-in as the real package spreads what is loaded over the cores it sees."""
    assert runner.submitters == 2
    assert [core for _, core in host().placements] == [1] * len(programs.folders)


@pytest.mark.parametrize("names", ["both", "new", "old"])
def test_every_component_is_on_one_core_under_either_name(programs: Programs, tmp_path: Path, names: str) -> None:
    """Even if the environment shows more cores than one."""
    with machine(tmp_path, NEURON_RT_VISIBLE_CORES="0-1", STAND_IN_NAMES=names):
        make().load(programs, core=0).close()
        assert {core for _, core in host().placements} == {0}


def test_two_threads_submit_at_once(checkpoint: Checkpoint, runner: NeuronRunner) -> None:
    """Each gets its own batch's answers."""
    runner.ask(asked(checkpoint, SMALL))
    batches = [frames[None] for frames in pictures(2, SIDE)]
    alone = [runner.run(batch) for batch in batches]
    start = Barrier(runner.submitters)

    def submit(index: int) -> list[np.ndarray]:
        start.wait(timeout=30)
        return [runner.run(batches[index]) for _ in range(20)]

    with ThreadPoolExecutor(runner.submitters) as threads:
        for index, answers in enumerate(threads.map(submit, range(runner.submitters))):
            for answer in answers:
                np.testing.assert_array_equal(answer, alone[index])
    assert not np.array_equal(*alone)


def test_the_host_keeps_its_cores(programs: Programs, tmp_path: Path) -> None:
    """One thread of torch's while an artifact is loaded, as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with machine(tmp_path):
            loaded = make().load(programs, core=1)
            assert torch.get_num_threads() == 1
            loaded.close()
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def separate(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """Compile an artifact whose weights are beside its programs."""
    with machine(tmp_path_factory.mktemp("compiling")):
        spec = spec_of(Layout.FUSED, has_separate_weights=True)
        return compile_all(checkpoint.blip, spec, tmp_path_factory.mktemp("separate"))


@pytest.mark.parametrize("names", ["both", "new", "old"])
def test_separate_weights_are_moved_to_the_core(checkpoint: Checkpoint, separate: Programs, tmp_path: Path, names: str) -> None:
    """With the function of that name, or with the one that AWS announced in its place."""
    questions = asked(checkpoint, SMALL)
    with machine(tmp_path, core=1, STAND_IN_NAMES=names):
        loaded = make().load(separate, core=1)
        loaded.ask(questions)
        scores = loaded.run(pictures(1, SIDE))
        loaded.close()
        assert {core for _, core in host().placements} == {1}
    wanted = expected(checkpoint.blip, pictures(1, SIDE), questions)
    np.testing.assert_allclose(scores[:, : questions.size.slots], wanted, atol=1e-5)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from pipeline import stages
from pipeline.backends.backend import Precision, Programs, Spec
from pipeline.backends.neuron import make
from pipeline.capacity import Capacity
spec = Spec("neuron", Precision.FP32, stages.Layout(sys.argv[1]), (1, 2), Capacity(16, 128))
folder = Path(sys.argv[2])
runner = make().load(Programs(spec, {part: folder / part.name for part in make().components(spec)}, folder), core=0)
questions = np.load(sys.argv[3])
from pipeline.packing import QuestionInputs
runner.ask(QuestionInputs(**questions))
assert "transformers" not in sys.modules
np.save(sys.argv[4], runner.run(np.load(sys.argv[5])))
"""


def test_another_process_answers_the_same(
    checkpoint: Checkpoint, programs: Programs, runner: NeuronRunner, tmp_path: Path
) -> None:
    """With the artifact's folder alone, without transformers."""
    questions, frames = asked(checkpoint, SMALL), pictures(2, SIDE)
    given, frames_file, answers = tmp_path / "questions.npz", tmp_path / "frames.npy", tmp_path / "answers.npy"
    np.savez(given, **{name: getattr(questions, name) for name in questions.__slots__})
    np.save(frames_file, frames)
    said = (str(programs.spec.layout), str(programs.shared), str(given), str(answers), str(frames_file))
    done = child(CHILD, tmp_path, *said)
    assert done.returncode == 0, done.stderr
    runner.ask(questions)
    np.testing.assert_allclose(np.load(answers), runner.run(frames), atol=1e-5)
