"""Recordings as publications, and the pictures that a worker sees in them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from stream.clock import Admission, ClockRules, admit
from stream.decode import AccessUnitDecoder, DecodeLimits, DecodeRequest, Picture, Shown, decode
from stream.types import FramePacket, Position
from tests.integration.moving_pictures import T0_S, Video, packet
from tools.recordings import (
    Form,
    Publication,
    Recording,
    publications,
)

SIZE = 32


def published(file: Path, form: Form, start_s: float | None = T0_S) -> list[Publication]:
    """All publications of a sound file."""
    problems: list[str] = []
    done = list(publications(Recording("den", str(file), start_s), form, problems.append))
    assert problems == []
    return done


def worker_pictures(published: Sequence[Publication], interval_s: float = 0.001) -> list[Picture]:
    """What a worker that wants everything decodes of them."""
    request = DecodeRequest(SIZE, interval_s, DecodeLimits())
    packets = [packet(one.payload, one.content_type, one.captured_at_s) for one in published]
    return [picture for one in packets for picture in decode(one, request, lambda _: True).pictures]


def sampled(published: Sequence[Publication], fps: float) -> Iterator[Picture]:
    """What a worker that samples takes of them."""
    clock, rules = None, ClockRules(sample_fps=fps)
    for one in published:
        wanted: list[Picture] = []

        def judge(at_s: float) -> bool:
            nonlocal clock
            clock, admission = admit(clock, at_s, "stream", rules)
            return admission is Admission.ACCEPTED

        request = DecodeRequest(SIZE, 1 / fps, DecodeLimits())
        wanted += decode(packet(one.payload, one.content_type, one.captured_at_s), request, judge).pictures
        yield from wanted


def unit_packet(offset: int, one: Publication) -> FramePacket:
    """An access unit as the worker reads it."""
    assert one.unit is not None
    place, keyframe = Position("frames", 0, offset), one.unit.keyframe
    return FramePacket(place, "den", one.captured_at_s, one.content_type, one.payload, None, one.seq, None, 0.0, keyframe)


def shown(published: Sequence[Publication]) -> list[Shown]:
    """What a decoder that begins at the first of these shows of them."""
    decoder = AccessUnitDecoder(published[0].content_type, SIZE, DecodeLimits())
    fed = [decoder.feed(unit_packet(offset, one), lambda *_: True) for offset, one in enumerate(published)]
    return [one for each in (*fed, decoder.drain(lambda *_: True)) for one in each.shown]


VIDEOS = {
    "mp4": Video(frames=75, gop=15),
    "29.97 transport stream": Video(frames=75, gop=20, fps=Fraction(30000, 1001), muxer="mpegts"),
    "matroska": Video(frames=60, gop=30, muxer="matroska", fps=Fraction(25)),
    "avi, MPEG-4": Video(frames=40, gop=12, codec="mpeg4", muxer="avi", fps=Fraction(25)),
    "H.265": Video(
        frames=60,
        gop=20,
        codec="libx265",
        codec_options={"preset": "ultrafast", "x265-params": "log-level=none:pools=none:open-gop=0"},
    ),
    "MPEG-2": Video(frames=50, gop=12, codec="mpeg2video", muxer="mpegts", fps=Fraction(25)),
    "VP8": Video(frames=40, gop=12, codec="libvpx", muxer="webm", codec_options={"cpu-used": "8", "deadline": "realtime"}),
    "VP9": Video(frames=40, gop=12, codec="libvpx-vp9", muxer="webm", codec_options={"cpu-used": "8", "deadline": "realtime"}),
    "variable rate": Video(frames=8, gop=3, muxer="matroska", times_ms=(0, 40, 200, 233, 900, 901, 1500, 1540)),
}
