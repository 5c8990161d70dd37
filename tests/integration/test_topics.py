"""`tools/run topics` on a real broker: creates what is missing, compares what exists, changes nothing."""

import asyncio

import pytest
import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import Result
from typer.testing import CliRunner

from stream.kafka.topology import TopicNames, create_topics, differences
from tools.broker.find import FoundBroker
from tools.topics import topics

app = typer.Typer()
app.command()(topics)


def run(broker: FoundBroker, names: TopicNames, *more: str) -> Result:
    """Run the command on the test's topics."""
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--group", names.group]
    return CliRunner().invoke(app, [*where, "--frames-topic", names.frames, "--alerts-topic", names.alerts, *more])


def test_missing_topics_are_created_once(broker: FoundBroker, names: TopicNames) -> None:
    """The first call creates all four as they must be, the second none; a check finds no difference."""
    assert run(broker, names, "--partitions", "12").exit_code == 0
    assert asyncio.run(create_topics(broker.connection, names)) == ()
    result = run(broker, names, "--check")
    assert (result.exit_code, asyncio.run(differences(broker.connection, names))) == (0, ())
    assert names.state in result.output


def test_new_group_gets_as_many_partitions_as_frames_has(broker: FoundBroker, names: TopicNames) -> None:
    """A second group on the same frames topic needs its state topic only, with the partitions that frames has."""
    assert run(broker, names, "--partitions", "3").exit_code == 0
    other = TopicNames(names.frames, names.alerts, "another-group")
    assert asyncio.run(create_topics(broker.connection, other)) == (other.state,)
    assert asyncio.run(differences(broker.connection, other, 3)) == ()


def test_differences_are_named_and_end_with_status_1(broker: FoundBroker, names: TopicNames) -> None:
    """Every setting and partition count that is not as it must be stands in the output with what it is and must be."""
    asyncio.run(_create_wrong(broker, names))
    result = run(broker, names)
    assert result.exit_code == 1
    lines = result.stdout.replace("\n", " ")
    for sentence in (
        f"topic {names.frames}: compression.type is producer, must be uncompressed",
        f"topic {names.frames}: max.message.bytes is 1000, must be 8388608",
        f"topic {names.alerts}: number of partitions is 3, must be 2",
        f"topic {names.state}: cleanup.policy is compact,delete, must be compact",
        f"topic {names.state}: delete.retention.ms is 86400000, must be at least 172800000",
    ):
        assert sentence in lines, result.stdout
    assert names.dead_letters not in lines


def test_check_creates_nothing(broker: FoundBroker, names: TopicNames) -> None:
    """With --check missing topics are only named."""
    result = run(broker, names, "--check")
    assert result.exit_code == 1
    assert f"topic {names.frames}: topic is missing" in result.stdout
    assert len(asyncio.run(differences(broker.connection, names))) == 4


def test_replication_that_the_cluster_cannot_give_is_refused(broker: FoundBroker, names: TopicNames) -> None:
    """More copies than brokers end with the cluster's own words and the option to change."""
    with pytest.raises(Exception, match=r"--replication-factor"):
        asyncio.run(create_topics(broker.connection, names, partitions=1, replication_factor=3))


async def _create_wrong(broker: FoundBroker, names: TopicNames) -> None:
    admin = AIOKafkaAdminClient(**broker.connection.client_options())
    await admin.start()
    await admin.create_topics(
        [
            NewTopic(names.frames, 2, 1, topic_configs={"max.message.bytes": "1000"}),
            NewTopic(names.alerts, 3, 1),
            NewTopic(names.state, 2, 1, topic_configs={"cleanup.policy": "compact,delete"}),
        ]
    )
    await admin.close()
