"""Video segments: every picture with its exact time, keyframes only where they suffice, and nothing of a broken segment."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.preprocess import fit
from stream.clock import event_time
from stream.decode import Decoded, DecodeLimits, DecodeRequest, decode
from stream.errors import UnusableRecord
from tests.integration.moving_pictures import MUXERS, T0_S, Video, encoded, from_packet, packet, play, write

SIZE = 32
REQUEST = DecodeRequest(size=SIZE, interval_s=0.01, limits=DecodeLimits())


def everything(payload: bytes, content_type: str, *, request: DecodeRequest = REQUEST, at_s: float = T0_S) -> Decoded:
    """Decode and want every picture."""
    return decode(packet(payload, content_type, at_s), request, lambda _: True)


def refusal(payload: bytes, content_type: str, request: DecodeRequest = REQUEST) -> UnusableRecord:
    """The error that a payload causes."""
    with pytest.raises(UnusableRecord) as caught:
        everything(payload, content_type, request=request)
    assert caught.value.stage == "decode"
    return caught.value


@pytest.mark.parametrize("content_type", MUXERS)
@pytest.mark.parametrize(
    "video",
    [
        Video(),
        Video(codec_options={"bf": "0"}),
        Video(codec_options={"bf": "3", "b-pyramid": "strict"}, gop=30),
        Video(width=130, height=98, fps=Fraction(30000, 1001)),
        Video(frames=8, gop=4, times_ms=(0, 40, 200, 233, 900, 901, 1500, 1540)),
        Video(codec="libx265", codec_options={"preset": "ultrafast", "x265-params": "log-level=none:pools=none:open-gop=0"}),
        Video(codec="libx264", codec_options={"x264-params": "interlaced=1"}),
    ],
    ids=["usual", "no B-frames", "B-pyramid", "odd size, 29.97", "variable rate", "H.265", "interlaced"],
)
def test_every_picture_comes_in_order_with_its_time_and_pixels(tmp_path: Path, content_type: str, video: Video) -> None:
    """A segment gives the pictures that a player shows, each at the record's time plus its own in whole microseconds."""
    file = write(
        tmp_path / "video", Video(**{name: getattr(video, name) for name in video.__slots__} | {"muxer": MUXERS[content_type]})
    )
    asked: list[float] = []
    decoded = decode(packet(file.read_bytes(), content_type), REQUEST, lambda at_s: not asked.append(at_s))
    seen = play(file)
    assert asked == [picture.captured_at_s for picture in decoded.pictures]
    assert asked == [event_time(float(Fraction(T0_S) + picture.after_s)) for picture in seen]
    assert [picture.index for picture in decoded.pictures] == list(range(video.frames))
    assert (decoded.decoded, decoded.skipped) == (video.frames, 0)
    for picture, shown in zip(decoded.pictures, seen, strict=True):
        assert np.array_equal(picture.pixels, fit(shown.rgb, SIZE))


def test_only_admitted_pictures_are_given_but_all_are_offered() -> None:
    """What the camera's clock does not want costs no conversion and no place."""
    wanted = {T0_S + 0.1, T0_S + 0.5}
    decoded = decode(packet(encoded(), "video/mp4"), REQUEST, lambda at_s: at_s in wanted)
    assert [picture.captured_at_s for picture in decoded.pictures] == sorted(wanted)
    assert [picture.index for picture in decoded.pictures] == [3, 15]
    assert decoded.decoded == 30


