"""The arithmetic of `plan`: figures in, figures out, each with what it rests on. No I/O.

Units are in the names: fps is frames per second, usd US dollars, a month 730 hours, MB and GB powers of ten.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

HOURS_PER_MONTH = 730
"""365 days / 12."""
REPLICATION_FACTOR = 3
"""Copies of each partition, as `tools/run topics` creates them."""
PARTITIONS_PER_WORKER = 2
"""One that leaves hands its partitions to several, so that a rebalance is even."""
CAMERAS_PER_PARTITION = 9_500
"""Planned on average. A partition takes 10,000 (`stream.intake.IntakeConfig`); keys are spread by their hash, and five standard
deviations (5 x 100) above the average are as good as never reached."""


class Basis(StrEnum):
    """Where a figure comes from."""

    MEASURED = "measured"
    PUBLISHED = "published"
    GIVEN = "given"
    """On the command line."""
    ASSUMED = "assumed"

    @property
    def letter(self) -> str:
        """As it stands behind a number in a table."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and all that it rests on."""

    value: float
    bases: frozenset[Basis]

    @property
    def letters(self) -> str:
        """What it rests on, in the order of `Basis`."""
        return "".join(basis.letter for basis in Basis if basis in self.bases)


def plain(value: float, basis: Basis) -> Figure:
    """Give a number that was not computed from others."""
    return Figure(value, frozenset({basis}))


def computed(value: float, *sources: Figure) -> Figure:
    """Give a number that was computed from `sources`: it rests on all that they rest on."""
    return Figure(value, frozenset().union(*(source.bases for source in sources)))


@dataclass(frozen=True, slots=True)
class Demand:
    """What the fleet asks for."""

    cameras: Figure
    """Count."""
    fps: Figure
    """Sampled frames per second and camera."""
    asked_share: Figure
    """Share of the sampled frames that reach the model, over 0 and up to 1."""
    utilisation: Figure
    """Share of its throughput that a worker is planned for, over 0 and up to 1."""
    publish_fps: Figure
    """Frames per second that a camera puts on Kafka."""
    frame_bytes: Figure
    """Of one published frame."""
    retention_hours: Figure
    """For which Kafka keeps frames."""

    @property
    def camera_asked_fps(self) -> Figure:
        """Asked frames per second of one camera: fps x asked share."""
        return computed(self.fps.value * self.asked_share.value, self.fps, self.asked_share)

    @property
    def asked_fps(self) -> Figure:
        """Asked frames per second of all: cameras x fps x asked share."""
        each = self.camera_asked_fps
        return computed(self.cameras.value * each.value, self.cameras, each)


@dataclass(frozen=True, slots=True)
class Speed:
    """What one worker does at the planned number of questions."""

    throughput_fps: Figure
    """Asked frames per second at saturation."""
    extra_question_percent: Figure | None
    """What one more question costs, in percent of a frame; None if nobody measured it."""


def at_questions(measured: Speed, measured_questions: int, questions: Figure) -> Speed | None:
    """Scale from the measured number of questions to another.

    A frame of q questions takes s = 1 + (q - measured q) x extra question % / 100 times as long as the measured one, so the
    throughput is divided by s, and so is the share of a frame that one more question is. That the time is linear in the number
    of questions is an assumption, and the result carries it.

    Returns:
        None where the percentage is unknown, or so high that no time would be left.
    """
    if questions.value == measured_questions:
        return measured
    if measured.extra_question_percent is None:
        return None
    extra = measured.extra_question_percent
    longer = 1 + (questions.value - measured_questions) * extra.value / 100
    if longer <= 0:
        return None
    linear = plain(1, Basis.ASSUMED)
    return Speed(
        computed(measured.throughput_fps.value / longer, measured.throughput_fps, extra, questions, linear),
        computed(extra.value / longer, extra, questions, linear),
    )


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the demand takes of one kind of instance."""

    workers: Figure
    instances: Figure
    partitions: Figure
    headroom_percent: Figure
    """Of the bought instances over the load, at saturation."""
    cameras_per_worker: Figure
    """Whole cameras that a worker answers at the planned utilisation."""
    keeps_up: bool
    """Whether a worker answers at least one camera at the planned utilisation; a camera is never divided between workers."""


def capacity(demand: Demand, speed: Speed, workers_per_instance: Figure) -> Capacity:
    """Count what the demand takes.

    - cameras per worker = floor(throughput x utilisation / asked fps of a camera)
    - workers = the larger of ceil(asked fps / (throughput x utilisation)) and ceil(cameras / cameras per worker): a camera is
      never divided between workers, which counts where a worker has few
    - instances = ceil(workers / workers per instance)
    - headroom % = (instances x workers per instance x throughput / asked fps - 1) x 100
    - partitions: see `partitions`
    """
    asked, each, throughput = demand.asked_fps, demand.camera_asked_fps, speed.throughput_fps
    planned = computed(throughput.value * demand.utilisation.value, throughput, demand.utilisation)
    cameras = _floor(planned.value / each.value)
    whole = _ceil(demand.cameras.value / cameras) if cameras else 0
    workers = computed(max(_ceil(asked.value / planned.value), whole), asked, planned)
    instances = computed(_ceil(workers.value / workers_per_instance.value), workers, workers_per_instance)
    bought_fps = instances.value * workers_per_instance.value * throughput.value
    return Capacity(
        workers=workers,
        instances=instances,
        partitions=computed(partitions(int(workers.value), int(demand.cameras.value)), workers, demand.cameras),
        headroom_percent=computed((bought_fps / asked.value - 1) * 100, instances, throughput, asked),
        cameras_per_worker=computed(cameras, planned, each),
        keeps_up=cameras >= 1,
    )


def partitions(workers: int, cameras: int) -> int:
    """Count the partitions of the frames topic.

    The least multiple of the workers, so that each gets as many, that is at least two a worker and gives no partition more than
    9,500 cameras on average: workers x max(2, ceil(ceil(cameras / 9,500) / workers)).
    """
    wanted = math.ceil(cameras / CAMERAS_PER_PARTITION)
    return workers * max(PARTITIONS_PER_WORKER, math.ceil(wanted / workers))


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the instances alone: no Kafka, no storage, no traffic."""

    usd_per_month: Figure
    usd_per_camera_month: Figure
    usd_per_extra_question: Figure | None
    """Of one more question for every camera, per camera and month; None if nobody measured what it takes."""


