"""Gets ready for Kafka while the engine still has the device: pictures, their answers, and what workers are told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.questions import load_questions
from tools.stress.figures import START, Measured, saturation
from tools.stress.kafka.figures import Through
from tools.stress.kafka.options import Place, Wanted
from tools.stress.kafka.pictures import Album, album
from tools.stress.kafka.rig import Pace
from tools.stress.kafka.run import Fleet, Load, run
from tools.stress.measure import tolerance

if TYPE_CHECKING:
    from stream.clock import ClockRules
    from tools.stress.measure import Run


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is needed, without the engine."""

    through: Through
    """Filled by `run`."""
    _album: Album
    _rules: "ClockRules"
    _pace: Pace
    _fleet: Fleet

    def run(self, measured: Measured, report: Callable[[str, int, int], None]) -> None:
        """Measure; the search begins well below what the engine alone did.

        Raises:
            PipelineError, StreamError, CommandError: as `tools.stress.kafka.run.run`.
        """
        saturated = saturation(measured.grid)
        assert saturated is not None
        asked_fps = min(self._rules.sample_fps, self.through.fps)
        start = max(1, int(START * saturated.throughput_fps * self.through.workers / asked_fps))
        run(Load(self._album, self._rules, self._pace, start), self._fleet, self.through, report)


def prepare(run: "Run", wanted: Wanted, place: Place, report: Callable[[str, int, int], None]) -> Prepared:
    """Render and encode what the cameras will send, and ask the engine about it.

    Raises:
        DeviceLost: the device failed.
    """
    engine, asked = run.engine, load_questions(place.questions)
    rules, known = asked.clock, (asked.questions, tolerance(engine.artifact.manifest))
    shape = wanted.shape(rules.sample_fps)
    options = ["--artifact", str(engine.artifact.folder.absolute()), "--device", str(engine.device)]
    shown = album(engine, shape, engine.image_size, known, lambda done, total: report("pictures for Kafka", done, total))
    told_apart, pairs = shown.told_apart
    return Prepared(
        Through(
            fps=float(shape.rate),
            form=wanted.form,
            size=f"{wanted.size[0]}x{wanted.size[1]}",
            workers=wanted.workers,
            partitions=wanted.partitions,
            most=wanted.cameras,
            pairs=pairs,
            told_apart=told_apart,
        ),
        shown,
        rules,
        Pace.of(run.seconds, run.largest_s, float(shape.ready_after_s), max(float(shape.record_s), 1 / rules.sample_fps)),
        Fleet([*options, "--questions", str(place.questions.absolute())], place.settings_file, place.bootstrap_servers),
    )
