"""A camera whose pictures have colours without a way to RGB: its own are not asked, and nobody else notices."""

import logging
from dataclasses import replace

import pytest

from stream.camera_decoder import CameraDecoder, Turn
from stream.clock import ClockRules
from stream.ports import Poll
from stream.state_records import DecoderPlace
from stream.timestamps import to_rfc3339
from stream.types import Record
from tests.integration.annex_b import LIMITS, SIZE, STREAMS, units
from tests.integration.worker_world import TOPIC, WHITE, record, world

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

HEALTHY = 6


@pytest.mark.parametrize("kind", ["H.264", "H.264 B-frames"])
async def test_it_is_counted_and_told_once_and_its_neighbours_are_asked(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """They lie in the decoder when it is emptied, too: raised there, it would end every worker that takes the partition."""
    stream = STREAMS[kind]
    packets = units(replace(stream, parameters=f"{stream.parameters}:colormatrix=YCgCo"))
    yard = [
        Record(
            topic=TOPIC, partition=0, offset=number, timestamp_ms=0, key=b"yard", value=packet.payload,
            headers=(
                ("content-type", packet.content_type.encode()),
                ("ce_time", to_rfc3339(packet.captured_at_s).encode()),
                ("stream", b"s"),
                ("seq", str(number).encode()),
            ),
            incarnation=1, arrived_at_s=packet.captured_at_s,
        )
        for number, packet in enumerate(packets)
    ]  # fmt: skip
    den = tuple(record(len(yard) + number, number / 2, WHITE) for number in range(HEALTHY))
    stage = world(*(Poll(records=(each,)) for each in yard), Poll(records=den))
    worker = stage.worker()
    with caplog.at_level(logging.WARNING):
        await worker.run()
    counts = worker.counts
    assert (counts.answered, counts.dead_lettered) == (HEALTHY, 0)
    assert counts.undecodable > 0
    assert counts.decoded == counts.answered + counts.sampled_out + counts.undecodable
    assert caplog.text.count("pictures of camera yard cannot be asked: colour conversion") == 1
    assert stage.sink.ticks[-1].resume_offset == len(yard) + HEALTHY


async def test_of_several_that_come_out_at_once_one_is_told() -> None:
    """All that a decoder held comes out when it is emptied; the first picture was done by the last owner."""
    stream = STREAMS["H.264 B-frames"]
    packets = units(replace(stream, parameters=f"{stream.parameters}:colormatrix=YCgCo"))
    rules, taking = ClockRules(sample_fps=1000.0), CameraDecoder("video/h264", SIZE, LIMITS, DecoderPlace(0, 0))
    came = []
    clock = None
    for packet in packets[:3]:
        assert taking.turn(packet) is Turn.FEED
        came.append(taking.feed(packet, clock, rules))
        clock = came[-1].sampler.state
    came.append(taking.drain(clock, rules))
    assert [each.unusable for each in came] == [0, 0, 0, 2]
    assert "colour conversion" in (came[-1].fault or "")
