"""The CUDA backend on a GPU: every bucket against Hugging Face, padding, reloads, two batches at once, a lost device."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.backends.backend import Precision, Programs, Runner, Spec
from pipeline.backends.cuda import make
from pipeline.backends.cuda_kernels import add_layer_norm, patches
from pipeline.capacity import Capacity
from pipeline.checkpoint import Checkpoint, load
from pipeline.packing import PackedQuestions, pack
from pipeline.questions import Question, QuestionSet
from pipeline.reference import answers_alone
from pipeline.stages import Layout, Shapes, example, module

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU here: nothing of the CUDA backend's running is tested"
)

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "artifacts" / "demo"
BUCKETS = (1, 2, 4, 8)
WITHIN = {Precision.FP32: 1e-4, Precision.BF16: 0.05}

SPOIL = """
import torch
from pipeline.backends.cuda import make
source = 'extern "C" __global__ void spoil(float* at, int far) { at[(long long)far << 20] = 1; }'
spoil = torch.cuda._compile_kernel(source, "spoil")
try:
    spoil(args=[torch.zeros(1, device="cuda"), 1 << 30])
    torch.cuda.synchronize()
except RuntimeError as error:
    print(make().classify(error).name)
"""


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """The demo checkpoint, as it is."""
    return load(str(DEMO))


@pytest.fixture(scope="module")
def asked(checkpoint: Checkpoint) -> PackedQuestions:
    """Its own eight questions."""
    table = tomllib.loads((DEMO / "questions.toml").read_text())["question"]
    questions = QuestionSet(tuple(Question(behavior=row["behavior"], ask=row["ask"]) for row in table))
    return pack(questions, checkpoint.vocabulary)


@pytest.fixture(scope="module")
def pictures(checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """(8, S, S, 3): noise on plain colours."""
    random = np.random.default_rng(3)
    side = checkpoint.image.size
    plain = random.integers(0, 256, (8, 1, 1, 3))
    return np.clip(plain + random.normal(0, 40, (8, side, side, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=[(p, layout) for p in WITHIN for layout in Layout], ids="-".join)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Precision, Runner]]:
    """Every precision and layout, compiled and on the GPU."""
    precision, layout = request.param
    backend, spec = make(), Spec("cuda", precision, layout, BUCKETS, Capacity(16, 128))
    folder = tmp_path_factory.mktemp("programs")
    blip, dtype = backend.prepare(load(str(DEMO)).blip, spec, folder)
    folders = {component: folder / component.name for component in backend.components(spec)}
    for component, home in folders.items():
        home.mkdir()
        inputs = example(component.stage, Shapes.of(blip), 2, spec.capacity, dtype)
        backend.compile(module(blip, component.stage), inputs, component, spec, home)
    runner = backend.load(Programs(spec, folders, folder), 0)
    yield precision, runner
    runner.close()


@pytest.mark.parametrize("bucket", BUCKETS)
def test_every_bucket_answers_as_hugging_face(
    bucket: int,
    loaded: tuple[Precision, Runner],
    checkpoint: Checkpoint,
    asked: PackedQuestions,
    pictures: NDArray[np.uint8],
) -> None:
    """P(yes) and share of every question."""
    precision, runner = loaded
    runner.ask(asked.inputs)
    said = asked.read(runner.run(pictures[:bucket]))
    wanted = answers_alone(checkpoint, asked.questions, pictures[:bucket])
    np.testing.assert_allclose(said.p_yes, wanted.p_yes, rtol=0, atol=WITHIN[precision])
    np.testing.assert_allclose(said.share, wanted.share, rtol=0, atol=WITHIN[precision])


def test_padding_frames_have_no_influence(
    loaded: tuple[Precision, Runner], asked: PackedQuestions, pictures: NDArray[np.uint8]
) -> None:
    """Whatever fills the rest of a bucket, its first frames are answered alike, bit for bit."""
    _, runner = loaded
    runner.ask(asked.inputs)
    blank = np.zeros_like(pictures)
    blank[:3] = pictures[:3]
    np.testing.assert_array_equal(runner.run(blank)[:3], runner.run(pictures)[:3])


def test_another_rung_and_back_gives_the_same_answers(
    loaded: tuple[Precision, Runner], asked: PackedQuestions, checkpoint: Checkpoint, pictures: NDArray[np.uint8]
) -> None:
    """Graphs captured for more questions answer the old ones alike, and the old graphs' return is exact."""
    precision, runner = loaded
    questions = asked.questions.questions
    more = pack(
        QuestionSet((*questions, *(replace(question, behavior=f"{question.behavior}_again") for question in questions[:3]))),
        checkpoint.vocabulary,
    )
    runner.ask(asked.inputs)
    before = asked.read(runner.run(pictures)).p_yes
    runner.ask(more.inputs)
    wide = more.read(runner.run(pictures)).p_yes
    runner.ask(asked.inputs)
    np.testing.assert_array_equal(asked.read(runner.run(pictures)).p_yes, before)
    np.testing.assert_allclose(wide[:, :8], before, rtol=0, atol=WITHIN[precision])
    np.testing.assert_allclose(wide[:, 8:], before[:, :3], rtol=0, atol=WITHIN[precision])


