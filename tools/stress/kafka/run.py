"""One run through Kafka: broker, topics, workers, the search, and the account of what was published."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DeleteGroupsRequest
from rich.markup import escape

from stream.clock import ClockRules
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching
from stream.kafka.topology import TopicNames, create_topics
from tools.broker.find import FoundBroker, find_broker
from tools.broker.process import BrokerProcess
from tools.screen import err
from tools.stress.kafka.cameras import Books, Cameras, producing
from tools.stress.kafka.figures import Kept, Through
from tools.stress.kafka.observer import observing
from tools.stress.kafka.pictures import Album
from tools.stress.kafka.rig import Pace, Rig, Watched
from tools.stress.kafka.search import await_ready, search
from tools.stress.kafka.trial import beside
from tools.stress.kafka.workers import Workers

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What is put on the workers."""

    album: Album
    rules: ClockRules
    """By which workers sample."""
    pace: Pace
    start: int
    """Cameras of the first trial."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Which workers, and where."""

    options: Sequence[str]
    """Of each: artifact, device and questions."""
    settings_file: Path | None
    """As this command has it."""
    bootstrap_servers: str | None
    """None: a broker of our own."""


def run(load: Load, fleet: Fleet, through: Through, report: Report) -> None:
    """Measure; `through` holds what was found when this returns or raises. On a cluster topics and group are deleted at the end.

    Raises:
        CommandError: no broker can be started, or it or a worker ended or stands still.
        DeviceLost: a worker lost its device.
        SourceLost, StreamRefused: the cluster does not answer, or does not allow it.
    """
    with find_broker(fleet.bootstrap_servers) as found, topics(found, through.partitions) as names:
        books = Books([[] for _ in range(through.partitions)])
        with Workers(through.workers, _options(fleet, found, names)) as workers:
            err.print(f"starting workers: {through.workers}; each loads the model and joins the group", soft_wrap=True)
            own = None if found.own is None else found.own.process
            committed, letters = asyncio.run(_search(load, (found.connection, names, books), (workers, own), (through, report)))
        counted = workers.counted
        assert counted is not None, "they stopped in order"
        through.kept = Kept(books.records, committed, counted.records, letters, counted.asked, books.asked)


async def _search(
    load: Load,
    cluster: tuple[KafkaConnection, TopicNames, Books],
    processes: tuple[Workers, BrokerProcess | None],
    telling: tuple[Through, Report],
) -> tuple[int, int]:
    """Search; give how many records are committed at the end, and how many dead letters there are."""
    (connection, names, books), (workers, own), (through, report) = cluster, processes, telling
    async with producing(connection) as producer, observing(connection, names, books, load.album) as observer:
        cameras = Cameras(producer, names.frames, books, load.album, load.rules)
        async with reaching(connection), beside(observer.run()) as reading:
            rig = Rig(cameras, Watched(observer, reading, workers, own), load.rules, load.pace)
            await await_ready(rig, through.workers)
            await search(rig, load.start, through, report)
        return observer.seen.committed, observer.seen.dead_letters


def _options(fleet: Fleet, found: FoundBroker, names: TopicNames) -> list[str]:
    """Options of `tools`, for one worker."""
    settings = [] if fleet.settings_file is None else ["--settings", str(fleet.settings_file.absolute())]
    where = ["--bootstrap-servers", found.bootstrap_servers, "--group", names.group]
    return [*settings, "worker", *fleet.options, *where, "--frames-topic", names.frames, "--alerts-topic", names.alerts]


@contextmanager
def topics(found: FoundBroker, partitions: int) -> Iterator[TopicNames]:
    """Create topics that nobody else uses; on somebody's cluster delete them and the group at the end, or say what is left.

    Raises:
        SourceLost, StreamRefused: the cluster does not answer, or does not allow it; those that it allowed are deleted.
    """
    run_id = f"stress-{time.time_ns()}"
    names = TopicNames(f"{run_id}-frames", f"{run_id}-alerts", run_id)
    try:
        asyncio.run(create_topics(found.connection, names, partitions=partitions))
        yield names
    finally:
        if found.own is None and (left := asyncio.run(_delete(found.connection, names))):
            said = escape(", ".join(left))
            err.print(f"[yellow]left on the cluster:[/] {said}: delete them with its own tools", soft_wrap=True)


async def _delete(connection: KafkaConnection, names: TopicNames) -> list[str]:
    """Delete the run's topics and group; give those that are left."""
    ours = [names.frames, names.alerts, names.dead_letters, names.state]
    admin = AIOKafkaAdminClient(**connection.client_options())
    try:
        await admin.start()
        response = await admin.delete_topics(ours)
        left = {topic for topic, code in response.topic_error_codes if code} & set(await admin.list_topics())
        coordinator = await admin.find_coordinator(names.group)
        response = await admin._client.send(coordinator, DeleteGroupsRequest([names.group]))  # noqa: SLF001  (it has no call for it)
        refused = {group for group, code in response.results if code}
        left |= {group for group, _ in await admin.list_consumer_groups([coordinator]) if group in refused}
    except (KafkaError, OSError):
        return [*ours, names.group]
    finally:
        await admin.close()
    return sorted(left)
