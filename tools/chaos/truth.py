"""The scripted cameras: what each of their pictures shows, when it was captured, and what may go wrong on its way.

Pure functions of (seed, camera, picture number): whoever knows the script knows the truth, at any time and in any process.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any, Self

from tools.chaos.debounced import Rule, Rules

MICROSECONDS_PER_S = 1_000_000
SAMPLE_FPS = 20.0
"""Twice what a camera sends: every picture in time is asked."""


class Code(IntEnum):
    """What a picture makes the model say about a behaviour."""

    NO = 0
    YES = 1
    UNKNOWN = 2
    BAND = 3
    """Between the thresholds."""


ANSWERS: Mapping[Code, tuple[float, float]] = {
    Code.NO: (0.1, 1.0),
    Code.YES: (0.9, 1.0),
    Code.UNKNOWN: (0.9, 0.25),
    Code.BAND: (0.5, 0.9),
}
"""P(yes) and share. An unknown answer says yes, so that taking it for known is found out."""

FLIP = Rule("flip", 0.65, 0.35, start_after_s=0.0, stop_after_s=0.0, cooldown_s=0.0)
"""Its truth alternates: every picture is an alert, so that a single one that is skipped or asked twice shows."""

RULES = (
    FLIP,
    Rule("barking", 0.65, 0.35, start_after_s=0.5, stop_after_s=0.8, cooldown_s=2.0),
    Rule("digging", 0.8, 0.2, start_after_s=1.0, stop_after_s=0.4, cooldown_s=0.7),
    Rule("pacing", 0.65, 0.35, start_after_s=0.3, stop_after_s=0.6, cooldown_s=1.0, max_duration_s=4.0),
)
"""In the order of the answers' columns, and of the events of one picture."""

COLUMNS: Mapping[str, int] = {"flip": 0, "barking": 1, "digging": 2, "pacing": 3, "circling": 2}
"""Which of the codes that a picture carries answers a behaviour; one that a deploy adds reads what another one reads."""

_BLOCK = 512
"""Pictures whose truth is drawn at one time."""
_RUNS = ((0.35, 1, 3), (0.4, 4, 15), (0.2, 16, 60), (0.05, 31, 45))
"""Weight, shortest and longest in pictures; those of the last kind are unknown throughout, longer than max_gap_s."""
_NOISE = 0.06
"""Part of the pictures that are unknown, and part of those that lie in the band."""


def fingerprint(revision: int) -> str:
    """Name a revision of the question sets."""
    return f"oracle-{revision}"


