"""What a scenario is: who takes part, one precise disturbance, and the judgement that every run gets."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.chaos.brokers import QUICK_FAULTS
from tools.chaos.scenarios.act import Act


@dataclass(frozen=True, slots=True)
class Setting:
    """Who takes part."""

    cameras: int = 6
    partitions: int = 3
    workers: int = 2
    nodes: int = 1
    lost_after_s: float = 120.0
    leaving: int = 0
    """So many cameras, the last ones, stop for good."""
    leave_at: int = 600
    """Before this picture."""
    batch_s: float = 0.02
    """Time that the device takes for a batch."""
    is_steady: bool = True
    """Whether clocks go back only where the script says so."""
    publishes: bool = True
    """Whether the publisher process runs; else the scenario sends by itself."""
    has_bystanders: bool = False
    """Whether visitors and unusable records come along."""
    worker: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the workers (`tools.chaos.worker_process.Told`) beyond a run's."""
    broker: Mapping[str, str] = field(default_factory=lambda: QUICK_FAULTS)
    """Settings of the brokers."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One named scenario."""

    says: str
    """What is done, in one sentence."""
    disturb: Callable[[Act], Awaitable[None]]
    """Does it, and notes figures and problems; the workers and the publisher run before it."""
    setting: Setting = field(default_factory=Setting)
