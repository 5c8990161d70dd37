"""Runs an artifact on one device core: batches of frames in, answers out. Knows nothing of where frames come from.

What it raises while answering is `DeviceLost`: a process whose device failed is not to be trusted with the next batch. A device
that is well but cannot answer a batch (its numbers overflow, say) is asked frame by frame; a frame that it cannot answer gets
answers of share 0, which count as not asked. Otherwise one frame could stop its partition for good.
"""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.artifact import Artifact
from pipeline.backends import backend as backend_of
from pipeline.backends.backend import Backend, Failure, Runner
from pipeline.errors import ArtifactError, DeviceLost
from pipeline.packing import PackedQuestions, pack
from pipeline.questions import QuestionSet

_log = logging.getLogger(__name__)

_TRIES = 2
"""How often a batch is put to the device before its failures count as the device's loss."""


class _NotFinite(Exception):
    """The device answered something that is no number; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Device:
    """One core of one kind of device, as written `neuron:1`, `cuda:0` or `cpu`."""

    backend: str
    core: int = 0

    def __str__(self) -> str:
        return self.backend if self.backend == "cpu" else f"{self.backend}:{self.core}"


class Engine:
    """An artifact on a device, answering one question set at a time. Up to `submitters` calls of `answer` may overlap."""

    def __init__(self, artifact: Artifact, device: Device, questions: QuestionSet) -> None:
        """Check the artifact, load it on the device and put the questions to it.

        Raises:
            ArtifactError: it is damaged, or made for another device or other library versions.
            QuestionError: the questions do not fit.
            DeviceUnavailable: the device cannot be started here.
        """
        manifest = artifact.manifest
        if manifest.backend != device.backend:
            msg = f"artifact {artifact.folder} is compiled for {manifest.backend}, not for {device}: give one for that device"
            raise ArtifactError(msg)
        self._backend: Backend = backend_of(device.backend)
        artifact.check_versions(self._backend)
        artifact.verify()
        self.device = device
        self.artifact = artifact
        self.model_id = manifest.model_id
        self.buckets = manifest.buckets
        """Batch sizes, ascending."""
        self.image_size = manifest.image.size
        """Side of a frame, pixels."""
        self._vocabulary = artifact.vocabulary()
        self._capacity = manifest.spec.capacity
        asked = self.prepare(questions)
        self._runner: Runner = self._backend.load(artifact.programs(self._backend), device.core)
        self.submitters = self._runner.submitters
        """Calls of `answer` that gain from running at once."""
        self.ask(asked)

    @property
    def described(self) -> str:
        """Model, artifact and device, for a person."""
        manifest = self.artifact.manifest
        return f"{self.model_id} (artifact {manifest.id}, {manifest.precision.value}) on {self.device}"

    @property
    def questions(self) -> QuestionSet:
        """The set whose answers `answer` gives, in its order."""
        return self._asked.questions

    def prepare(self, questions: QuestionSet) -> PackedQuestions:
        """Tokenise a question set and see that it fits, without asking it yet.

        Raises:
            QuestionError: it does not fit.
        """
        packed = pack(questions, self._vocabulary)
        self._capacity.refuse(packed.inputs.size)
        return packed

    def ask(self, questions: PackedQuestions) -> None:
        """Ask these questions from now on. No call of `answer` may be running."""
        self._runner.ask(questions.inputs)
        self._asked = questions

    def warm(self) -> None:
        """Answer one blank batch of every bucket, so that the first real one meets no first-time cost.

        Raises:
            ArtifactError: it answers with no number: its weights are damaged or too large for its precision.
            DeviceLost: the model does not run here.
        """
        try:
            for bucket in self.buckets:
                self._answer_blank(bucket)
        except _NotFinite as error:
            msg = (
                f"artifact {self.artifact.folder} answers a blank frame with NaN on {self.device}: the weights that it was "
                f"compiled from are damaged, or overflow in {self.artifact.manifest.precision.value}"
            )
            raise ArtifactError(msg) from error

    def answer(self, pixels_BSS3: NDArray[np.uint8], frames: int) -> Answers:
        """Answer every question about the first `frames` pictures of a batch; the rest of it is padding.

        Args:
            pixels_BSS3: uint8 (bucket, S, S, 3) RGB.
            frames: how many of them are pictures, 1 to bucket.

        Returns:
            `frames` rows.

        Raises:
            DeviceLost: the device failed.
        """
        bucket = pixels_BSS3.shape[0]
        assert pixels_BSS3.dtype == np.uint8, pixels_BSS3.dtype
        assert pixels_BSS3.shape[1:] == (self.image_size, self.image_size, 3), (pixels_BSS3.shape, self.image_size)
        assert bucket in self.buckets, (bucket, self.buckets)
        assert 0 < frames <= bucket, (frames, bucket)
        try:
            return self._asked.read(self._run(pixels_BSS3, frames))
        except _NotFinite as error:
            return self._one_by_one(pixels_BSS3[:frames], error)

    def close(self) -> None:
        """Let go of the device. No call may be running."""
        self._runner.close()

    def _run(self, pixels_BSS3: NDArray[np.uint8], frames: int) -> NDArray[np.float32]:
        """Put a batch to the device, again if it says so.

        Raises:
            _NotFinite: it cannot answer this batch.
            DeviceLost: it cannot answer any more.
        """
        given = pixels_BSS3[:frames] if self._runner.takes_any_batch else pixels_BSS3
        for tries_left in reversed(range(_TRIES)):
            try:
                scores_BD2 = self._runner.run(given)[:frames]
            except Exception as error:
                failure = self._backend.classify(error)
                if failure is Failure.BAD_INPUT:
                    raise _NotFinite from error
                if failure is Failure.RETRY and tries_left:
                    continue
                msg = f"{self.device} failed with {frames} frames for {self.model_id}: {error}; {self._backend.remedy(error)}"
                raise DeviceLost(msg) from error
            if not np.isfinite(scores_BD2).all():
                raise _NotFinite
            return scores_BD2
        raise AssertionError  # the last try returned or raised

    def _one_by_one(self, frames_NSS3: NDArray[np.uint8], cause: Exception) -> Answers:
        """Find the frames of a refused batch that can be answered.

        Raises:
            DeviceLost: the device cannot even answer a blank frame.
        """
        bucket = self.buckets[0]
        try:
            self._answer_blank(bucket)
        except _NotFinite as error:
            msg = f"{self.device} answers even a blank frame of {self.model_id} with NaN"
            raise DeviceLost(msg) from error
        answers = Answers.unknown(len(frames_NSS3), len(self.questions.questions))
        answered = 0
        for row, frame in enumerate(frames_NSS3):
            alone = np.zeros((bucket, *frame.shape), np.uint8)
            alone[0] = frame
            try:
                one = self._asked.read(self._run(alone, 1))
            except _NotFinite:
                continue
            answers.p_yes[row], answers.share[row] = one.p_yes[0], one.share[0]
            answered += 1
        said = "%s answers %d of %d frames with no number (%s): they count as not asked"
        _log.warning(said, self.device, len(frames_NSS3) - answered, len(frames_NSS3), cause.__cause__ or "NaN")
        return answers

    def _answer_blank(self, bucket: int) -> None:
        """Answer a blank batch.

        Raises:
            _NotFinite: no number came out.
            DeviceLost: the device failed.
        """
        self._run(np.zeros((bucket, self.image_size, self.image_size, 3), np.uint8), bucket)
