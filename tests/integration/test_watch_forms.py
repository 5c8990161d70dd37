"""One recording as segments, as stills and as access units: whichever way a camera had sent it, the same is told of it."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from stream.debounce_rules import DebounceRule, DebounceRules
from stream.recording import RecordingSource
from stream.types import BehaviorEvent, Event
from stream.worker import Ports, Worker, WorkerConfig
from tests.integration.moving_pictures import T0_S, Video, write
from tests.integration.worker_world import CONFIG, BrightnessDevice, RememberingSink, Trial, here
from tools.playback import TOPIC, records
from tools.recordings import AsAccessUnits, AsSegments, AsStills, Form, Recording, merged
from tools.watch import watch

SIDE = 64
EVERY_PICTURE = replace(
    CONFIG,
    debounce=DebounceRules.of([DebounceRule("glowing", 0.5, 0.45, start_after_s=0.0, stop_after_s=0.0, cooldown_s=0.0)]),
)
"""Every change of brightness is an event, and its score says which picture was asked."""
STEADY = replace(
    CONFIG,
    debounce=DebounceRules.of([DebounceRule("glowing", 0.5, 0.45, start_after_s=1.0, stop_after_s=1.0, cooldown_s=0.0)]),
)
"""Steps between pictures add up to the rule's seconds: a microsecond too little is one picture more."""


@dataclass(frozen=True, slots=True)
class Film:
    """How a film of plain pictures is made."""

    fps: Fraction = Fraction(15)
    gop: int = 40
    codec: str = "libx264"
    muxer: str = "mp4"
    options: dict[str, str] = field(default_factory=lambda: {"bf": "3", "sc_threshold": "0"})
    times_ms: Sequence[int] = ()
    """Of a variable frame rate."""


FILMS = {
    "25 pictures a second": Film(Fraction(25), 50),
    "15 pictures a second, keyframes on no whole microsecond": Film(),
    "15 pictures a second, transport stream": Film(gop=31, muxer="mpegts"),
    "29.97 pictures a second": Film(Fraction(30000, 1001), 61),
    "H.265": Film(
        codec="libx265",
        options={"preset": "ultrafast", "x265-params": "bframes=3:open-gop=0:scenecut=0:log-level=none:pools=none"},
    ),
    "variable rate": Film(gop=20, muxer="matroska", times_ms=[67 * number + 15 * (number % 4) for number in range(600)]),
}
"""Groups are closed, and longer than a sampling interval: of shorter ones the worker takes a segment's keyframes alone."""


def shot(path: Path, film: Film, seed: int) -> Path:
    """Make 40 s of pictures that are now bright and now dark, none as bright as the one before."""
    chance = random.Random(seed)
    with av.open(str(path), "w", format=film.muxer) as container:
        stream = container.add_stream(film.codec, rate=film.fps)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = SIDE, SIDE, "yuv420p", film.gop
        stream.codec_context.options = {"threads": "1", "qp": "12", **film.options}
        if film.times_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        left, bright = 0, False
        for number in range(len(film.times_ms) or int(40 * film.fps)):
            if left == 0:
                left, bright = chance.randint(3, 60), not bright
            left -= 1
            level = chance.randrange(160, 250) if bright else chance.randrange(10, 90)
            picture = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), level, np.uint8), format="rgb24")
            if film.times_ms:
                picture.pts, picture.time_base = film.times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def events(file: Path, form: Form, config: WorkerConfig) -> list[Event]:
    """What the worker tells of a file; where its evidence lies depends on the form."""
    publications = merged([Recording("den", str(file), T0_S)], form, pytest.fail)
    sink = RememberingSink()
    source = RecordingSource(records(publications, ["den"]), TOPIC, 1)
    worker = Worker(Ports(source, sink, BrightnessDevice(), here, Trial()), config)
    asyncio.run(worker.run())
    assert not [letter for tick in sink.ticks for letter in tick.dead_letters]
    return [
        replace(one, evidence=replace(one.evidence, offset=0, index=0)) if isinstance(one, BehaviorEvent) else one
        for one in sink.events
    ]


@pytest.mark.parametrize("config", [pytest.param(EVERY_PICTURE, id="every picture"), pytest.param(STEADY, id="steady")])
@pytest.mark.parametrize("kind", FILMS)
def test_all_forms_of_a_recording_make_the_same_events(tmp_path: Path, kind: str, config: WorkerConfig) -> None:
    """Same ids, kinds, times, scores and evidence times, in the same order: the same pictures were asked."""
    file = shot(tmp_path / "film", FILMS[kind], seed=len(kind))
    of_segments, of_stills, of_units = (events(file, form, config) for form in (AsSegments(), AsStills(), AsAccessUnits()))
    assert len(of_segments) >= 6
    assert of_stills == of_segments
    assert of_units == of_segments


QUESTIONS = """
[[question]]
behavior = "dog_present"
ask = "is there a dog?"
start_above = 0.000001
stop_below = 0.0
min_share = 0.0
start_after_s = 1.0
stop_after_s = 1.0
cooldown_s = 1.0
"""
"""Nothing in the pictures is a dog, but the model is never quite sure."""


def test_the_command_tells_the_same_whatever_the_form(tmp_path: Path) -> None:
    """The shipped model over a small video, with `--as` each of the three: same events, same scores."""
    app = typer.Typer()
    app.command()(watch)
    file = write(tmp_path / "den.mp4", Video(frames=60, gop=25, fps=Fraction(15)))
    questions = tmp_path / "questions.toml"
    questions.write_text(QUESTIONS)
    told: dict[str, list[dict[str, Any]]] = {}
    for form in ("segments", "stills", "access-units"):
        options = ["--questions", str(questions), "--start-at", "2026-01-01T00:00:00Z", "--as", form, "--json", "-"]
        result = CliRunner().invoke(app, [str(file), *options])
        assert result.exit_code == 0, result.output
        told[form] = [json.loads(line) for line in result.stdout.splitlines()]
        for alert in told[form]:
            alert["data"].pop("evidence", None)
    kinds = [alert["type"].removeprefix("pawsight.") for alert in told["segments"]]
    assert kinds == ["camera.seen", "behavior.started", "behavior.ended", "camera.lost"]
    assert told["stills"] == told["segments"] == told["access-units"]
