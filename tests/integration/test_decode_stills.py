"""Stills: what is decoded, how, and what is refused before it costs anything."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from pipeline.preprocess import fit
from stream.decode import DECODERS, DecodeLimits, DecodeRequest, decode
from stream.decode.stills import read_picture
from stream.errors import UnusableRecord
from stream.wire import CONTENT_TYPES
from tests.integration.moving_pictures import T0_S, packet

SIZE = 64
LIMITS = DecodeLimits()
REQUEST = DecodeRequest(size=SIZE, interval_s=0.5, limits=LIMITS)


def natural(width: int = 640, height: int = 480) -> NDArray[np.uint8]:
    """A picture with soft shades, edges and grain, uint8 (H, W, 3)."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    shades = np.stack([128 + 90 * np.sin(x / 37 + y / 91), 128 + 80 * np.sin(x / 21) * np.cos(y / 33), 255 * x / width], -1)
    shades[height // 4 : height // 2, width // 3 : width // 2] = (250, 240, 20)
    return np.clip(shades + rng.normal(0, 6, shades.shape), 0, 255).astype(np.uint8)


def saved(pixels: NDArray[np.generic], kind: str, **options: object) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds hardly anything."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def refusal(payload: bytes, content_type: str, request: DecodeRequest = REQUEST) -> UnusableRecord:
    """The error that a payload causes if its pictures are wanted."""
    with pytest.raises(UnusableRecord) as caught:
        decode(packet(payload, content_type), request, lambda _: True)
    assert caught.value.stage == "decode"
    return caught.value


def test_every_content_type_of_the_wire_has_a_decoder() -> None:
    """What the wire accepts can be decoded."""
    assert set(DECODERS) == set(CONTENT_TYPES)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_lossless_still_is_resized_from_its_exact_pixels(kind: str, options: dict[str, bool]) -> None:
    """A lossless still gives its own pixels, at the model's size and the record's time."""
    pixels = natural()
    asked: list[float] = []
    decoded = decode(packet(saved(pixels, kind, **options), f"image/{kind.lower()}"), REQUEST, lambda at: not asked.append(at))
    (picture,) = decoded.pictures
    assert asked == [T0_S]
    assert (picture.index, picture.captured_at_s, decoded.decoded, decoded.skipped) == (0, T0_S, 1, 0)
    assert np.array_equal(picture.pixels, fit(pixels, SIZE))


def test_a_still_that_is_not_wanted_counts_as_decoded_and_gives_nothing() -> None:
    """Sampling happens before the expensive part."""
    decoded = decode(packet(saved(natural(), "JPEG"), "image/jpeg"), REQUEST, lambda _: False)
    assert (decoded.pictures, decoded.decoded, decoded.skipped) == ((), 1, 0)


@pytest.mark.parametrize("size", [64, 192, 384])
def test_scaled_jpeg_decoding_stays_close_to_the_full_one(size: int) -> None:
    """1080p at 1/8, 1/4 and 1/2 differs from a full decode by half a level of 255 on average (measured: 0.28, 0.37, 0.38)."""
    data = saved(natural(1920, 1080), "JPEG", quality=85)
    full = fit(read_picture(data, LIMITS), size).astype(int)
    request = DecodeRequest(size=size, interval_s=0.5, limits=LIMITS)
    (picture,) = decode(packet(data, "image/jpeg"), request, lambda _: True).pictures
    difference = np.abs(picture.pixels - full)
    assert difference.any()  # it was decoded at a smaller scale
    assert difference.mean() < 0.5
    assert difference.max() <= 16  # beside hard edges; measured 15


def test_a_small_jpeg_is_never_scaled_below_the_models_size() -> None:
    """A JPEG whose half would be smaller than the model's input is decoded in full."""
    data = saved(natural(127, 200), "JPEG")
    (picture,) = decode(packet(data, "image/jpeg"), REQUEST, lambda _: True).pictures
    assert np.array_equal(picture.pixels, fit(read_picture(data, LIMITS), SIZE))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """The model sees the picture as a person does, whichever way the camera was held."""
    stored = np.zeros((96, 160, 3), np.uint8)
    stored[:48, :80] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = saved(stored, "JPEG", quality=95, exif=exif)
    expected = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.transpose(1, 0, 2), 6: np.rot90(stored, -1), 7: np.rot90(stored, 2).transpose(1, 0, 2), 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    shown = read_picture(data, LIMITS)
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).mean() < 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_not_cost_the_picture() -> None:
    """A camera's faulty metadata is ignored."""
    data = saved(natural(), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09garbage")
    assert read_picture(data, LIMITS).shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (natural()[:, :, 0], {}),
        (np.dstack([natural(), natural()[:, :, :1]]), {}),
        (natural()[:, :, 0].astype(np.uint16) * 257, {}),
    ],
    ids=["grey", "alpha", "16 bit grey"],
)
def test_other_kinds_of_png_become_eight_bit_rgb(pixels: NDArray[np.generic], options: dict[str, str]) -> None:
    """Grey is spread over the channels, alpha is dropped, of 16 bits the high byte stays."""
    shown = read_picture(saved(pixels, "PNG", **options), LIMITS)
    expected = natural() if pixels.ndim == 3 else np.dstack([natural()[:, :, 0]] * 3)
    assert np.array_equal(shown, expected)


