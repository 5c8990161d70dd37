"""What became of every record and picture: the figures of the conservation law, checked in tests and shown by the tools.

Records:  received = used + dead_lettered + repeated + stale + in flight.
Pictures: decoded = answered + sampled_out + late + clock + no_keyframe + duplicate + undecodable + decode_only + stale_frames
+ in flight; `skipped` ones were never decoded. What lies in a decoder is not decoded yet.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from stream.clock import Admission


@dataclass(slots=True)
class Counts:
    """Counters of one worker since its start."""

    received: int = 0
    """Records polled."""
    used: int = 0
    """Records that were decoded (those of disabled cameras are used without decoding)."""
    dead_lettered: int = 0
    """Records that could not be used."""
    repeated: int = 0
    """Records that were done before the partition was taken up."""
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
    no_keyframe: int = 0
    """Pictures of access units that came when a decoder needed a keyframe: after a gap, or in the middle of a stream."""
    duplicate: int = 0
    """Access units that were there before, by their sequence number."""
    undecodable: int = 0
    """Access units of which no picture came."""
    decode_only: int = 0
    """Pictures that were decoded again because later ones needed them."""
    decoders_closed: int = 0
    """Decoders closed because others needed the room."""
    stale_frames: int = 0
    """Pictures dropped, answered or not yet asked, because their assignment had ended."""
    batches: int = 0
    """Batches that went to the device."""
    events: int = 0
    """Events delivered."""

    def sampled(self, outcomes: Mapping[Admission, int]) -> None:
        """Take what the clock made of some pictures; the accepted ones count when they are answered."""
        self.sampled_out += outcomes.get(Admission.SAMPLED_OUT, 0)
        self.late += outcomes.get(Admission.LATE, 0)
        self.clock += outcomes.get(Admission.CLOCK, 0)

    def as_dict(self) -> dict[str, int]:
        """Give every counter by name."""
        return asdict(self)
