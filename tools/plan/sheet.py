"""The plan as a whole: every row of the price table, with its profile or without, and what there is to say about it. No I/O."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.errors import CommandError
from tools.plan.arithmetic import (
    Basis,
    Capacity,
    Cost,
    Demand,
    Figure,
    Kafka,
    Speed,
    at_questions,
    break_even_fps,
    capacity,
    computed,
    cost,
    implied_ratio,
    instance_fps,
    kafka,
    plain,
    usd_per_million_frames,
)
from tools.plan.prices import Instance, Prices, Pricing, PublishedSaving
from tools.plan.profiles import Measured

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Working:
    """What a profile says of an instance, at the planned number of questions."""

    measured: Measured
    speed: Speed
    instance_fps: Figure
    capacity: Capacity


@dataclass(frozen=True, slots=True)
class Row:
    """One instance, with one profile or none."""

    label: str
    instance: Instance
    working: Working | None

    @property
    def basis(self) -> str:
        """Of its throughput: measured, assumed (measured elsewhere, or at another number of questions), or not measured."""
        if self.working is None:
            return NOT_MEASURED
        bases = self.working.speed.throughput_fps.bases
        return (Basis.ASSUMED if Basis.ASSUMED in bases else Basis.MEASURED).value


@dataclass(frozen=True, slots=True)
class Offer:
    """A row under one pricing model."""

    row: Row
    pricing: Pricing
    usd_per_hour: Figure
    cost: Cost | None

    @property
    def name(self) -> str:
        """Unique within a sheet."""
        return self.row.label if self.pricing is Pricing.ON_DEMAND else f"{self.row.label} {self.pricing.value}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a published saving implies against one baseline."""

    baseline: Instance
    baseline_usd: Figure
    """Per hour, on demand."""
    pricing: Pricing
    """Of the instance that saves."""
    usd: Figure
    """Per hour."""
    implied: Figure
    """Times the baseline's throughput, instance against instance."""
    measured: Figure | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """The plan."""

    demand: Demand
    questions: Figure
    prices: Prices
    rows: tuple[Row, ...]
    offers: tuple[Offer, ...]
    kafka: Kafka
    notes: tuple[str, ...]

    @property
    def reference(self) -> Offer:
        """What the others break even with: the cheapest frames of those with a profile that keep up; else the first offer."""
        working = [each for each in self.offers if each.row.working is not None]
        able = [each for each in working if each.row.working is not None and each.row.working.capacity.keeps_up]
        return min(able or working or self.offers[:1], key=_usd_per_million)

    def break_even(self, offer: Offer) -> Figure | None:
        """Give the asked frames per second and instance at which an offer without a profile costs as much as the reference.

        Returns:
            None if the offer has a profile, or nothing has.
        """
        reference = self.reference
        if offer.row.working is not None or reference.row.working is None:
            return None
        return break_even_fps(offer.usd_per_hour, reference.usd_per_hour, reference.row.working.instance_fps)

    def break_even_ratio(self, offer: Offer) -> Figure | None:
        """Give the same as a multiple of the reference's throughput, which is known without any profile, too."""
        if offer.row.working is not None:
            return None
        return break_even_fps(offer.usd_per_hour, self.reference.usd_per_hour, Figure(1, frozenset()))

    def ratios(self) -> Iterator[Ratio]:
        """Work out the published saving against every GPU of the table on demand."""
        saving = self.prices.published_saving
        saver = None if saving is None else self.prices.find(saving.instance)
        if saving is None or saver is None:
            return
        for baseline in self.prices.instance:
            if baseline.backend == "cuda":
                yield from self._ratios(saving, saver, baseline)

    def _ratios(self, saving: PublishedSaving, saver: Instance, baseline: Instance) -> Iterator[Ratio]:
        share = plain(saving.share, Basis.PUBLISHED)
        baseline_usd = plain(baseline.on_demand_usd_per_hour, Basis.PUBLISHED)
        ours, theirs = self._fastest(saver), self._fastest(baseline)
        measured = None if ours is None or theirs is None else computed(ours.value / theirs.value, ours, theirs)
        for pricing in Pricing:
            usd = saver.usd_per_hour(pricing)
            if usd is not None:
                price = plain(usd, Basis.PUBLISHED)
                yield Ratio(baseline, baseline_usd, pricing, price, implied_ratio(price, baseline_usd, share), measured)

    def _fastest(self, instance: Instance) -> Figure | None:
        rates = [row.working.instance_fps for row in self.rows if row.instance == instance and row.working is not None]
        return max(rates, key=lambda rate: rate.value, default=None)


