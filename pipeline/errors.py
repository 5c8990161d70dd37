"""What can go wrong between a checkpoint and an answer.

PipelineError
+-- CheckpointError      the model folder or hub id cannot be used
+-- QuestionError        the question set cannot be used
+-- ArtifactError        the artifact is damaged, incomplete, or not made for this
+-- CompileFailed        no artifact came out
+-- DeviceUnavailable    this device cannot be started here; the next in the list may
+-- DeviceLost           the accelerator stopped answering; the process must restart
"""


class PipelineError(Exception):
    """A failure of the pipeline that names the value at fault and the remedy."""


class CheckpointError(PipelineError):
    """The checkpoint is missing, incomplete or of another architecture."""


class QuestionError(PipelineError):
    """A question or a question set that the model cannot be asked."""


class ArtifactError(PipelineError):
    """An artifact that cannot be used: damaged, or compiled for something else."""


class CompileFailed(PipelineError):
    """The compiler refused, crashed, or made something that answers too differently."""


class DeviceUnavailable(PipelineError):
    """A device that is not there, not installed or taken."""


class DeviceLost(PipelineError):
    """The device that runs the model failed or stopped answering."""
