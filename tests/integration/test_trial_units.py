"""The trial of access units: the child keeps a decoder for each camera, as the worker would."""

import signal
import time
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.decode import AccessUnitDecoder
from stream.errors import UnusableRecord
from stream.types import FramePacket
from tests.integration.moving_pictures import T0_S, encoded, packet
from tests.integration.trial_world import REQUEST, attempt_under, trial

pytestmark = pytest.mark.asyncio


@dataclass(frozen=True, slots=True)
class Units:
    """Consecutive access units: two that cost little and one that takes long."""

    key: FramePacket
    light: FramePacket
    slow: FramePacket
    limit_s: float
    """Three quarters of what the slow one takes of a processor at the least, and many times what the others take."""


@pytest.fixture(scope="module")
def units() -> Units:
    """Encode them, and measure."""
    height, width = 2160, 3840
    flat = np.full((height, width, 3), 128, np.uint8)
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    packets = tuple(
        replace(
            packet(unit, "video/h264", T0_S + number / 30),
            position=replace(packet(b"", "video/h264").position, offset=number),
            stream="one",
            seq=number,
        )
        for number, unit in enumerate(_encoded([flat, flat, noise]))
    )
    decoder = AccessUnitDecoder("video/h264", REQUEST.size, REQUEST.limits)
    taken_s = []
    for each in packets:
        before_s = time.process_time()
        decoder.feed(each, lambda _offset, _captured_at_s: True)
        taken_s.append(time.process_time() - before_s)
    assert taken_s[2] > 8 * max(taken_s[0], taken_s[1]), taken_s
    return Units(*packets, 0.75 * taken_s[2])


def _encoded(pictures: list[NDArray[np.uint8]]) -> list[bytes]:
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.height, codec.width, codec.pix_fmt = *pictures[0].shape[:2], "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 30), Fraction(30)
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "qp": "1",
        "x264-params": "annexb=1:repeat-headers=1:cabac=1:scenecut=0:keyint=250",
    }
    units = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        units += [bytes(unit) for unit in codec.encode(frame)]
    return units + [bytes(unit) for unit in codec.encode(None)]


async def test_access_unit_is_decoded_with_what_came_before(units: Units) -> None:
    """In the middle of a group of pictures a new child is fed from the keyframe on: so the slow one is slow twice."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(units.light, REQUEST)
        with pytest.raises(UnusableRecord, match="video/h264 does not come back"):
            await tried.attempt(units.slow, REQUEST)


async def test_access_unit_without_a_beginning_is_passed(units: Units) -> None:
    """Before a camera's first keyframe, and after a record that was dead-lettered, there is nothing to decode with."""
    slow = replace(units.slow, seq=1)
    async with trial(units.limit_s) as tried:
        await tried.attempt(slow, REQUEST)
        await tried.attempt(units.key, REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(slow, REQUEST)
        assert await attempt_under(tried, slow) == 1


@pytest.mark.parametrize(
    "follows",
    [
        pytest.param({"seq": 0}, id="repeated"),
        pytest.param({"seq": 2}, id="after a gap"),
        pytest.param({"seq": 1, "stream": "two"}, id="of another stream"),
        pytest.param({"seq": 1, "content_type": "video/h265"}, id="of another type"),
        pytest.param({"seq": 1, "camera_id": "hall"}, id="of another camera"),
    ],
)
async def test_decoder_is_fed_only_what_continues_its_stream(units: Units, follows: dict[str, Any]) -> None:
    """What the worker would not feed to this decoder is not held against it, also by a child that has to begin again."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        assert await attempt_under(tried, replace(units.slow, **follows), signal.SIGKILL) == 2


async def test_still_ends_what_the_decoder_held(units: Units) -> None:
    """A camera that sends a still begins its access units anew."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(packet(encoded(), "video/mp4"), REQUEST)
        assert await attempt_under(tried, replace(units.slow, seq=1)) == 1


async def test_decoder_outlives_its_neighbours(units: Units) -> None:
    """The slow picture of one camera is tried with that camera's keyframe, whatever others send in between."""
    async with trial(units.limit_s) as tried:
        await tried.attempt(units.key, REQUEST)
        await tried.attempt(replace(units.key, camera_id="hall"), REQUEST)
        await tried.attempt(replace(packet(encoded(), "video/mp4"), camera_id="yard"), REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(replace(units.slow, seq=1), REQUEST)
        with pytest.raises(UnusableRecord):
            await tried.attempt(replace(units.slow, camera_id="hall", seq=1), REQUEST)