def build(demand: Demand, questions: Figure, prices: Prices, found: Sequence[Measured], pricings: Sequence[Pricing]) -> Sheet:
    """Lay the plan out.

    Raises:
        CommandError: naming file and remedy: a profile of another number of questions that cannot be scaled, two profiles that
            nothing tells apart, or no instance with a price of the wanted kind.
    """
    rows = tuple(_rows(demand, questions, prices, found))
    offers = tuple(_offers(demand, rows, pricings))
    if not offers:
        said = " or ".join(pricing.value for pricing in pricings)
        msg = f"--pricing {said}: the price table has no such price: add reserved_usd_per_hour to an instance, or leave it out"
        raise CommandError(msg)
    notes = (
        *(note for row in rows for note in _notes(demand, questions, row)),
        *_different_questions(found),
        *_unpriced(rows, offers),
    )
    return Sheet(demand, questions, prices, rows, offers, kafka(demand), notes)


def _rows(demand: Demand, questions: Figure, prices: Prices, found: Sequence[Measured]) -> Iterator[Row]:
    for instance in prices.instance:
        own = [each for each in found if each.instance == instance]
        labels: dict[str, Measured] = {}
        for each in own:
            label = instance.name if len(own) == 1 else f"{instance.name} {each.profile.precision}"
            if label in labels:
                msg = f"{labels[label].path} and {each.path} are both profiles of {label}: give one of them"
                raise CommandError(msg)
            labels[label] = each
            yield Row(label, instance, _work(demand, questions, each))
        if not own:
            yield Row(instance.name, instance, None)


def _work(demand: Demand, questions: Figure, found: Measured) -> Working:
    profile = found.profile
    bases = frozenset({Basis.MEASURED} if found.is_of_the_instance else {Basis.MEASURED, Basis.ASSUMED})
    extra = profile.extra_question_percent
    taken = Speed(Figure(profile.throughput_fps, bases), None if extra is None else Figure(extra, bases))
    speed = at_questions(taken, profile.questions, questions)
    if speed is None:
        asked = f"{questions.value:g} questions"
        why = "does not say what one more costs" if extra is None else f"says that one more costs {extra:g} % of a frame"
        msg = (
            f"{found.path} was measured with {profile.questions} questions and {why}, so that {asked} cannot be told from it: "
            f"measure with {asked} (`tools/run stress`), or plan --questions {profile.questions}"
        )
        raise CommandError(msg)
    workers = plain(found.instance.workers, Basis.PUBLISHED)
    return Working(found, speed, instance_fps(speed, workers), capacity(demand, speed, workers))


def _offers(demand: Demand, rows: Sequence[Row], pricings: Sequence[Pricing]) -> Iterator[Offer]:
    for row in rows:
        for pricing in pricings:
            usd = row.instance.usd_per_hour(pricing)
            if usd is None:
                continue
            price, work = plain(usd, Basis.PUBLISHED), row.working
            yield Offer(row, pricing, price, None if work is None else cost(demand, work.speed, work.capacity.instances, price))


def _usd_per_million(offer: Offer) -> float:
    work = offer.row.working
    return offer.usd_per_hour.value if work is None else usd_per_million_frames(offer.usd_per_hour, work.instance_fps).value


