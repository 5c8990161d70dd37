"""An artifact of Salesforce/blip-vqa-base's sizes, compiled here and run in another process: what users run, at its real size.

Beyond the gate's time; `tools/run bench model` compares the same answers, and fails where they differ.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.compile import Trial, compile_artifact
from pipeline.reference import answers_alone, random_base
from tests.integration.compiled import BUCKETS, spec
from tests.integration.tiny_checkpoint import pictures
from tools.options import DEMO_QUESTIONS
from tools.questions import load_questions

ROOT = Path(__file__).parent.parent.parent
TOLERANCE = 1e-4

ANSWER = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from pipeline.artifact import open_artifact
from pipeline.engine import Device, Engine
from tools.options import DEMO_QUESTIONS
from tools.questions import load_questions
torch.set_num_threads(2)
engine = Engine(open_artifact(Path(sys.argv[1])), Device("cpu"), load_questions(DEMO_QUESTIONS).questions)
frames, said = np.load(sys.argv[2]), {}
for bucket in engine.buckets:
    answers = engine.answer(np.resize(frames, (bucket, *frames.shape[1:])), bucket)
    said[bucket] = [answers.p_yes.tolist(), answers.share.tolist()]
print(json.dumps(said))
assert "transformers" not in sys.modules
"""


@pytest.mark.proof
def test_full_size_artifact_answers_as_hugging_face_does_in_every_bucket(tmp_path: Path) -> None:
    """Random weights, eight questions: compiled, verified, loaded elsewhere, and every bucket's answers within 1e-4."""
    questions, checkpoint = load_questions(DEMO_QUESTIONS).questions, random_base(seed=0)
    frames = pictures(2, checkpoint.image.size)
    reference = answers_alone(checkpoint, questions, frames)
    assert reference.p_yes.std(0).mean() > 100 * TOLERANCE, "the pictures do not matter"
    assert reference.p_yes.std(1).mean() > 100 * TOLERANCE, "the questions do not matter"
    trial = Trial(questions, frames[:1])
    artifact = compile_artifact(checkpoint, spec(), trial, tmp_path / "artifact", lambda _what, _done, _total: None)
    np.save(tmp_path / "frames.npy", frames)
    del checkpoint
    command = [sys.executable, "-c", ANSWER, str(artifact.folder), str(tmp_path / "frames.npy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert list(map(int, said)) == list(BUCKETS)
    for bucket, (p_yes, share) in said.items():
        rows = np.arange(int(bucket)) % len(frames)
        np.testing.assert_allclose(p_yes, reference.p_yes[rows], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(share, reference.share[rows], rtol=0, atol=TOLERANCE)