def test_an_edit_list_hides_no_picture() -> None:
    """What an editor marked as not to be played was still captured: timestamps before zero count like the others."""
    plain = encoded(Video())
    with av.open(io.BytesIO(plain)) as container:
        second = int(1 / container.streams.video[0].time_base)
    trimmed = from_packet(plain, "mp4", 0, earlier=second // 3)
    with av.open(io.BytesIO(trimmed)) as container:
        assert sum(1 for _ in container.decode(video=0)) < 30
    decoded = everything(trimmed, "video/mp4")
    assert [picture.captured_at_s for picture in decoded.pictures] == [event_time(T0_S + number / 30) for number in range(30)]


@pytest.mark.parametrize("content_type", MUXERS)
def test_keyframes_alone_are_decoded_if_they_come_often_enough(content_type: str) -> None:
    """With a keyframe every half second and one sample a half second, nothing else is touched."""
    payload = encoded(Video(frames=60, gop=15, muxer=MUXERS[content_type]))
    request = DecodeRequest(size=SIZE, interval_s=0.5, limits=DecodeLimits())
    full = {picture.captured_at_s: picture for picture in everything(payload, content_type).pictures}
    decoded = everything(payload, content_type, request=request)
    assert [picture.captured_at_s for picture in decoded.pictures] == [T0_S, T0_S + 0.5, T0_S + 1.0, T0_S + 1.5]
    assert [picture.index for picture in decoded.pictures] == [0, 15, 30, 45]
    assert (decoded.decoded, decoded.skipped) == (4, 56)
    for picture in decoded.pictures:
        assert np.array_equal(picture.pixels, full[picture.captured_at_s].pixels)


@pytest.mark.parametrize(
    ("interval_s", "decoded"), [(0.5, 30), (0.99, 30), (1.0, 1), (2.0, 1)], ids=["more often", "a bit more", "as often", "less"]
)
def test_the_end_of_a_segment_counts_as_its_next_keyframe(interval_s: float, decoded: int) -> None:
    """A segment of one second with one keyframe has keyframes every second."""
    payload = encoded(Video(gop=30))
    request = DecodeRequest(size=SIZE, interval_s=interval_s, limits=DecodeLimits())
    assert everything(payload, "video/mp4", request=request).decoded == decoded


def test_a_segment_without_a_keyframe_at_its_beginning_is_refused() -> None:
    """A segment cut anywhere cannot be decoded."""
    payload = from_packet(encoded(Video(muxer="matroska")), "matroska", 3)
    assert refusal(payload, "video/x-matroska").reason == "no_keyframe"


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("muxer", ["mp4", "matroska"])
def test_leading_pictures_of_an_open_group_are_left_out(codec: str, muxer: str) -> None:
    """Pictures shown before the first keyframe need the segment before: skipped, and the keyframe has the record's time."""
    options = (
        {"preset": "ultrafast", "x265-params": "log-level=none:pools=none"}
        if codec == "libx265"
        else {"x264-params": "open-gop=1:bframes=2:b-adapt=0"}
    )
    payload = encoded(Video(frames=60, gop=30, codec=codec, codec_options=options, muxer=muxer))
    with av.open(io.BytesIO(payload)) as container:
        second = [part.is_keyframe for part in container.demux(video=0)].index(True, 1)
    decoded = everything(from_packet(payload, muxer, second), {v: k for k, v in MUXERS.items()}[muxer])
    assert decoded.skipped > 0
    assert decoded.skipped + decoded.decoded == 60 - second
    assert decoded.pictures[0].captured_at_s == T0_S


@pytest.mark.parametrize(
    ("content_type", "options"),
    [
        ("video/mp4", {}),
        ("video/mp4", {"movflags": "faststart"}),
        ("video/mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("video/mp2t", {}),
        ("video/x-matroska", {}),
    ],
)
def test_a_truncated_segment_is_refused_as_a_whole(content_type: str, options: dict[str, str]) -> None:
    """A segment that ends in the middle gives nothing, wherever it was cut."""
    payload = encoded(Video(muxer=MUXERS[content_type], muxer_options=options))
    for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
        assert refusal(payload[: int(len(payload) * part)], content_type).reason in {"truncated", "unreadable"}
    refusal(payload[:-1], content_type)


def test_a_transport_stream_cut_between_its_packets_is_refused() -> None:
    """Inside a picture the decoder notices what the container cannot."""
    payload = encoded(Video(width=320, height=240, muxer="mpegts", codec_options={"crf": "4"}))
    assert refusal(payload[: len(payload) // 188 // 2 * 188], "video/mp2t").reason == "corrupt"


@pytest.mark.parametrize("content_type", MUXERS)
def test_damage_in_the_middle_is_refused_as_a_whole(content_type: str) -> None:
    """Invalid data behind good pictures spoils the record: half a segment is never used."""
    payload = bytearray(encoded(Video(frames=60, width=320, height=240, muxer=MUXERS[content_type])))
    middle = len(payload) // 2
    payload[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    offered: list[float] = []
    with pytest.raises(UnusableRecord):
        decode(packet(bytes(payload), content_type), REQUEST, lambda at_s: not offered.append(at_s))


@pytest.mark.parametrize("content_type", MUXERS)
@pytest.mark.parametrize("payload", [b"hello", bytes(2000), b"\x47" * 400, b"#EXTM3U\nhttp://127.0.0.1:1/x.ts\n"])
def test_bytes_that_are_no_video_are_refused(content_type: str, payload: bytes) -> None:
    """Whatever stands in a record, the decoder answers with an unusable record, and follows no playlist."""
    refusal(payload, content_type)


def test_a_segment_of_another_container_is_refused() -> None:
    """The content type decides, not what the bytes look like."""
    assert refusal(encoded(), "video/x-matroska").reason in {"unreadable", "truncated"}


def test_sound_alone_is_refused() -> None:
    """A segment without video has no pictures."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert refusal(out.getvalue(), "video/x-matroska").reason == "no_video"


@pytest.mark.parametrize("content_type", MUXERS)
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodeLimits(max_pixels=160 * 120 - 1), "too_many_pixels"),
        (DecodeLimits(max_side=159), "too_many_pixels"),
        (DecodeLimits(max_frames_per_segment=29), "too_many_frames"),
        (DecodeLimits(max_segment_s=0.9), "too_long"),
    ],
)
def test_limits_hold_for_every_container(content_type: str, limits: DecodeLimits, reason: str) -> None:
    """Pixels, pictures and span over the limit are refused."""
    payload = encoded(Video(muxer=MUXERS[content_type]))
    assert refusal(payload, content_type, DecodeRequest(SIZE, 0.01, limits)).reason == reason
    just_enough = DecodeLimits(max_pixels=160 * 120, max_side=160, max_frames_per_segment=30, max_segment_s=1.0)
    assert everything(payload, content_type, request=DecodeRequest(SIZE, 0.01, just_enough)).decoded == 30


@pytest.mark.parametrize("turned", [90, -90, 180])
def test_a_rotation_in_the_container_is_applied(tmp_path: Path, turned: int) -> None:
    """A phone's upright video reaches the model upright."""
    file = write(tmp_path / "video", Video(frames=2, turned=turned))
    decoded = everything(file.read_bytes(), "video/mp4")
    expected = [fit(np.rot90(shown.rgb, turned // 90), SIZE) for shown in play(file)]
    assert all(np.array_equal(picture.pixels, right) for picture, right in zip(decoded.pictures, expected, strict=True))


def test_times_are_exact_over_the_whole_segment() -> None:
    """No rounding adds up: picture 599 of 29.97 fps lies where its timestamp says, to the microsecond."""
    payload = encoded(Video(frames=600, gop=300, width=32, height=32, fps=Fraction(30000, 1001)))
    decoded = everything(payload, "video/mp4", at_s=T0_S + 0.123457)
    assert decoded.pictures[-1].captured_at_s == event_time(T0_S + 0.123457 + 599 * 1001 / 30000)


def test_no_damage_lets_another_error_escape() -> None:
    """A segment with flipped bits is decoded or refused, never anything else."""
    rng = np.random.default_rng(5)
    for content_type, muxer in MUXERS.items():
        payload = encoded(Video(frames=6, gop=3, width=64, height=64, muxer=muxer))
        for _ in range(60):
            damaged = bytearray(payload)
            for place in rng.integers(0, len(payload), 5):
                damaged[place] = rng.integers(0, 256)
            try:
                everything(bytes(damaged), content_type)
            except UnusableRecord:
                continue