def _notes(demand: Demand, questions: Figure, row: Row) -> Iterator[str]:
    """Say what a reader of a row's figures must know."""
    work = row.working
    if work is None:
        return
    label, found, profile = row.label, work.measured, work.measured.profile
    planned_fps = work.speed.throughput_fps.value * demand.utilisation.value
    if not work.capacity.keeps_up:
        least = planned_fps / demand.asked_share.value
        yield (
            f"{label} does not keep up: a camera asks {demand.camera_asked_fps.value:.3g} frames/s, a worker is planned for "
            f"{planned_fps:.3g}, and a camera is never divided between workers: plan --fps {_at_most(least)} or less"
        )
    if not found.is_of_the_instance:
        here = f"{row.instance.name} ({row.instance.accelerator}; {row.instance.vcpus} vCPUs)"
        yield f"{label}: measured on {found.where}; that it holds on {here} is assumed"
    if profile.questions != questions.value:
        yield f"{label}: measured with {profile.questions} questions, scaled to {questions.value:g} as if linear in them"
    held = 1.0 if profile.open_loop_fps is None else profile.open_loop_fps / profile.throughput_fps
    if demand.utilisation.value > held:
        yield (
            f"{label}: within its latency bound a worker held {held:.0%} of its throughput, and is planned for "
            f"{demand.utilisation.value:.0%}: plan --utilisation {_at_most(held)} or less"
        )
    if profile.questions == questions.value:
        yield from _through_kafka(planned_fps, row, work)
    whole = None if profile.kafka is None else profile.kafka.worker_cpu_s_per_1000_frames
    yield from _host(planned_fps, row, profile.cpu_s_per_1000_frames if whole is None else whole)


def _through_kafka(planned_fps: float, row: Row, work: Working) -> Iterator[str]:
    """Say where a worker is planned for more than whole workers were seen to hold; that much is certain only of their host."""
    through = work.measured.profile.kafka
    if through is not None and planned_fps > through.worker_fps:
        held = _at_most(through.worker_fps / work.speed.throughput_fps.value)
        who = "a worker" if through.workers == 1 else f"each of {through.workers} workers"
        within = "" if through.commit_p99_ms is None else f" (99 % committed within {through.commit_p99_ms:.0f} ms of capture)"
        yield (
            f"{row.label}: beside broker and cameras on one host {who} held {through.worker_fps:.3g} frames/s through Kafka"
            f"{within}, and is planned for {planned_fps:.3g}: plan --utilisation {held} or less, "
            "or measure with a broker elsewhere"
        )


def _host(planned_fps: float, row: Row, cpu_s_per_1000_frames: float | None) -> Iterator[str]:
    """Say where decoding and resizing would take more processors than the instance has beside its accelerator."""
    if row.instance.backend == "cpu" or cpu_s_per_1000_frames is None:
        return
    needed = planned_fps * row.instance.workers * cpu_s_per_1000_frames / 1000
    if needed > row.instance.vcpus:
        yield (
            f"{row.label}: its workers would take {needed:.2g} processors of {row.instance.vcpus} vCPUs: the host limits first: "
            "measure all workers of the instance at once, or plan a larger one"
        )


def _at_most(value: float) -> str:
    """Give two digits, rounded down: what is advised must hold; the last digits of a float take nothing away."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return f"{math.floor(value / step * (1 + 1e-12)) * step:.2g}"


def _unpriced(rows: Sequence[Row], offers: Sequence[Offer]) -> Iterator[str]:
    priced = {offer.row.label for offer in offers}
    if missing := [row.label for row in rows if row.label not in priced]:
        yield f"left out of the costs, as the price table has no reserved price of them: {', '.join(missing)}"


def _different_questions(found: Sequence[Measured]) -> Iterator[str]:
    if len({each.profile.questions_fingerprint for each in found}) > 1:
        yield "the profiles asked different questions: longer ones cost more, so compare with care"
