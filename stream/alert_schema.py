"""The published form of the events: typed models from which the JSON Schemas and the AsyncAPI document are generated.

Times are RFC 3339 texts in UTC with six digits, durations numbers of seconds. Subscribers must ignore fields that they do not
know: a new field keeps `schema_version`, a changed or removed one raises it.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from stream.types import Reason

SCHEMA_VERSION: Literal[1] = 1

Timestamp: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        json_schema_extra={"format": "date-time"},
    ),
]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class EvidenceData(_Model):
    """The frame that an event points to: the first of the episode in which the behaviour was seen."""

    topic: str
    partition: int
    offset: int
    index: int
    """Index of the picture in its record, 0 for a still."""
    captured_at: Timestamp
    """Its capture time."""


class _AlertData(_Model):
    schema_version: Literal[1]
    camera: str
    """Camera id, as the record's key."""
    model: str
    """Checkpoint that answered: a folder or a hub id."""
    artifact: str
    """Hash of the weights that answered."""
    questions: str
    """Fingerprint of the question set."""
    at: Timestamp
    """Event time (capture time) at which the rule was met, RFC 3339."""


class CameraData(_AlertData):
    """A camera's stream was lost, or seen (again)."""

    last_frame_at: Timestamp
    """The frame that was seen, or the last one before the loss."""


class _BehaviorData(_AlertData):
    behavior: str
    """Name of the behaviour, as in the question file."""
    episode: int = Field(ge=1)
    """Counts the behaviour's episodes on this camera; start and end of an episode share it."""
    severity: str
    """As the question file had it when the episode started."""
    started_at: Timestamp
    """When the behaviour began: the first frame of the run that led to the start."""
    evidence: EvidenceData


class StartedData(_BehaviorData):
    """A behaviour started."""

    score: Probability
    """P(yes) of the frame that decided."""
    share: Probability
    """How much of the model's whole answer yes and no held together in that frame."""
    threshold: Probability
    """start_above of the rule."""


class EndedData(_BehaviorData):
    """A behaviour ended."""

    stopped_at: Timestamp
    """When the behaviour stopped: the first frame of the run that led to the end."""
    duration_s: float = Field(ge=0)
    """Seconds from started_at to stopped_at."""
    reason: Reason
    score: Probability | None
    """P(yes) of the frame that decided; null where no frame did (stream_lost, clock_reset, question_removed)."""
    share: Probability | None
    """As in a start; null as `score`."""
    threshold: Probability | None
    """stop_below of the rule; null for every reason but `stopped`."""


class _Alert(_Model):
    specversion: Literal["1.0"]
    id: str
    """The same event has the same id for ever: drop what you have seen under this source and id."""
    source: str
    """/pawsight/<consumer group>."""
    subject: str
    """Camera id."""
    time: Timestamp
    """As `at` of the data."""
    datacontenttype: Literal["application/json"]
    partitionkey: str
    """Camera id: events of a camera keep their order."""
    traceparent: str | None = None
    """W3C trace context of the frame that decided, if its camera sent one."""


class StartedAlert(_Alert):
    """A behaviour started."""

    type: Literal["pawsight.behavior.started"]
    data: StartedData


class EndedAlert(_Alert):
    """A behaviour ended."""

    type: Literal["pawsight.behavior.ended"]
    data: EndedData


class CameraSeenAlert(_Alert):
    """A camera's first frame ever, or the first one after it was lost."""

    type: Literal["pawsight.camera.seen"]
    data: CameraData


class CameraLostAlert(_Alert):
    """A camera sent no frame for lost_after_s."""

    type: Literal["pawsight.camera.lost"]
    data: CameraData


Alert: TypeAlias = Annotated[StartedAlert | EndedAlert | CameraSeenAlert | CameraLostAlert, Field(discriminator="type")]
"""One event in CloudEvents' structured JSON form."""
