"""Payloads to pictures: dispatches a packet to the decoder of its content type.

Blocking and CPU-bound: the worker calls it in threads (both libraries release the GIL). Knows nothing of cameras or clocks:
which pictures are wanted is asked through `admit`.
"""

from collections.abc import Callable, Mapping

from stream.decode import segments, stills
from stream.decode.access_units import AccessUnitDecoder, Fed, Shown
from stream.decode.request import Admit, Decoded, DecodeLimits, DecodeRequest, Fault, Picture
from stream.types import FramePacket

__all__ = [
    "DECODERS",
    "SEGMENT_TYPES",
    "AccessUnitDecoder",
    "Admit",
    "DecodeLimits",
    "DecodeRequest",
    "Decoded",
    "Fault",
    "Fed",
    "Picture",
    "Shown",
    "decode",
]

DECODERS: Mapping[str, Callable[[FramePacket, DecodeRequest, Admit], Decoded]] = {
    **dict.fromkeys(stills.PLUGINS, stills.decode),
    **dict.fromkeys(segments.FORMATS, segments.decode),
}
"""Every content type of `stream.wire.CONTENT_TYPES`."""
SEGMENT_TYPES = frozenset(segments.FORMATS)
"""Those whose records hold many pictures."""


def decode(packet: FramePacket, request: DecodeRequest, admit: Admit) -> Decoded:
    """Decode a packet and bring the pictures that `admit` wants to the model's size.

    Args:
        packet: a usable record.
        request: size, sampling interval and limits.
        admit: called once per decoded picture, in presentation order, with its capture time; only a picture that it accepts is
            converted and resized.

    Raises:
        UnusableRecord: stage `decode`; nothing of the record may be used, whatever `admit` was told before.
    """
    return DECODERS[packet.content_type](packet, request, admit)
