"""Published alerts against the expected ones, and stored states against the replayed ones: what the run is judged by.

Compares by id, and by (camera, behaviour, type, time), so that neither a wrong id nor a wrong alert under a right id can hide.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tools.chaos.expected import Alert, Replay

_DETAILS = 20
"""Sentences given for each kind of mistake."""

_MISSING = "nothing"
"""In a sentence, of a field that is not there."""

Key: TypeAlias = tuple[str, str | None, str, int]


@dataclass(frozen=True, slots=True)
class Published:
    """One record of the alerts topic."""

    alert: Alert
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison; every figure but the first two must be 0."""

    expected: int
    published: int
    lost: int
    duplicated: int
    spurious: int
    out_of_order: int
    altered: int
    """Published under an expected id, but with other content, or on another partition than its camera's frames."""
    details: tuple[str, ...]
    """Some of the mistakes in words."""

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, repeated, invented, swapped or altered."""
        return not (self.lost or self.duplicated or self.spurious or self.out_of_order or self.altered)


def compare(expected: Mapping[str, Sequence[Alert]], published: Sequence[Published], partition_of: Mapping[str, int]) -> Verdict:
    """Judge what was published.

    Args:
        expected: by line (`tools.chaos.expected.line_of`), in order.
        published: in the order of each partition.
        partition_of: partition of each line's frames.
    """
    wanted = {alert.id: alert for alerts in expected.values() for alert in alerts}
    ids = _Difference(Counter(wanted.keys()), Counter(each.alert.id for each in published))
    keys = _Difference(Counter(map(_key, wanted.values())), Counter(_key(each.alert) for each in published))
    swapped = _swapped(expected, published)
    partition_of_alert = {alert.id: partition_of[line] for line, alerts in expected.items() for alert in alerts}
    altered = [_altered(wanted[each.alert.id], each, partition_of_alert) for each in published if each.alert.id in wanted]
    altered = [sentence for sentence in altered if sentence is not None]
    by_id = {each.alert.id: each for each in published}
    return Verdict(
        expected=len(wanted),
        published=len(published),
        lost=max(ids.lost.total(), keys.lost.total()),
        duplicated=max(ids.duplicated.total(), keys.duplicated.total()),
        spurious=max(ids.spurious.total(), keys.spurious.total()),
        out_of_order=len(swapped),
        altered=len(altered),
        details=(
            *(f"lost: {wanted[one]}" for one in list(ids.lost)[:_DETAILS]),
            *(f"lost: {one}" for one in list(keys.lost)[:_DETAILS]),
            *(f"duplicated: {by_id[one]}" for one in list(ids.duplicated)[:_DETAILS]),
            *(f"duplicated: {one}" for one in list(keys.duplicated)[:_DETAILS]),
            *(f"spurious: {by_id[one]}" for one in list(ids.spurious)[:_DETAILS]),
            *(f"spurious: {one}" for one in list(keys.spurious)[:_DETAILS]),
            *(f"out of order: {one}" for one in swapped[:_DETAILS]),
            *(f"altered: {one}" for one in altered[:_DETAILS]),
        ),
    )


def state_differences(replay: Replay, stored: Iterable[Mapping[str, Any]]) -> list[str]:
    """Compare the stored state of every camera with the replayed one; a sentence for each camera that differs.

    Args:
        replay: of the whole frames topic.
        stored: one for each line, with the fields of `tools.chaos.debounced.CameraReplay.state`; "camera" is the line.
    """
    by_camera = {state["camera"]: _fields(state) for state in stored}
    differences = [f"{camera}: stored, but it sent nothing" for camera in by_camera.keys() - replay.cameras.keys()]
    for name, camera in replay.cameras.items():
        if camera.last_us is None:
            continue
        if name not in by_camera:
            differences.append(f"{name}: not stored")
            continue
        found, wanted = by_camera[name], _fields(camera.state() | {"camera": name})
        differing = [each for each in {**wanted, **found} if found.get(each, _MISSING) != wanted.get(each, _MISSING)]
        if differing:
            told = (f"{each} is {found.get(each, _MISSING)}, not {wanted.get(each, _MISSING)}" for each in differing)
            differences.append(f"{name}: stored {', '.join(told)}")
    return differences


class _Difference:
    """How often things were there against how often they were to be."""

    def __init__(self, wanted: Counter[Any], found: Counter[Any]) -> None:
        self.lost = wanted - found
        over = found - wanted
        self.duplicated = Counter({one: count for one, count in over.items() if one in wanted})
        self.spurious = Counter({one: 1 for one in over if one not in wanted})
        self.duplicated += Counter({one: count - 1 for one, count in over.items() if one not in wanted and count > 1})


def _key(alert: Alert) -> Key:
    return alert.camera, alert.behavior, alert.type, alert.at_us


def _swapped(expected: Mapping[str, Sequence[Alert]], published: Sequence[Published]) -> list[str]:
    """Name the expected alerts that came, for the first time, after a later one of their camera."""
    place = {alert.id: (line, index) for line, alerts in expected.items() for index, alert in enumerate(alerts)}
    latest: dict[str, int] = {}
    seen: set[str] = set()
    swapped = []
    for each in sorted(published, key=lambda one: (one.partition, one.offset)):
        alert = each.alert
        if alert.id not in place or alert.id in seen:
            continue
        seen.add(alert.id)
        line, index = place[alert.id]
        if index < latest.get(line, -1):
            swapped.append(str(each))
        latest[line] = max(index, latest.get(line, -1))
    return swapped


def _altered(wanted: Alert, found: Published, partition_of: Mapping[str, int]) -> str | None:
    if found.alert != wanted:
        return f"{found.alert} instead of {wanted}"
    partition = partition_of[wanted.id]
    return None if found.partition == partition else f"{wanted} lies on partition {found.partition}, its frames on {partition}"


def _fields(state: Mapping[str, Any]) -> dict[str, Any]:
    """Give a state field by field. A cooldown that is over counts as none: when it is forgotten is nobody's business."""
    fields = {name: value for name, value in state.items() if name not in {"behaviors", "partition"}}
    for behavior, each in state["behaviors"].items():
        until_s = each["cooldown_until_s"]
        settled = {**each, "cooldown_until_s": None if until_s is None or until_s <= state["last_s"] else until_s}
        fields |= {f"{behavior}.{name}": value for name, value in settled.items()}
    return fields
