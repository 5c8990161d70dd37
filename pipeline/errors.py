"""What can go wrong between a checkpoint and an answer.

PipelineError
+-- CheckpointError    the model folder or hub id cannot be used
+-- QuestionError      the question set cannot be used
+-- DeviceLost         the accelerator stopped answering; the process must restart
"""


class PipelineError(Exception):
    """A failure of the pipeline that names the value at fault and the remedy."""


class CheckpointError(PipelineError):
    """The checkpoint is missing, incomplete or of another architecture."""


class QuestionError(PipelineError):
    """A question or a question set that the model cannot be asked."""


class DeviceLost(PipelineError):
    """The device that runs the model failed or stopped answering."""