def test_a_reworded_set_of_the_same_rung_is_answered(
    loaded: tuple[Precision, Runner], asked: PackedQuestions, checkpoint: Checkpoint, pictures: NDArray[np.uint8]
) -> None:
    """New questions reach the graphs that are already captured, and the slots of the old ones mean nothing."""
    precision, runner = loaded
    runner.ask(asked.inputs)
    runner.run(pictures)
    fewer = pack(QuestionSet(tuple(reversed(asked.questions.questions[2:5]))), checkpoint.vocabulary)
    runner.ask(fewer.inputs)
    wanted = answers_alone(checkpoint, fewer.questions, pictures)
    np.testing.assert_allclose(fewer.read(runner.run(pictures)).p_yes, wanted.p_yes, rtol=0, atol=WITHIN[precision])


def test_batches_of_several_threads_are_not_mixed_up(
    loaded: tuple[Precision, Runner], asked: PackedQuestions, pictures: NDArray[np.uint8]
) -> None:
    """Each gets the answers to its own frames, bit for bit, with more threads than batches in flight."""
    _, runner = loaded
    runner.ask(asked.inputs)
    batches = [np.roll(pictures, shift, axis=0)[: BUCKETS[shift % len(BUCKETS)]] for shift in range(8)]
    alone = [runner.run(batch) for batch in batches]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda index: runner.run(batches[index % 8]), range(200)))
    for index, said in enumerate(together):
        np.testing.assert_array_equal(said, alone[index % 8])


@pytest.mark.parametrize("channels", [96, 768])
@pytest.mark.parametrize("shared", [False, True])
def test_sums_and_norms_are_those_of_pytorch(channels: int, *, shared: bool) -> None:
    """Sums exact, norms within a bf16 step of float64; also where the residual is the same for all frames."""
    torch.manual_seed(channels)
    x, residual = torch.randn(2, 5, 7, channels, dtype=torch.bfloat16, device="cuda")
    weight, bias = torch.randn(2, channels, dtype=torch.bfloat16, device="cuda")
    total, normed = add_layer_norm(x, residual[:1] if shared else residual, weight, bias, 1e-5)
    exact = x.double() + (residual[:1] if shared else residual).double()
    torch.testing.assert_close(total, exact.bfloat16(), rtol=0, atol=0)
    wanted = torch.nn.functional.layer_norm(exact, (channels,), weight.double(), bias.double(), 1e-5)
    torch.testing.assert_close(normed.double(), wanted, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("side", [160, 384])
def test_patches_are_those_of_pytorch(side: int) -> None:
    """Bit for bit."""
    frames = torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8)
    torch.testing.assert_close(patches(frames.cuda(), 16).cpu(), patches(frames, 16), rtol=0, atol=0)


def test_an_illegal_address_is_the_loss_of_the_device() -> None:
    """A kernel that writes where nothing is; in a process of its own, whose CUDA is dead afterwards."""
    said = subprocess.run([sys.executable, "-c", SPOIL], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.strip() == "DEVICE_LOST", said.stderr
