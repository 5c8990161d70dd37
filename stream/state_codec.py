"""A camera's state as bytes: the value of its record in the state topic.

Compact versioned JSON, in which floats come back bit for bit. What is not of this version is refused, never guessed.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stream.camera_state import CameraState
from stream.errors import StateRefused

STATE_VERSION: Literal[1] = 1
"""Raised when what is written changes its meaning."""


class _Written(BaseModel):
    """The record's value."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]
    camera: CameraState


def encode(state: CameraState) -> bytes:
    """Write a state; fields at their defaults are left out."""
    return _Written(version=STATE_VERSION, camera=state).model_dump_json(exclude_defaults=True).encode()


def decode(data: bytes) -> CameraState:
    """Read what `encode` wrote.

    Raises:
        StateRefused: another version, or not a camera's state at all.
    """
    try:
        return _Written.model_validate_json(data).camera
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the record"
        msg = (
            f"camera state cannot be read: {place}: {first['msg']} (found {first['input']!r:.80}); "
            f"this program reads version {STATE_VERSION}: run the one that wrote it, or a newer one"
        )
        raise StateRefused(msg) from exc
