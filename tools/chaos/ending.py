"""The end of a run: all workers and publishers have stopped, and everything that lies on the topics is counted."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import TopicNames
from tools.chaos.bystanders import VISITOR, dead_letters_mistakes, visitors_mistakes, visitors_sent
from tools.chaos.check import Verdict, compare, state_differences
from tools.chaos.engine import Asked, asked
from tools.chaos.expected import Replay, line_of
from tools.chaos.judge import delivered, replayed
from tools.chaos.leaks import leaks
from tools.chaos.order import OrderReader
from tools.chaos.reading import high_watermarks, unsettled
from tools.chaos.status import FINDING
from tools.chaos.stored import history, stored
from tools.chaos.truth import Script
from tools.chaos.visits import Patience, overdue

WORKER_FILE = "worker.json"
"""What the workers of a run are told, in the folder of the processes' files."""


@dataclass(slots=True)
class Ending:
    """The judgement."""

    verdict: Verdict
    frames: int
    """Pictures on the frames topic."""
    asked: Asked
    other: list[str] = field(default_factory=list)
    """What must not be, beside wrong alerts, in sentences."""

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        return [*self.verdict.details, *self.other]


async def judged(  # noqa: PLR0913  (what is judged)
    connection: KafkaConnection,
    names: TopicNames,
    script: Script,
    folder: Path,
    reader: OrderReader,
    *,
    is_naive: bool,
    replay: Replay | None = None,
) -> Ending:
    """Judge what lies on the topics and what the workers said at their ends.

    Args:
        connection: past the proxy.
        names: the topics.
        script: the cameras.
        folder: of the processes' files.
        reader: has followed the alerts.
        is_naive: delivery was the negative control.
        replay: what must have come of the frames; None takes it from the frames topic as it lies there.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: a transaction stays open.
    """
    replay = replay or await replayed(connection, names.frames, script)
    alerts = await delivered(connection, names.alerts, names.group)
    home = {camera.name: camera.partition for camera in script.plan()}
    partition_of = {line_of(name, number, at): number for name, at in home.items() for number in range(script.partitions)}
    own = [each for each in alerts if not each.alert.camera.startswith(VISITOR)]
    verdict = compare(replay.alerts, own, partition_of)
    ending = Ending(verdict, replay.totals["pictures"], await asyncio.to_thread(lambda: asked(sorted(folder.glob("*.asked")))))
    if is_naive:
        return ending
    ending.other += reader.watch.unexpected({name: camera.set_back for name, camera in replay.cameras.items()})[:20]
    for topic in (names.alerts, names.state, names.dead_letters):
        ending.other += await unsettled(connection, topic)
    visitors, sent = await visitors_sent(connection, names.frames)
    late = overdue(await history(connection, names), sent, visitors, patience(folder))
    ending.other += visitors_mistakes(alerts, visitors, late)[:20]
    ending.other += (await dead_letters_mistakes(connection, names.frames, names.dead_letters))[:20]
    found = await stored(connection, names)
    own_states = [
        each | {"camera": line_of(each["camera"], each["partition"], home.get(each["camera"], each["partition"]))}
        for each in found.cameras
        if not each["camera"].startswith(VISITOR)
    ]
    ending.other += state_differences(replay, own_states)
    for place, end in (await high_watermarks(connection, names.frames)).items():
        record = found.partitions.get(place.partition)
        if end and (record is None or record.resume_offset != end or not record.clean):
            ending.other.append(f"{place} ends at {end}, its record is {record}")
    ending.other += conservation(folder) + leaks(folder) + findings(folder)
    return ending


def patience(folder: Path) -> Patience:
    """How long the workers of a run wait before they make something of silence."""
    told = json.loads((folder / WORKER_FILE).read_text(encoding="utf-8"))
    return Patience(told["script"]["lost_after_s"], told["silence_grace_s"], told["forget_after_s"])


def conservation(folder: Path) -> list[str]:
    """Name the workers whose counters do not add up, of those that ended in order; that none did is a mistake, too."""
    told = [
        (log.stem, json.loads(line))
        for log in sorted(folder.glob("*.log"))
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith('{"at_s"')
    ]
    if not told:
        return ["no worker told what it counted"]
    return [f"{name}: {each}" for name, counts in told for each in _unbalanced(counts)]


def findings(folder: Path) -> list[str]:
    """Name what workers say that must not be."""
    return [
        f"{log.stem}: {line.removeprefix(FINDING)}"
        for log in sorted(folder.glob("*.log"))
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith(FINDING)
    ]


def _unbalanced(counts: Mapping[str, int]) -> list[str]:
    """Records and pictures that went in and did not come out, or came from nowhere (the law: `stream.counts`).

    Nothing is in flight: a worker that is stopped in order lets its queues run empty, what lies in a decoder is not decoded yet,
    and what a partition that was taken away had in flight is counted as stale.
    """
    wrong = []
    records = counts["used"] + counts["dead_lettered"] + counts["repeated"] + counts["stale"]
    if counts["received"] != records:
        wrong.append(f"received {counts['received']} records, accounted for {records}")
    parts = ("answered", "sampled_out", "late", "clock", "no_keyframe", "duplicate", "undecodable", "decode_only", "stale_frames")
    pictures = sum(counts[part] for part in parts)
    if counts["decoded"] != pictures:
        wrong.append(f"decoded {counts['decoded']} pictures, accounted for {pictures}")
    return wrong
