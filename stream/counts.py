"""What became of every record and picture: the figures of the conservation law, checked in tests and shown by the tools.

Records:  received = used + dead_lettered + stale + in flight.
Pictures: decoded = answered + sampled_out + late + clock + stale_frames + in flight; `skipped` ones were never decoded.
"""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counts:
    """Counters of one worker since its start."""

    received: int = 0
    """Records polled."""
    used: int = 0
    """Records that were decoded (those of disabled cameras are used without decoding)."""
    dead_lettered: int = 0
    """Records that could not be used."""
    stale: int = 0
    """Records of an assignment that had ended when they were taken."""
    decoded: int = 0
    """Pictures decoded from used records."""
    skipped: int = 0
    """Pictures that keyframe-only decoding never touched."""
    answered: int = 0
    """Pictures that the model was asked about and whose answers were applied."""
    sampled_out: int = 0
    """Pictures between two samples."""
    late: int = 0
    """Pictures dropped because they came after a later one."""
    clock: int = 0
    """Pictures dropped because their time was out of the camera's clock."""
    stale_frames: int = 0
    """Answered pictures dropped because their assignment had ended."""
    batches: int = 0
    """Batches that went to the device."""
    events: int = 0
    """Events delivered."""

    def as_dict(self) -> dict[str, int]:
        """Give every counter by name."""
        return asdict(self)
