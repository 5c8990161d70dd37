"""The topics of one deployment: their names, the settings that the delivery rules rest on, and what a cluster has instead.

Creates and compares; never changes or deletes a topic that exists.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, NoError, TopicAlreadyExistsError, for_code

from stream.errors import StreamRefused, TopicMissing
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import reaching

FRAME_MAX_BYTES = 8 * 1024 * 1024
"""Largest record batch of the frames topic."""
DEAD_LETTER_MAX_BYTES = FRAME_MAX_BYTES + 64 * 1024
"""A dead letter is the whole record and its error headers."""
DEFAULT_PARTITIONS = 48
"""Highly composite, and two to four times the workers of a large fleet; never changed in place."""
CREATE_TIMEOUT_S = 15.0
PRODUCER_ID_EXPIRATION_MS = 86_400_000
"""The broker's default of producer.id.expiration.ms, for a cluster that does not tell."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The four topics of one consumer group."""

    frames: str
    alerts: str
    group: str

    @property
    def dead_letters(self) -> str:
        """Topic of the records that could not be used."""
        return f"{self.frames}.dlq"

    @property
    def state(self) -> str:
        """Compacted topic of the group's state; named after the group so that two groups never share it."""
        return f"{self.frames}.{self.group}.state"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be."""

    name: str
    partitions: int
    settings: Mapping[str, str]
    """Settings that must be equal."""
    at_least: Mapping[str, int] = field(default_factory=dict)
    """Settings that must be as large or larger; -1 is unlimited."""

    def new_topic(self, replication_factor: int) -> NewTopic:
        """What the cluster is asked to create."""
        wanted = dict(self.settings) | {key: str(value) for key, value in self.at_least.items()}
        return NewTopic(self.name, self.partitions, replication_factor, topic_configs=wanted)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a topic is not."""

    topic: str
    setting: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"topic {self.topic}: {self.setting} is {self.found}, must be {self.wanted}"


def topic_specs(
    names: TopicNames, partitions: int = DEFAULT_PARTITIONS, producer_id_expiration_ms: int = PRODUCER_ID_EXPIRATION_MS
) -> tuple[TopicSpec, ...]:
    """What the four topics must be.

    All have the same number of partitions: the events, dead letters and state of a frame go to the frame's partition number.
    State keeps tombstones for two lives of a producer id, so that the cleaner never leaves batches that readers stumble over.
    """
    safe = {"unclean.leader.election.enable": "false"}
    compacted = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "max.compaction.lag.ms": "600000",
        "segment.ms": "600000",
    }
    return (
        TopicSpec(
            names.frames,
            partitions,
            {"cleanup.policy": "delete", "compression.type": "uncompressed", "max.message.bytes": str(FRAME_MAX_BYTES)} | safe,
        ),
        TopicSpec(names.alerts, partitions, {"cleanup.policy": "delete"} | safe),
        TopicSpec(
            names.dead_letters,
            partitions,
            {"cleanup.policy": "delete"} | safe,
            at_least={"max.message.bytes": DEAD_LETTER_MAX_BYTES},
        ),
        TopicSpec(names.state, partitions, compacted | safe, at_least={"delete.retention.ms": 2 * producer_id_expiration_ms}),
    )


async def reachable(connection: KafkaConnection) -> None:
    """Return if the cluster answers.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: it does not let us in.
    """
    async with reaching(connection), _administration(connection) as admin:
        await admin.describe_cluster()


async def create_topics(
    connection: KafkaConnection, names: TopicNames, *, partitions: int | None = None, replication_factor: int | None = None
) -> tuple[str, ...]:
    """Create those topics that do not exist; return their names.

    Args:
        connection: the cluster.
        names: the topics.
        partitions: how many each gets; None takes as many as the frames topic has, `DEFAULT_PARTITIONS` if there is none yet.
        replication_factor: copies of each partition; None takes three, or as many as there are brokers.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: the cluster does not allow it.
    """
    async with reaching(connection), _administration(connection) as admin:
        found = await _partition_counts(admin)
        specs = topic_specs(names, partitions or found.get(names.frames, DEFAULT_PARTITIONS))
        missing = [spec for spec in specs if spec.name not in found]
        if not missing:
            return ()
        copies = replication_factor or min(3, len((await admin.describe_cluster())["brokers"]))
        response = await admin.create_topics([spec.new_topic(copies) for spec in missing])
        created = _created(response, connection)
        async with asyncio.timeout(CREATE_TIMEOUT_S):
            # the controller answers before every broker knows of them
            while set(created) - set(await _partition_counts(admin)):  # noqa: ASYNC110  (nothing tells us but asking)
                await asyncio.sleep(0.02)
    return created


def _created(response: Any, connection: KafkaConnection) -> tuple[str, ...]:
    """Read the cluster's answer; a topic that somebody else created meanwhile is as good."""
    created = []
    for name, code, detail in response.topic_errors:
        error = for_code(code)
        if error is NoError:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            remedy = " Choose another --replication-factor." if error is InvalidReplicationFactorError else ""
            msg = f"topic {name} was not created at {connection.bootstrap_servers}: {detail or error.__name__}.{remedy}"
            raise StreamRefused(msg)
    return tuple(created)


