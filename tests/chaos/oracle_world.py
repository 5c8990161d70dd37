"""What the oracle's tests share: a script's cameras as records of the topic, and stream's values in the checker's terms."""

from collections.abc import Iterable
from uuid import UUID

from stream.debounce import DebounceRule, DebounceRules
from stream.types import BehaviorEvent, Event, Record
from tools.chaos.cameras import CameraStream, FrameRecord
from tools.chaos.expected import Alert, Rules
from tools.chaos.truth import Camera, Script

T0_S = 1_767_225_600
SCRIPT = Script(seed=7, base_s=T0_S)
CAMERAS = SCRIPT.plan()
PARTITIONS = {camera.name: camera.partition for camera in CAMERAS}


def stream_of(camera: Camera, numbers: Iterable[int], run: int = 0) -> list[FrameRecord]:
    """What a camera sends of some pictures under one stream uuid."""
    stream = CameraStream(camera, str(UUID(int=run)))
    return [*(record for n in numbers for record in stream.feed(n)), *stream.finish()]


def taken(record: FrameRecord, offset: int = 0) -> Record:
    """A record as it lies on the topic."""
    return Record("frames", record.partition, offset, 0, record.key, record.value, tuple(record.headers), 1, 0.0)


def sent_number(record: FrameRecord) -> int:
    """Number of a record's first picture."""
    return int(dict(record.headers)["oracle.first"])


def stream_rules(rules: Rules) -> DebounceRules:
    """The same rules for the first implementation."""
    return DebounceRules.of(
        (
            DebounceRule(
                rule.behavior,
                rule.start_above,
                rule.stop_below,
                rule.start_after_s,
                rule.stop_after_s,
                rule.cooldown_s,
                rule.min_share,
                rule.max_duration_s,
            )
            for rule in rules.behaviors
        ),
        max_gap_s=rules.max_gap_s,
        lost_after_s=rules.lost_after_s,
    )


def alert(event: Event) -> Alert:
    """An event of the first implementation as one of the second."""
    at_us = round(event.at_s * 1e6)
    if isinstance(event, BehaviorEvent):
        return Alert(
            event.event_id,
            f"pawsight.behavior.{event.kind}",
            event.camera_id,
            at_us,
            behavior=event.behavior,
            episode=event.episode,
            started_at_us=round(event.started_at_s * 1e6),
            stopped_at_us=None if event.stopped_at_s is None else round(event.stopped_at_s * 1e6),
            reason=None if event.reason is None else event.reason.value,
        )
    return Alert(
        event.event_id,
        f"pawsight.camera.{event.kind}",
        event.camera_id,
        at_us,
        last_frame_at_us=round(event.last_frame_at_s * 1e6),
    )
