"""What is known about each camera: the values of cameras.toml. Optional in all its parts; reading the file is not done here.

[[camera]]
id = "kitchen"
partition = 3                 # default: index in the sorted list of cameras, modulo the number of partitions
sample_fps = 1.0              # default: the worker's
enabled = true                # false: its records are read and not asked
[camera.thresholds.chewing_furniture]
start_above = 0.8             # also stop_below, min_share; default: the question file's
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.clock import ClockRules
from stream.debounce_rules import DebounceRule, DebounceRules


class Thresholds(BaseModel):
    """A camera's own thresholds of one behaviour; None: as the question file has it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    start_above: float | None = None
    stop_below: float | None = None
    min_share: float | None = None

    def over(self, rule: DebounceRule) -> DebounceRule:
        """Give the rule with these thresholds.

        Raises:
            ValueError: as `DebounceRule`.
        """
        return replace(rule, **self.model_dump(exclude_none=True))


class CameraSpec(BaseModel):
    """One camera's entry."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: str = Field(min_length=1)
    partition: int | None = Field(default=None, ge=0)
    sample_fps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    enabled: bool = True
    thresholds: dict[str, Thresholds] = Field(default_factory=dict)
    """By behaviour."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    camera: list[CameraSpec] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CameraRegistry:
    """The cameras that are known by name; all others have the defaults."""

    by_id: Mapping[str, CameraSpec] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> "CameraRegistry":
        """Check the parsed TOML of cameras.toml.

        Raises:
            ValueError: an unknown key, a wrong type or range, or a camera that stands there twice; names the place.
        """
        try:
            specs = _File.model_validate(document).camera
        except ValidationError as exc:
            raise ValueError(_first_error(exc)) from exc
        by_id: dict[str, CameraSpec] = {}
        for spec in specs:
            if spec.id in by_id:
                msg = f"camera {spec.id!r} stands there twice: give each camera one entry"
                raise ValueError(msg)
            by_id[spec.id] = spec
        return cls(by_id)

    def including(self, cameras: Iterable[str]) -> "CameraRegistry":
        """Add cameras that have no entry, with the defaults: a publisher's own list."""
        return CameraRegistry({**{camera: CameraSpec(id=camera) for camera in cameras}, **self.by_id})

    def partition_of(self, camera: str, num_partitions: int) -> int:
        """Give the partition of the frames topic that a publisher puts the camera on.

        Raises:
            ValueError: a camera without an entry, or an entry beyond the topic's partitions.
        """
        if camera not in self.by_id:
            msg = f"camera {camera!r} is not in the registry: add it to cameras.toml or to the publisher's list"
            raise ValueError(msg)
        partition = self.by_id[camera].partition
        if partition is None:
            return sorted(self.by_id).index(camera) % num_partitions
        if partition >= num_partitions:
            msg = f"camera {camera!r} asks for partition {partition}, the topic has 0 to {num_partitions - 1}: choose one of them"
            raise ValueError(msg)
        return partition

    def enabled(self, camera: str) -> bool:
        """Tell whether the camera's pictures are asked."""
        return camera not in self.by_id or self.by_id[camera].enabled

    def clock_for(self, camera: str, clock: ClockRules) -> ClockRules:
        """Give the camera's clock rules: the worker's, with its own sampling.

        Raises:
            ValueError: a sampling that is too slow for the rules; see `check`.
        """
        spec = self.by_id.get(camera)
        return clock if spec is None or spec.sample_fps is None else replace(clock, sample_fps=spec.sample_fps)

    def rules_for(self, camera: str, rules: DebounceRules) -> DebounceRules:
        """Give the camera's debounce rules: the question file's, with its own thresholds.

        Raises:
            ValueError: thresholds of a behaviour that is not asked, or that contradict each other; see `check`.
        """
        spec = self.by_id.get(camera)
        if spec is None or not spec.thresholds:
            return rules
        unknown = sorted(set(spec.thresholds) - set(rules.by_behavior))
        if unknown:
            msg = f"thresholds of {unknown[0]!r}, which is not asked: choose of {', '.join(rules.by_behavior)}"
            raise ValueError(msg)
        own = {behavior: thresholds.over(rules.by_behavior[behavior]) for behavior, thresholds in spec.thresholds.items()}
        return replace(rules, by_behavior={**rules.by_behavior, **own})

    def check(self, clock: ClockRules, rules: DebounceRules) -> None:
        """Refuse at the start what would fail at some camera's first frame.

        Raises:
            ValueError: naming the camera.
        """
        for camera in self.by_id:
            try:
                self.clock_for(camera, clock)
                self.rules_for(camera, rules)
            except ValueError as exc:
                msg = f"camera {camera!r}: {exc}"
                raise ValueError(msg) from exc


def _first_error(exc: ValidationError) -> str:
    """Name the first wrong place, `camera[2].sample_fsp`, and what is wrong there."""
    error = exc.errors(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    if error["type"] == "extra_forbidden":
        return f"{place} is an unknown key: check its spelling"
    return f"{place} is {error['input']!r}: {error['msg']}"