async def differences(connection: KafkaConnection, names: TopicNames, partitions: int | None = None) -> tuple[Difference, ...]:
    """Compare a cluster's topics with what they must be.

    Args:
        connection: the cluster.
        names: the topics.
        partitions: how many each must have; None takes the frames topic's own number.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: the cluster does not let us look.
    """
    async with reaching(connection), _administration(connection) as admin:
        found = await _partition_counts(admin)
        expiration_ms = await _producer_id_expiration_ms(admin)
        specs = topic_specs(names, partitions or found.get(names.frames, DEFAULT_PARTITIONS), expiration_ms)
        present = [spec for spec in specs if spec.name in found]
        settings = await _topic_settings(admin, [spec.name for spec in present])
    wrong = [Difference(spec.name, "topic", "missing", "there") for spec in specs if spec.name not in found]
    for spec in present:
        wrong += _compare(spec, found[spec.name], settings[spec.name])
    return tuple(wrong)


async def frames_retention_s(connection: KafkaConnection, names: TopicNames) -> float:
    """How long the frames topic keeps records, seconds; infinity where time does not delete them.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: the cluster does not let us look.
    """
    async with reaching(connection), _administration(connection) as admin:
        settings = await _settings(admin, ConfigResourceType.TOPIC, names.frames)
    retention_ms = int(settings.get("retention.ms", "-1"))
    return float("inf") if retention_ms < 0 else retention_ms / 1000


async def partition_count(connection: KafkaConnection, topic: str) -> int:
    """Number of partitions of a topic.

    Raises:
        SourceLost: no broker answers.
        TopicMissing: there is no such topic, or it may not be described.
        StreamRefused: the cluster does not let us look.
    """
    async with reaching(connection), _administration(connection) as admin:
        found = await _partition_counts(admin)
    if topic not in found:
        raise _missing(connection, topic)
    return found[topic]


async def check_partitions(connection: KafkaConnection, names: TopicNames) -> None:
    """Return if events and dead letters can go to the partition number of their frame.

    Raises:
        SourceLost: no broker answers.
        StreamRefused: a topic is missing, or has another number of partitions than the frames topic.
    """
    async with reaching(connection), _administration(connection) as admin:
        found = await _partition_counts(admin)
    wanted = found.get(names.frames)
    for name in (names.frames, names.alerts, names.dead_letters):
        if name not in found:
            raise _missing(connection, name)
        if found[name] != wanted:
            msg = f"topic {name!r} has {found[name]} partitions, {names.frames!r} has {wanted}: they must have the same number"
            raise StreamRefused(msg)


def _missing(connection: KafkaConnection, topic: str) -> TopicMissing:
    return TopicMissing(
        f"topic {topic!r} does not exist at {connection.bootstrap_servers} (or may not be described): "
        "create it with `tools/run topics`, or name another one"
    )


def _compare(spec: TopicSpec, partitions: int, settings: Mapping[str, str]) -> list[Difference]:
    wrong = []
    if partitions != spec.partitions:
        wrong.append(Difference(spec.name, "number of partitions", str(partitions), str(spec.partitions)))
    for key, wanted in spec.settings.items():
        have = settings.get(key, "unknown to the broker")
        if have != wanted:
            wrong.append(Difference(spec.name, key, have, wanted))
    for key, least in spec.at_least.items():
        have = settings.get(key, "")
        if have != "-1" and (not have.isdecimal() or int(have) < least):
            wrong.append(Difference(spec.name, key, have or "unknown to the broker", f"at least {least}"))
    return wrong


@asynccontextmanager
async def _administration(connection: KafkaConnection) -> AsyncIterator[AIOKafkaAdminClient]:
    """Start an admin client, and close it at the end whether it started or not."""
    admin = AIOKafkaAdminClient(**connection.client_options(), request_timeout_ms=15_000)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Number of partitions of every topic that we may see."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _topic_settings(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    return {name: await _settings(admin, ConfigResourceType.TOPIC, name) for name in names}


async def _producer_id_expiration_ms(admin: AIOKafkaAdminClient) -> int:
    """Ask a broker; its default where the cluster does not let us ask."""
    brokers = (await admin.describe_cluster())["brokers"]
    try:
        settings = await _settings(admin, ConfigResourceType.BROKER, str(brokers[0]["node_id"]))
    except StreamRefused:
        return PRODUCER_ID_EXPIRATION_MS
    return int(settings.get("producer.id.expiration.ms", PRODUCER_ID_EXPIRATION_MS))


async def _settings(admin: AIOKafkaAdminClient, kind: ConfigResourceType, name: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(kind, name)])
    settings: dict[str, str] = {}
    for code, detail, _kind, _name, entries in response.resources:
        if for_code(code) is not NoError:
            msg = f"the settings of {name} cannot be read: {detail or for_code(code).__name__}. Grant DescribeConfigs"
            raise StreamRefused(msg)
        settings |= {entry[0]: entry[1] for entry in entries}
    return settings