def test_a_palette_with_transparency_becomes_rgb() -> None:
    """A palette PNG is spread to its colours."""
    file = io.BytesIO()
    palette = Image.fromarray(natural()).quantize(16)
    palette.save(file, "PNG", transparency=bytes(range(16)))
    assert np.array_equal(read_picture(file.getvalue(), LIMITS), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_still_is_refused_at_any_length(kind: str) -> None:
    """A still that ends early is unusable wherever it was cut, and is found even if it is not sampled."""
    data = saved(natural(), kind, **({"progressive": True} if kind == "JPEG" else {}))
    for length in (1, 4, 20, 100, 700, len(data) // 2, len(data) - 600, len(data) - 2, len(data) - 1):
        assert refusal(data[:length], f"image/{kind.lower()}").reason in {"truncated", "unreadable"}
    with pytest.raises(UnusableRecord):
        decode(packet(data[: len(data) // 2], f"image/{kind.lower()}"), REQUEST, lambda _: False)


def test_a_jpeg_cut_behind_its_thumbnail_is_refused() -> None:
    """The end marker of an embedded thumbnail is not taken for the picture's, nor is a patched-on one believed."""
    data = saved(natural(), "JPEG", quality=90, exif=b"Exif\x00\x00" + saved(natural(64, 48), "JPEG"))
    assert refusal(data[: len(data) // 2], "image/jpeg").reason == "truncated"


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "image/webp"])
@pytest.mark.parametrize(
    "payload", [b"hello", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", b"RIFF\x04\x00\x00\x00WEBP", bytes(4000)]
)
def test_bytes_that_are_no_picture_are_refused(content_type: str, payload: bytes) -> None:
    """Whatever stands in a record, the decoder answers with an unusable record."""
    refusal(payload, content_type)


def test_no_damage_lets_another_error_escape() -> None:
    """A still with flipped bits is decoded or refused, never anything else."""
    rng = np.random.default_rng(11)
    for kind in ("JPEG", "PNG", "WEBP"):
        data = saved(natural(96, 64), kind)
        for _ in range(60):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                decode(packet(bytes(damaged), f"image/{kind.lower()}"), REQUEST, lambda _: True)
            except UnusableRecord:
                continue


def test_a_hundred_megapixel_png_is_refused_without_decompressing_it() -> None:
    """A decompression bomb costs no memory."""
    bomb = saved(np.zeros((10_000, 10_000), np.uint8), "PNG")
    tracemalloc.start()
    reason = refusal(bomb, "image/png").reason
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reason == "too_many_pixels"
    assert peak < 4 * len(bomb) + 1_000_000


@pytest.mark.parametrize(("width", "height"), [(20_000, 100), (100, 20_000), (2**31 - 1, 2**31 - 1), (8000, 8000)])
def test_absurd_dimensions_are_refused_by_the_header(width: int, height: int) -> None:
    """Neither an area nor a side over the limit is decoded, and the message names both."""
    error = refusal(png_header(width, height), "image/png")
    assert error.reason == "too_many_pixels"
    assert str(width) in str(error)


@pytest.mark.parametrize(("side", "reason"), [(8_000, "too_many_pixels"), (16_383, "unreadable")])
def test_a_webp_that_claims_a_giant_canvas_is_refused(side: int, reason: str) -> None:
    """WebP's limit is the same as that of the others; the largest canvas Pillow refuses by itself."""
    data = bytearray(saved(natural(64, 64), "WEBP", lossless=True))
    at = data.index(b"VP8L") + 9  # 14 bits of width - 1, then 14 of height - 1
    bits = int.from_bytes(data[at : at + 4], "little") >> 28 << 28 | (side - 1) << 14 | (side - 1)
    data[at : at + 4] = bits.to_bytes(4, "little")
    assert refusal(bytes(data), "image/webp").reason == reason


def test_a_png_that_holds_less_than_it_says_is_refused() -> None:
    """A complete file around too few pixels is corrupt."""
    assert refusal(png_header(640, 480), "image/png").reason == "corrupt"


def test_read_picture_tells_the_format_by_the_bytes_and_names_the_known_ones() -> None:
    """A file of another kind is refused with the list of formats."""
    with pytest.raises(UnusableRecord, match="image/jpeg, image/png, image/webp"):
        read_picture(b"GIF89a" + bytes(100), LIMITS)
