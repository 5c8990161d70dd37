"""`tools/run bench delivery`: what exactly-once costs on a broker, and how long a worker needs to take up many cameras."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tools.options import BootstrapOption, JsonOption
from tools.screen import err, out, write_json

if TYPE_CHECKING:  # aiokafka stays out of --help
    from stream.kafka.connection import KafkaConnection
    from stream.kafka.exactly_once import ExactlyOnce
    from stream.kafka.source import KafkaSource
    from stream.kafka.topology import TopicNames
    from stream.ports import Assigned
    from stream.state_records import CameraRecord
    from stream.types import Event

PARTITIONS = 48
LATENCIES = 300
"""Transactions one after the other."""
THROUGHPUT_S = 8.0
BEHAVIORS = 8
_NOT_IDLE_S = 0.5
_DEADLINE_S = 30.0
"""Of a transaction: a slow broker is a figure here, not a failure."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one transaction with one event, milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """What was measured."""

    transactions_per_s: float
    """Of all partitions side by side, each with one event and one camera."""
    transaction_ms: Latency
    """One partition alone, one after the other."""
    restore_cameras: int
    restore_s: float
    """From joining the group until the last partition is open."""
    live_minutes: float
    """How long states were written before the restore, a tick a second on every partition."""
    live_records: int
    """Cameras' states that were written meanwhile."""
    state_written: int
    """Records of the state topic that all ticks wrote; each partition's mark comes on top."""
    state_records: int
    """Records that were left of them for the restore to read: fewer, if the cleaner has been over the topic."""


def delivery(
    *,
    cameras: Annotated[int, typer.Option("--restore-cameras", min=48, help="Cameras that are taken up.")] = 100_000,
    live_minutes: Annotated[float, typer.Option("--live-minutes", min=0, help="Write states for so long before.")] = 0.0,
    live_cameras: Annotated[int, typer.Option("--live-cameras", min=1, help="Changed cameras a tick and partition.")] = 20,
    bootstrap_servers: BootstrapOption = None,
    json: JsonOption = None,
) -> None:
    """Measure transactions per second, the latency of one alert's transaction, and the restore of many cameras.

    Examples: [bold]tools/run bench delivery --json -[/], [bold]tools/run bench delivery --live-minutes 20[/]
    """
    from tools.broker.find import find_broker

    with find_broker(bootstrap_servers) as found:
        figures = asyncio.run(_measure(found.connection, cameras, live_minutes, live_cameras))
    if json is not None:
        write_json(json, asdict(figures))
    if json != "-":
        out.print(_table(figures))