def cost(demand: Demand, speed: Speed, instances: Figure, usd_per_hour: Figure) -> Cost:
    """Price the instances.

    - USD per month = instances x USD per hour x 730 h
    - USD per camera-month = USD per month / cameras
    - USD of one more question per camera-month = USD per camera-month x extra question % / 100
    """
    month = computed(instances.value * usd_per_hour.value * HOURS_PER_MONTH, instances, usd_per_hour)
    camera = computed(month.value / demand.cameras.value, month, demand.cameras)
    extra = speed.extra_question_percent
    question = None if extra is None else computed(camera.value * extra.value / 100, camera, extra)
    return Cost(month, camera, question)


@dataclass(frozen=True, slots=True)
class Kafka:
    """What the frames topic takes."""

    in_mb_per_s: Figure
    """From the cameras."""
    out_mb_per_s: Figure
    """To one group of workers; what they read again after a crash comes on top."""
    replication_mb_per_s: Figure
    """From broker to broker."""
    retention_gb: Figure
    """On the brokers' disks, all copies."""


def kafka(demand: Demand) -> Kafka:
    """Size the frames topic.

    - in = out = cameras x published fps x frame bytes / 10^6 MB/s: each frame is read once
    - replication = in x (3 - 1) MB/s
    - retention = in x 3600 s/h x hours x 3 copies / 1000 GB
    """
    coming = demand.cameras.value * demand.publish_fps.value * demand.frame_bytes.value / 1e6
    rate = computed(coming, demand.cameras, demand.publish_fps, demand.frame_bytes)
    copies = plain(REPLICATION_FACTOR, Basis.ASSUMED)
    kept_gb = coming * 3600 * demand.retention_hours.value * copies.value / 1000
    return Kafka(
        in_mb_per_s=rate,
        out_mb_per_s=rate,
        replication_mb_per_s=computed(coming * (copies.value - 1), rate, copies),
        retention_gb=computed(kept_gb, rate, demand.retention_hours, copies),
    )


def instance_fps(speed: Speed, workers_per_instance: Figure) -> Figure:
    """Asked frames per second of an instance at saturation: throughput x workers; that they do not slow each other is assumed."""
    alone = () if workers_per_instance.value == 1 else (plain(1, Basis.ASSUMED),)
    value = speed.throughput_fps.value * workers_per_instance.value
    return computed(value, speed.throughput_fps, workers_per_instance, *alone)


def usd_per_million_frames(usd_per_hour: Figure, fps: Figure) -> Figure:
    """Price of a saturated instance's frames: USD per hour / (asked fps x 3600) x 10^6."""
    return computed(usd_per_hour.value / (fps.value * 3600) * 1e6, usd_per_hour, fps)


def break_even_fps(usd_per_hour: Figure, reference_usd_per_hour: Figure, reference_fps: Figure) -> Figure:
    """Asked frames per second at which an instance's frames cost as much as the reference's.

    reference fps x USD per hour / the reference's USD per hour, both instances saturated.
    """
    value = reference_fps.value * usd_per_hour.value / reference_usd_per_hour.value
    return computed(value, usd_per_hour, reference_usd_per_hour, reference_fps)


def implied_ratio(usd_per_hour: Figure, baseline_usd_per_hour: Figure, saving: Figure) -> Figure:
    """Times a baseline's throughput that an instance must have to save a share of the baseline's bill.

    Frames cost USD per hour / throughput, so 1 - saving = (USD per hour / baseline USD per hour) / ratio, and
    ratio = (USD per hour / baseline USD per hour) / (1 - saving).
    """
    value = usd_per_hour.value / baseline_usd_per_hour.value / (1 - saving.value)
    return computed(value, usd_per_hour, baseline_usd_per_hour, saving)


def _ceil(value: float) -> int:
    """Round up, but not for what is only a float's last digits: 2000 x 0.7 / (10 x 0.7) is 200, not 201."""
    return math.ceil(value * (1 - 1e-12))


def _floor(value: float) -> int:
    """Round down, likewise."""
    return math.floor(value * (1 + 1e-12))
