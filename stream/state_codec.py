"""The records of the state topic as bytes: keys, and values in compact versioned JSON, in which floats come back bit for bit.

What is not of this version, or is somebody else's, is refused, never guessed: its partition is left alone.
"""

from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stream.errors import StateRefused
from stream.state_records import CameraRecord, PartitionRecord, StateOwner

STATE_VERSION: Literal[1] = 1
"""Raised when what is written changes its meaning; the program that raises it still reads the version before.

A field that is added, with a default that means "not known", raises nothing: a record without it is read, and a program that does
not know it refuses it as it would refuse a newer version.
"""

PARTITION_KEY = b"\x00"
"""Key of the partition's own record; no camera id holds a control character."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Literal[1]


class _Camera(_Written):
    camera: CameraRecord


class _Partition(_Written):
    partition: PartitionRecord


_W = TypeVar("_W", _Camera, _Partition)


def encode_camera(record: CameraRecord) -> bytes:
    """Write a camera's record; fields at their defaults are left out."""
    return _Camera(version=STATE_VERSION, camera=record).model_dump_json(exclude_defaults=True).encode()


def decode_camera(data: bytes) -> CameraRecord:
    """Read what `encode_camera` wrote.

    Raises:
        StateRefused: another version, or not a camera's record at all.
    """
    return _read(_Camera, data).camera


def encode_partition(record: PartitionRecord) -> bytes:
    """Write a partition's record; fields at their defaults are left out."""
    return _Partition(version=STATE_VERSION, partition=record).model_dump_json(exclude_defaults=True).encode()


def decode_partition(data: bytes) -> PartitionRecord:
    """Read what `encode_partition` wrote.

    Raises:
        StateRefused: another version, or not a partition's record at all.
    """
    return _read(_Partition, data).partition


def check_owner(record: PartitionRecord, ours: StateOwner) -> None:
    """Return if a partition's record is ours, or from before records said whose they are.

    Raises:
        StateRefused: it is another group's, or of another frames topic: two writers would share one state.
    """
    stored = record.owner
    if stored not in (StateOwner(), ours):
        msg = (
            f"its state is that of group {stored.group!r} on topic {stored.frames!r}, this worker is of group {ours.group!r} on "
            f"topic {ours.frames!r}, and both have a state topic of the same name. Give this worker another --group; if nobody "
            "works as the other any more, stop this group, delete the state topic and make it anew by `tools/run topics`"
        )
        raise StateRefused(msg)


def _read(form: type[_W], data: bytes) -> _W:
    try:
        return form.model_validate_json(data)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the record"
        msg = (
            f"the state cannot be read: {place}: {first['msg']} (found {first['input']!r:.80}); "
            f"this program reads version {STATE_VERSION}: run the one that wrote it, or a newer one"
        )
        raise StateRefused(msg) from exc