async def _measure(connection: "KafkaConnection", cameras: int, live_minutes: float, live_cameras: int) -> DeliveryFigures:
    from stream.kafka.topology import TopicNames, create_topics

    names = TopicNames(f"bench-{time.time_ns()}", f"bench-alerts-{time.time_ns()}", "bench")
    await create_topics(connection, names, partitions=PARTITIONS)
    async with _taken_up(connection, names) as (delivery, assigned):
        writer = _Writer(delivery)
        err.print(f"{LATENCIES} transactions one after the other")
        latencies_ms = await _latencies_ms(writer, assigned[0])
        err.print(f"{PARTITIONS} partitions side by side for {THROUGHPUT_S:g} s")
        per_s = await _throughput(writer, assigned)
        err.print(f"writing {cameras} cameras")
        await _populate(writer, assigned, cameras)
        live_records = 0
        if live_minutes:
            err.print(f"writing {live_cameras} changed cameras a second and partition for {live_minutes:g} minutes")
            live_records = await _live(writer, assigned, cameras, live_minutes * 60, live_cameras)
    state_records = await _state_records(connection, names)
    err.print("taking all of them up")
    began_s = time.perf_counter()
    async with _taken_up(connection, names) as (_, assigned):
        restore_s = time.perf_counter() - began_s
    found = sum(len(each.cameras) for each in assigned)
    return DeliveryFigures(
        transactions_per_s=round(per_s, 1),
        transaction_ms=Latency(round(latencies_ms[len(latencies_ms) // 2], 1), round(latencies_ms[-3], 1)),
        restore_cameras=found,
        restore_s=round(restore_s, 2),
        live_minutes=live_minutes,
        live_records=live_records,
        state_written=writer.records,
        state_records=state_records,
    )


@asynccontextmanager
async def _taken_up(
    connection: "KafkaConnection", names: "TopicNames"
) -> "AsyncIterator[tuple[ExactlyOnce, Sequence[Assigned]]]":
    """Join the group and take every partition up, as a worker does."""
    from stream.alerts import AlertContext
    from stream.kafka.consumer import SourceConfig
    from stream.kafka.exactly_once import ExactlyOnce
    from stream.kafka.partition_client import DeliveryConfig
    from stream.kafka.source import KafkaSource
    from stream.protocol import Policy

    context = AlertContext(f"/pawsight/{names.group}", "bench", "bench", "bench")
    delivery = ExactlyOnce(connection, names, context, DeliveryConfig(writer="bench", deadline_s=_DEADLINE_S), Policy())
    async with delivery, KafkaSource(connection, SourceConfig(names.frames, names.group), delivery) as source:
        assigned = await _all_assigned(source)
        over = asyncio.Event()
        polling = asyncio.create_task(_poll(source, over))
        try:
            yield delivery, assigned
        finally:
            over.set()
            await polling


async def _poll(source: "KafkaSource", over: asyncio.Event) -> None:
    """Poll as a worker does, whatever it waits for: after 15 minutes without, a member is taken for dead."""
    while not over.is_set():
        await source.poll(_NOT_IDLE_S, frozenset())


async def _all_assigned(source: "KafkaSource") -> "Sequence[Assigned]":
    assigned: dict[int, Assigned] = {}
    while len(assigned) < PARTITIONS:
        poll = await source.poll(_NOT_IDLE_S, frozenset())
        for lost in poll.revoked:
            assigned.pop(lost.partition, None)
        assigned |= {each.partition: each for each in poll.assigned}
    return [assigned[number] for number in sorted(assigned)]


@dataclass(slots=True)
class _Writer:
    """Delivers ticks, and counts what they wrote."""

    delivery: "ExactlyOnce"
    records: int = 0
    """Of the state topic: cameras, and each tick's partition."""

    async def deliver(self, to: "Assigned", cameras: "dict[str, CameraRecord]", events: "tuple[Event, ...]" = ()) -> None:
        """Deliver a tick with these cameras and events."""
        from stream.ports import Tick

        tick = Tick(to.topic, to.partition, to.incarnation, resume_offset=0, events=events, cameras=cameras)
        assert await self.delivery.deliver(tick), "the delivery was not acknowledged"
        self.records += len(cameras) + 1


async def _latencies_ms(writer: _Writer, one: "Assigned") -> list[float]:
    latencies_ms = []
    for number in range(LATENCIES):
        began_s = time.perf_counter()
        await writer.deliver(one, {"latency": _camera("latency", number)}, events=(_event(number),))
        latencies_ms.append((time.perf_counter() - began_s) * 1000)
    return sorted(latencies_ms)


async def _throughput(writer: _Writer, assigned: "Sequence[Assigned]") -> float:
    until_s = time.perf_counter() + THROUGHPUT_S
    done = 0

    async def one_partition(each: "Assigned") -> None:
        nonlocal done
        number = 0
        while time.perf_counter() < until_s:
            await writer.deliver(each, {"throughput": _camera("throughput", number)}, events=(_event(number),))
            number += 1
            done += 1

    await asyncio.gather(*(one_partition(each) for each in assigned))
    return done / THROUGHPUT_S


async def _populate(writer: _Writer, assigned: "Sequence[Assigned]", cameras: int) -> None:
    for begin in range(0, cameras, PARTITIONS * 250):
        names = [f"camera-{number:06d}" for number in range(begin, min(cameras, begin + PARTITIONS * 250))]
        await asyncio.gather(
            *(
                writer.deliver(each, {name: _camera(name, 0) for name in names[place::PARTITIONS]})
                for place, each in enumerate(assigned)
            )
        )


async def _live(writer: _Writer, assigned: "Sequence[Assigned]", cameras: int, lasts_s: float, live_cameras: int) -> int:
    """Write what a running worker writes: on every partition once a second the cameras that changed."""
    written = 0
    began_s = time.perf_counter()
    tick = 0
    while time.perf_counter() - began_s < lasts_s:
        tick += 1
        for place, each in enumerate(assigned):
            own = range(place, cameras, PARTITIONS)  # as they were written first: a camera stays on its partition
            names = {f"camera-{own[(tick * live_cameras + step) % len(own)]:06d}" for step in range(live_cameras)}
            await writer.deliver(each, {name: _camera(name, tick) for name in names})
            written += len(names)
        await asyncio.sleep(max(0.0, began_s + tick - time.perf_counter()))
    return written


async def _state_records(connection: "KafkaConnection", names: "TopicNames") -> int:
    """Read the state as a restore does, and count its records."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from stream.kafka.committed import committed_reader, read
    from stream.kafka.exactly_once import STOP_TIMEOUT_S
    from stream.kafka.retired import Retired

    places = [TopicPartition(names.state, number) for number in range(PARTITIONS)]
    async with AIOKafkaConsumer(**connection.client_options()) as uncommitted:  # sees high watermarks
        begins, ends = await uncommitted.beginning_offsets(places), await uncommitted.end_offsets(places)
    count, retired = 0, Retired()
    async with committed_reader(connection, retired) as consumer:
        for place in places:
            async for _ in read(consumer, place, begins[place], ends[place]):
                count += 1
    await retired.gone(STOP_TIMEOUT_S)
    return count


def _camera(name: str, number: int) -> "CameraRecord":
    """A camera with eight behaviours, one of them open."""
    from stream.camera_state import BehaviorState, CameraState, Episode, Run
    from stream.clock import ClockState
    from stream.phases import Phase
    from stream.state_records import CameraRecord, Cursor
    from stream.types import Evidence

    at_s = 1.7e9 + number / 2
    evidence = Evidence("frames", 7, 123_456 + number, 0, at_s)
    idle = BehaviorState(run=Run(at_s - 30, at_s, None), episodes=3)
    opened = BehaviorState(Phase.OPEN, run=Run(at_s - 9, at_s, evidence), episodes=4, episode=Episode(at_s - 9, "info", evidence))
    behaviors = {f"behavior_{place}": idle for place in range(1, BEHAVIORS)} | {"behavior_0": opened}
    clock = ClockState(1.7e9, at_s, "6d1ff3a5-5ba3-4dfc-a6a0-6dd1a3bb1c3b")
    state = CameraState(name, 1_700_000_000_000, clock, at_s, lost=False, sightings=1, behaviors=behaviors)
    return CameraRecord(state, Cursor(123_456 + number))


def _event(number: int) -> "Event":
    from stream.types import CameraEvent, Kind

    return CameraEvent(f"bench-{number}", Kind.SEEN, "latency", 1.7e9 + number, 1.7e9 + number, None)


def _table(figures: DeliveryFigures) -> Table:
    table = Table(title="delivery")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_row("transactions per second, 48 partitions", f"{figures.transactions_per_s:.0f}")
    table.add_row("one alert's transaction, p50", f"{figures.transaction_ms.p50} ms")
    table.add_row("one alert's transaction, p99", f"{figures.transaction_ms.p99} ms")
    table.add_row(f"restore of {figures.restore_cameras} cameras", f"{figures.restore_s} s")
    if figures.live_minutes:
        table.add_row("after so many minutes of live writes", f"{figures.live_minutes:g} ({figures.live_records} records)")
    table.add_row("records of state, written and left by the cleaner", f"{figures.state_written}, {figures.state_records}")
    return table
