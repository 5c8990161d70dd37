"""The oracle: pictures that carry their truth through every codec, and the engine that reads it out of them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.preprocess import fit
from stream import wire
from stream.decode import DecodeLimits, DecodeRequest, decode
from tests.chaos.oracle_world import (
    CAMERAS,
    sent_number,
    stream_of,
    taken,
)
from tools.chaos import pictures
from tools.chaos.cameras import FrameRecord
from tools.chaos.engine import OracleEngine, asked
from tools.chaos.pictures import SIZE, Carried, DamagedPicture
from tools.chaos.truth import ANSWERS, RULES, SAMPLE_FPS, UNITS, Camera, Code, Form

ONE_OF_EACH = [pytest.param(camera, id=f"{camera.form.name.lower()}-{camera.number}") for camera in CAMERAS]
FRAMES = 130
REQUEST = DecodeRequest(SIZE, 1 / SAMPLE_FPS, DecodeLimits())


def shown(camera: Camera, records: Sequence[FrameRecord]) -> list[NDArray[np.uint8]]:
    """Every picture in order of presentation, as the model gets it."""
    if camera.form not in UNITS:
        packets = [wire.read(taken(record)) for record in records]
        return [one.pixels for packet in packets for one in decode(packet, REQUEST, lambda _: True).pictures]
    return played(camera, records)


def played(camera: Camera, records: Sequence[FrameRecord]) -> list[NDArray[np.uint8]]:
    """Access units through a plain decoder."""
    decoder = av.CodecContext.create("h264" if camera.form is Form.H264 else "hevc", "r")
    frames = []
    for place, record in enumerate(records):
        packet = av.Packet(record.value)
        packet.pts = packet.dts = place
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    return [fit(frame.to_ndarray(format="rgb24"), SIZE) for frame in frames]


def carried(n: int = 5) -> Carried:
    """A picture's content."""
    return Carried(3, n, CAMERAS[3].codes(n))


# ------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("camera", ONE_OF_EACH)
def test_every_picture_survives_its_codec_and_the_resize(camera: Camera) -> None:
    """Encoded as the publisher does it, decoded as the worker does it."""
    camera = replace(camera, habits=replace(camera.habits, lose_every=0, repeat_every=0))
    read = [pictures.read(pixels) for pixels in shown(camera, stream_of(camera, range(FRAMES)))]
    assert read == [Carried(camera.number, n, camera.codes(n)) for n in range(FRAMES)]


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=64))
def test_a_picture_with_cells_turned_over_is_refused(cells: set[tuple[int, int]]) -> None:
    """Whichever they are."""
    picture = pictures.draw(carried(), SIZE, SIZE)
    for row, column in cells:
        picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] ^= 255
    with pytest.raises(DamagedPicture):
        pictures.read(picture)


def test_a_picture_with_a_grey_cell_is_refused() -> None:
    """Even if what it might mean fits the checksum."""
    picture = pictures.draw(carried(), SIZE, SIZE)
    picture[:8, :8] = 128
    with pytest.raises(DamagedPicture, match="brightness 128"):
        pictures.read(picture)


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(np.zeros((SIZE, SIZE, 3), np.uint8), id="black, as a batch's padding"),
        pytest.param(np.full((SIZE, SIZE, 3), 255, np.uint8), id="white"),
        pytest.param(np.full((SIZE, SIZE, 3), 128, np.uint8), id="grey, as a decoder fills in"),
        pytest.param(pictures.draw(carried(5), SIZE, SIZE) // 2 + pictures.draw(carried(6), SIZE, SIZE) // 2, id="two blended"),
        pytest.param(
            np.concatenate([pictures.draw(carried(5), SIZE, SIZE)[:32], pictures.draw(carried(2**23), SIZE, SIZE)[32:]]),
            id="two halves",
        ),
        pytest.param(np.ascontiguousarray(pictures.draw(carried(), SIZE, SIZE)[::-1]), id="upside down"),
    ],
)
def test_what_no_camera_drew_is_refused(picture: NDArray[np.uint8]) -> None:
    """Never guessed."""
    with pytest.raises(DamagedPicture):
        pictures.read(picture)


@pytest.mark.parametrize("camera", [each for each in ONE_OF_EACH if each.values[0].form in UNITS])
def test_a_picture_that_needs_a_lost_one_is_right_or_refused(camera: Camera) -> None:
    """A decoder that was handed over badly shows itself."""
    records = stream_of(replace(camera, habits=replace(camera.habits, repeat_every=0)), range(FRAMES))
    right = set()
    for pixels in played(camera, [*records[:5], *records[6:]]):
        with suppress(DamagedPicture):
            one = pictures.read(pixels)
            assert one == Carried(camera.number, one.number, camera.codes(one.number))
            right.add(one.number)
    assert right < set(range(FRAMES)) - {sent_number(records[5])}


# ------------------------------------------------------------------------------------------------ the engine


@pytest.fixture
def engine(tmp_path: Path) -> OracleEngine:
    """An engine that is quick."""
    return OracleEngine(0.0, tmp_path / "stall", tmp_path / "asked")


def batch(numbers: Sequence[int], bucket: int = 4) -> NDArray[np.uint8]:
    """Pictures of camera 3, padded."""
    padded = np.zeros((bucket, SIZE, SIZE, 3), np.uint8)
    for row, n in zip(padded, numbers, strict=False):
        row[:] = pictures.draw(carried(n), SIZE, SIZE)
    return padded


@pytest.mark.asyncio
async def test_the_engine_says_what_the_pictures_say(engine: OracleEngine) -> None:
    """In rows and columns, and keeps count of what it was asked."""
    answers = await engine.infer(batch([5, 6, 5]), 3)
    codes = [carried(n).codes for n in (5, 6, 5)]
    assert answers.p_yes.dtype == answers.share.dtype == np.float32
    assert answers.p_yes.tolist() == np.array([[ANSWERS[Code(code)][0] for code in row] for row in codes], np.float32).tolist()
    assert answers.share.tolist() == np.array([[ANSWERS[Code(code)][1] for code in row] for row in codes], np.float32).tolist()
    assert (asked([engine.journal]).total, asked([engine.journal]).different) == (3, 2)


@pytest.mark.asyncio
async def test_the_engine_stands_still_while_the_file_is_there(engine: OracleEngine) -> None:
    """And goes on where it was."""
    engine.stall_file.touch()
    stalled = asyncio.create_task(engine.infer(batch([5]), 1))
    await asyncio.sleep(0.3)
    assert not stalled.done()
    engine.stall_file.unlink()
    assert (await stalled).p_yes.shape == (1, len(RULES))


@pytest.mark.asyncio
async def test_the_engine_refuses_a_damaged_picture(engine: OracleEngine) -> None:
    """Padding that is taken for a picture, for example."""
    with pytest.raises(DamagedPicture):
        await engine.infer(batch([5]), 2)
