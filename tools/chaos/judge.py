"""The end of a run: the topics as they lie there, against each other. All workers and publishers have stopped."""

from collections.abc import Iterable, Mapping, Sequence

from stream.kafka.connection import KafkaConnection
from tools.chaos.check import Published, Verdict, compare
from tools.chaos.expected import Replay, Rules
from tools.chaos.reading import read_all
from tools.chaos.records import is_of_group, published, sent
from tools.chaos.truth import Script


async def replayed(
    connection: KafkaConnection,
    frames_topic: str,
    script: Script,
    lost: Iterable[str] = (),
    turns: Mapping[str, Sequence[tuple[int, Rules]]] | None = None,
) -> Replay:
    """Replay a frames topic without a worker.

    Args:
        connection: the cluster.
        frames_topic: what the script's cameras sent; other records are passed by, as they should be dead letters.
        script: the cameras.
        lost: cameras that were silent for so long at the end that they must be lost.
        turns: see `Replay`.

    Raises:
        KafkaError: the brokers do not answer.
    """
    replay = Replay(script.rules(), turns)
    cameras = {camera.name: camera for camera in script.plan()}
    async for record in read_all(connection, frames_topic, "read_uncommitted"):
        one = sent(record, cameras)
        if one is not None:
            replay.take(one)
    replay.finish(lost)
    return replay


async def delivered(connection: KafkaConnection, alerts_topic: str, group: str | None = None) -> list[Published]:
    """Read all alerts that a subscriber can see, up to the high watermark; those of one group, if one is given.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: a transaction stays open.
    """
    records = read_all(connection, alerts_topic, "read_committed")
    return [published(record) async for record in records if group is None or is_of_group(record, group)]


async def judge(connection: KafkaConnection, alerts_topic: str, replay: Replay, script: Script) -> Verdict:
    """Compare the alerts topic with what the frames topic must lead to.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: a transaction stays open.
    """
    partition_of = {camera.name: camera.partition for camera in script.plan()}
    return compare(replay.alerts, await delivered(connection, alerts_topic), partition_of)