class Form(StrEnum):
    """How a camera sends its pictures."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    SEGMENTS = "video/mp4"
    H264 = "video/h264"
    H265 = "video/h265"


UNITS = frozenset({Form.H264, Form.H265})
"""One access unit a record."""

_FORMS = (Form.PNG, Form.H264, Form.SEGMENTS, Form.JPEG, Form.H265, Form.SEGMENTS)
_MORE_FORMS = (Form.H264, Form.JPEG, Form.H264, Form.PNG, Form.SEGMENTS, Form.H264)


@dataclass(frozen=True, slots=True)
class Habits:
    """What goes wrong with a camera by itself, every so many pictures or at one of them; 0: never."""

    pause_every: int = 0
    """Its capture time jumps ahead by `pause_us`, longer than lost_after_s."""
    pause_us: int = 0
    glitch_every: int = 0
    """One or two pictures carry a time far off."""
    step_at: int = 0
    """From this picture on its clock is a day late."""
    lose_every: int = 0
    """An access unit that is no keyframe is never sent."""
    repeat_every: int = 0
    """A record is sent twice."""


_DAY_US = 86_400 * MICROSECONDS_PER_S
_GLITCHES_US = (365 * 40 * _DAY_US, -365 * 30 * _DAY_US, 4_321_050_000)
_STEP_US = -_DAY_US - 50_000
"""No multiple of the step between pictures: no two pictures of a camera ever share their capture time."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of the script."""

    seed: int
    number: int
    partition: int
    form: Form
    size: tuple[int, int]
    """Width and height of its pictures."""
    base_us: int
    """Capture time of picture 0 without habits, microseconds since the epoch."""
    fps: int
    gop: int
    """Pictures from keyframe to keyframe, of access units."""
    b_frames: int
    """Between two others, of segments and access units."""
    habits: Habits

    @property
    def name(self) -> str:
        """Camera id."""
        return f"oracle-{self.number:02d}"

    @property
    def is_steady(self) -> bool:
        """Whether its clock never goes back."""
        return not (self.habits.glitch_every or self.habits.step_at)

    def captured_at_s(self, n: int) -> float:
        """Capture time of a picture."""
        return (self.base_us + n * MICROSECONDS_PER_S // self.fps + self.shift_us(n)) / MICROSECONDS_PER_S

    def shift_us(self, n: int) -> int:
        """How far a picture's capture time lies from its place in the row; a segment holds pictures of one shift only."""
        habits, shift_us = self.habits, 0
        if habits.pause_every:
            shift_us += habits.pause_us * (n // habits.pause_every)
        if habits.step_at and n >= habits.step_at:
            shift_us += _STEP_US
        if habits.glitch_every:
            which, place = divmod(n, habits.glitch_every)
            if place >= habits.glitch_every - 1 - which % 2:
                shift_us += _GLITCHES_US[which % len(_GLITCHES_US)]
        return shift_us

    def codes(self, n: int) -> tuple[Code, ...]:
        """What a picture shows, by the columns of `RULES`."""
        flip = Code.YES if (n + self.number) % 2 else Code.NO
        block, place = divmod(n, _BLOCK)
        drawn = (_drawn(self.seed, self.number, rule.behavior, block)[place] for rule in RULES[1:])
        return (flip, *(Code(code) for code in drawn))

    def happens(self, every: int, what: str, n: int) -> bool:
        """Whether something that happens every so many pictures happens at this one, at places that nobody can foresee."""
        return bool(every) and random.Random(f"{self.seed}/{self.number}/{what}/{n}").randrange(every) == 0


@lru_cache(maxsize=1024)
def _drawn(seed: int, camera: int, behavior: str, block: int) -> bytes:
    """Draw the codes of a block of pictures: runs of one level, with noise."""
    draw = random.Random(f"{seed}/{camera}/{behavior}/{block}")
    codes: list[Code] = []
    level = draw.choice((Code.NO, Code.YES))
    while len(codes) < _BLOCK:
        kind = draw.choices(_RUNS, [weight for weight, _, _ in _RUNS])[0]
        run = Code.UNKNOWN if kind is _RUNS[-1] else level
        codes += [run] * draw.randint(kind[1], kind[2])
        level = Code.NO if level is Code.YES else Code.YES
    for place in range(_BLOCK):
        noise = draw.random()
        if noise < 2 * _NOISE:
            codes[place] = Code.UNKNOWN if noise < _NOISE else Code.BAND
    return bytes(codes[:_BLOCK])


@dataclass(frozen=True, slots=True)
class Script:
    """All that a run's cameras do; the same in every process that is given the same values."""

    seed: int
    base_s: int
    """Capture time of the first pictures, whole seconds since the epoch."""
    cameras: int = 12
    partitions: int = 6
    fps: int = 10
    lost_after_s: float = 30.0
    leaving: int = 0
    """So many of the cameras, the last ones, stop for good."""
    leave_at: int = 600
    """Before this picture."""

    def rules(self) -> Rules:
        """When answers become alerts."""
        return Rules(RULES, lost_after_s=self.lost_after_s, max_gap_s=3.0, max_jump_s=3600.0, questions=fingerprint(1))

    def plan(self) -> Sequence[Camera]:
        """Every camera: all forms of record, spread over the partitions."""
        return [self._camera(number) for number in range(self.cameras)]

    def ends_at(self, camera: Camera) -> int | None:
        """Before which picture a camera stops for good; None: it never does."""
        return self.leave_at if camera.number >= self.cameras - self.leaving else None

    def as_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Read what `as_json` gave."""
        return cls(**told)

    def _camera(self, number: int) -> Camera:
        forms = (*_FORMS, *_MORE_FORMS)
        form = forms[number % len(forms)]
        phase_us = number * MICROSECONDS_PER_S // (self.fps * self.cameras)
        return Camera(
            seed=self.seed,
            number=number,
            partition=number % self.partitions,
            form=form,
            size=((64, 64), (128, 96), (96, 64))[number % 3],
            base_us=self.base_s * MICROSECONDS_PER_S + phase_us,
            fps=self.fps,
            gop=(50, 60, 100)[number % 3],
            b_frames=0 if number == len(_FORMS) else 3,
            habits=self._habits(number, form),
        )

    def _habits(self, number: int, form: Form) -> Habits:
        """Give one camera of three pauses, and one wrong times unless it sends access units."""
        kind = number % 3
        return Habits(
            pause_every=(530 + 10 * number) if kind == 1 else 0,
            pause_us=round((self.lost_after_s + 5) * MICROSECONDS_PER_S),
            glitch_every=(400 + 7 * number) if kind == 0 and form not in UNITS else 0,
            step_at=(700 + number) if form is Form.JPEG else 0,
            lose_every=700 if form in UNITS else 0,
            repeat_every=300,
        )
