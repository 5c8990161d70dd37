"""Whether a video file ends before its declared end, where FFmpeg's demuxers stop without an error.

Knows only the outermost structure of each container: boxes, EBML elements, packets. Decodes and allocates nothing.
"""

from typing import BinaryIO

from stream.wire import CONTENT_TYPES

_TS_PACKET_BYTES = 188
"""ISO 13818-1, 2.4.3.2."""

_SEGMENT_ID = 0x18538067
"""RFC 9559, section 5.1."""

_HEAD_BYTES = 4096
"""More than any EBML header takes."""

_BOX_HEADER_BYTES = 8
_SIZE_IS_64_BIT = 1
_SIZE_TO_THE_END = 0


def cut_short(file: BinaryIO) -> bool:
    """Tell whether a file that is read from its beginning is incomplete; False for containers that do not say."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    if CONTENT_TYPES["video/mp4"](head):
        return _mp4(file, size)
    if CONTENT_TYPES["video/x-matroska"](head):
        return _matroska(head, size)
    return CONTENT_TYPES["video/mp2t"](head) and size % _TS_PACKET_BYTES != 0


def _mp4(file: BinaryIO, size: int) -> bool:
    """Walk the outermost boxes (ISO 14496-12, section 4.2): the last must end where the file does."""
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(2 * _BOX_HEADER_BYTES)
        if len(header) < _BOX_HEADER_BYTES:
            return True
        length = int.from_bytes(header[:4], "big")
        if length == _SIZE_TO_THE_END:
            return False
        if length == _SIZE_IS_64_BIT:
            length = int.from_bytes(header[8:16], "big")
        at += max(length, _BOX_HEADER_BYTES)
    return at > size


def _matroska(head: bytes, size: int) -> bool:
    """Compare the Segment's declared size (RFC 8794, section 6) with the file's; a live muxer's unknown size is no claim."""
    header = _element_size(head, 4)
    if header is None:
        return True
    segment = header[0] + (header[1] or 0)
    if int.from_bytes(head[segment : segment + 4], "big") != _SEGMENT_ID:
        return segment >= size
    body = _element_size(head, segment + 4)
    return body is None or (body[1] is not None and body[0] + body[1] > size)


def _element_size(data: bytes, at: int) -> tuple[int, int | None] | None:
    """Read a size at `at`: where it ends and its value, None for "unknown" (all bits set); None if the data ends in it."""
    if at >= len(data) or not data[at]:
        return None
    width = 9 - data[at].bit_length()
    if at + width > len(data):
        return None
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return at + width, None if value == (1 << 7 * width) - 1 else value
