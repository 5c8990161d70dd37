"""JPEG, PNG and WebP, with Pillow: strict about truncation where OpenCV fills the rest with grey, and as fast within 20 %.

The plugin of the content type is opened directly, never `Image.open`: no other of Pillow's formats can be reached, and the
dimensions are checked by our limits before anything is decompressed. Choices: the orientation in EXIF is applied (the model
should see what a person sees), alpha is dropped and 16 bits become 8 by their high byte (as in the checkpoints' own
processor), of an animation the first picture counts.
"""

from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from pipeline.preprocess import fit
from stream.decode.request import (
    Admit,
    Decoded,
    DecodeLimits,
    DecodeRequest,
    Fault,
    Picture,
    blaming_the_record,
    check_dimensions,
    refuse,
)
from stream.types import FramePacket
from stream.wire import CONTENT_TYPES

PLUGINS: Mapping[str, type[ImageFile]] = {
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/png": PngImagePlugin.PngImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each value of EXIF's Orientation (Exif 2.32, tag 0x0112); 1 is upright."""

_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xaeB`\x82"


def decode(packet: FramePacket, request: DecodeRequest, admit: Admit) -> Decoded:
    """Decode a still, if it is wanted: of one that is not, only header and end are looked at.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still gives at least the model's on both sides; the deviation
    from a full decode is measured in tests/integration/test_decode_stills.py.
    """
    image = _open(packet.payload, packet.content_type, request.limits)
    if not admit(packet.captured_at_s):
        return Decoded((), decoded=1, skipped=0)
    with blaming_the_record(Fault.CORRUPT, packet.content_type):
        image.draft("RGB", (request.size, request.size))  # scaled DCT decoding; does nothing to PNG and WebP
    picture = Picture(0, packet.captured_at_s, fit(_pixels(image, packet.content_type), request.size))
    return Decoded((picture,), decoded=1, skipped=0)


def read_picture(data: bytes, limits: DecodeLimits) -> NDArray[np.uint8]:
    """Decode a picture of any of the still formats in full, uint8 (H, W, 3) RGB, upright.

    Raises:
        UnusableRecord: it is none of them, broken, or over the limits.
    """
    for content_type in PLUGINS:
        if CONTENT_TYPES[content_type](data):
            return _pixels(_open(data, content_type, limits), content_type)
    raise refuse(Fault.UNREADABLE, f"begins with {data[:12]!r}: none of {', '.join(PLUGINS)}")


def _open(data: bytes, content_type: str, limits: DecodeLimits) -> ImageFile:
    """Read the header and look whether the end is there; decodes nothing."""
    file = BytesIO(data)
    with blaming_the_record(Fault.UNREADABLE, f"not {content_type}"):
        image = PLUGINS[content_type](file)
    check_dimensions(*image.size, limits)
    if not _complete(data, content_type, scan_at=file.tell()):
        raise refuse(Fault.TRUNCATED, f"{content_type} of {len(data)} bytes ends before its end marker")
    return image


def _complete(data: bytes, content_type: str, scan_at: int) -> bool:
    """Tell a cut file cheaply, so that one is found even if it is not sampled. Trailing bytes are allowed: cameras pad."""
    if content_type == "image/jpeg":
        return data.find(_JPEG_END, scan_at) >= 0  # from the scan on: an embedded thumbnail has an end of its own
    if content_type == "image/png":
        return data.rfind(_PNG_END) >= 0
    return 8 + int.from_bytes(data[4:8], "little") <= len(data)  # RIFF: the size of all that follows it


def _pixels(image: ImageFile, content_type: str) -> NDArray[np.uint8]:
    """Decompress, uint8 (H, W, 3) RGB, upright."""
    turn = _UPRIGHT.get(_orientation(image))
    with blaming_the_record(Fault.CORRUPT, content_type):
        image.load()
        plain = _eight_bit_rgb(image)
        return np.asarray(plain if turn is None else plain.transpose(turn))


def _orientation(image: ImageFile) -> int:
    """Read EXIF's Orientation; 1 (upright) where the block is missing or broken: the picture is still good."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  (Pillow does not promise what a broken block raises)
        return 1


def _eight_bit_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow itself keeps the high byte of 16-bit colour
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette's transparency cannot go to RGB directly
    return image.convert("RGB")
