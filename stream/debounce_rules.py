"""When answers become events: the numbers of the debouncer, checked once. Defaults: DESIGN section 6."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_BEHAVIOR = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class DebounceRule:
    """When one behaviour starts and ends. All times are event time."""

    behavior: str
    """Name of the behaviour, a lower-case identifier; events and state are keyed by it."""
    start_above: float
    """P(yes) at or over this counts as yes."""
    stop_below: float
    """P(yes) at or under this counts as no; between the two the last known answer holds."""
    start_after_s: float
    """How long yes must hold before the behaviour has started."""
    stop_after_s: float
    """How long no must hold before it has ended."""
    cooldown_s: float
    """After an end, no new start before this."""
    min_share: float = 0.5
    """An answer whose share is under this is unknown: the model wanted to say neither yes nor no."""
    max_duration_s: float = 3600.0
    """An episode is ended after this, however sure the model is."""
    severity: str = "info"
    """Passed on to the events; any word that subscribers agree on."""

    def __post_init__(self) -> None:
        """Refuse what would never start, never end or flutter.

        Raises:
            ValueError: naming the behaviour, the value and its limit.
        """
        if not _BEHAVIOR.fullmatch(self.behavior):
            msg = f"behavior {self.behavior!r} must be a lower-case identifier such as chewing_furniture"
            raise ValueError(msg)
        if not 0 <= self.stop_below < self.start_above <= 1:
            self._refuse(
                f"start_above is {self.start_above} and stop_below is {self.stop_below}", "0 <= stop_below < start_above <= 1"
            )
        if not 0 <= self.min_share <= 1:
            self._refuse(f"min_share is {self.min_share}", "a number from 0 to 1")
        for name in ("start_after_s", "stop_after_s", "cooldown_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                self._refuse(f"{name} is {getattr(self, name)}", "seconds, 0 or more")
        if not self.start_after_s < self.max_duration_s < float("inf"):
            self._refuse(f"max_duration_s is {self.max_duration_s}", f"more than start_after_s = {self.start_after_s}")
        if not self.severity.strip():
            self._refuse("severity is empty", "a word such as info, warning or critical")

    def _refuse(self, found: str, needed: str) -> None:
        msg = f"behavior {self.behavior!r}: {found}; needed: {needed}"
        raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class DebounceRules:
    """The rules of every behaviour that is asked, and of the camera itself."""

    by_behavior: Mapping[str, DebounceRule]
    """In the order in which events of one frame are published."""
    max_gap_s: float = 5.0
    """Answers further apart than this belong to different runs."""
    lost_after_s: float = 30.0
    """A camera without a frame for longer than this is lost."""
    forget_after_s: float = 14 * 86_400.0
    """A lost camera that sent nothing for so long is forgotten; longer than the frames topic's retention: none returns."""

    def __post_init__(self) -> None:
        """Refuse a loss that comes before a gap.

        Raises:
            ValueError: naming the values.
        """
        assert all(name == rule.behavior for name, rule in self.by_behavior.items()), self.by_behavior
        if not 0 <= self.max_gap_s <= self.lost_after_s < float("inf"):
            msg = f"lost_after_s is {self.lost_after_s} and max_gap_s is {self.max_gap_s}: need 0 <= max_gap_s <= lost_after_s"
            raise ValueError(msg)
        if not self.lost_after_s < self.forget_after_s < float("inf"):
            msg = f"forget_after_s is {self.forget_after_s}: give seconds, more than lost_after_s = {self.lost_after_s}"
            raise ValueError(msg)

    @classmethod
    def of(
        cls,
        rules: Iterable[DebounceRule],
        *,
        max_gap_s: float = 5.0,
        lost_after_s: float = 30.0,
        forget_after_s: float = 14 * 86_400.0,
    ) -> "DebounceRules":
        """Key the rules by behaviour.

        Raises:
            ValueError: two rules for one behaviour, or as the constructor.
        """
        by_behavior: dict[str, DebounceRule] = {}
        for rule in rules:
            if rule.behavior in by_behavior:
                msg = f"behavior {rule.behavior!r} has two rules: give each question its own behavior name"
                raise ValueError(msg)
            by_behavior[rule.behavior] = rule
        return cls(by_behavior, max_gap_s, lost_after_s, forget_after_s)
