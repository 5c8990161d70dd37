"""Logs that are not what they were: recreated, truncated, overtaken by retention, compacted, or without a leader for a while."""

import asyncio
import time
from pathlib import Path

from stream.kafka.topology import create_topics
from tools.chaos.brokers import QUICK_FAULTS
from tools.chaos.faults import Kind
from tools.chaos.scenarios import cluster
from tools.chaos.scenarios.act import PARKED, Act
from tools.chaos.scenarios.compaction import CLEANER, compacted
from tools.chaos.scenarios.scenario import Scenario, Setting

_ACCEPT_TOPIC = {"accept_new_topic": True, "accept_state_loss": False}


async def _frames_recreated(act: Act) -> None:
    """Delete the frames topic and create it again under running workers; accept that later."""
    names, direct = act.stage.names, act.stage.direct
    await act.settled()
    act.earlier = await act.frames()
    await cluster.delete_topic(direct, names.frames)
    await create_topics(direct, names, partitions=act.stage.script.partitions)
    act.start_publisher()
    await act.must_say(PARKED, 90.0)
    await asyncio.sleep(5.0)
    before_s = time.time()
    await asyncio.sleep(5.0)
    act.figures["partitions_alive_while_parked"] = len(act.alive_since(before_s))
    act.kill_workers()
    act.start_workers(policy=_ACCEPT_TOPIC)
    act.figures["after_accepting_s"] = await act.flows()


async def _retention_overtakes(act: Act) -> None:
    """Let records go that nobody has read, while no worker runs."""
    names, direct = act.stage.names, act.stage.direct
    await act.settled()
    await act.stop_workers()
    act.earlier = await act.frames()
    ends = await act.ends()
    act.start_publisher()
    await asyncio.sleep(8.0)
    await act.stop_publisher()
    now = await act.ends()
    cut = {number: ends[number] + (now[number] - ends[number]) // 2 for number in ends}
    act.figures["never_read"] = sum(cut[number] - ends[number] for number in ends)
    await cluster.delete_records(direct, names.frames, cut)
    act.start_workers()
    await act.must_say("retention deleted")


async def _frames_truncated(act: Act) -> None:
    """Kill the broker and cut half of one partition's log off: what was done lies beyond its end."""
    (node,) = act.stage.world.nodes
    await act.settled()
    await act.stop_workers()
    act.earlier = [one for partition, _, one in await act.placed_frames() if partition == 0]
    before = (await act.ends())[0]
    node.kill()
    _cut_in_half(node.folder / "data" / f"{act.stage.names.frames}-0")
    await asyncio.to_thread(node.start)
    act.figures["truncated"] = before - (await act.ends())[0]
    if not act.figures["truncated"]:
        act.problems.append("nothing was truncated")
    act.start_workers()
    await act.must_say(PARKED)
    act.start_publisher()
    await act.flows(number for number in act.populated if number != 0)
    act.kill_workers()
    act.start_workers(policy=_ACCEPT_TOPIC)
    act.figures["after_accepting_s"] = await act.flows()


def _cut_in_half(partition: Path) -> None:
    """Cut the only segment of a log between two batches; its indexes are made anew when the log is recovered."""
    (segment,) = partition.glob("*.log")
    content, at = segment.read_bytes(), 0
    while at < len(content) // 2:
        at += 12 + int.from_bytes(content[at + 8 : at + 12], "big")
    with segment.open("r+b") as log:
        log.truncate(at)
    for index in (*partition.glob("*.index"), *partition.glob("*.timeindex")):
        index.unlink()


async def _node_down(act: Act) -> None:
    """Take each node of three away for two sessions: a third of the partitions has no leader until another is chosen."""
    for node in range(3):
        await act.hit(Kind.NODE_KILL, node, 6.0)
        act.figures[f"recovery_{node}_s"] = await act.flows()


SCENARIOS = {
    "6-frames-recreated": Scenario(
        "the frames topic is deleted and created again: its partitions are left alone until the new topic is accepted",
        _frames_recreated,
    ),
    "6-retention-overtakes": Scenario("records are deleted before anybody read them", _retention_overtakes),
    "6-frames-truncated": Scenario(
        "half of a partition is cut off while the broker is down: it is left alone until that is accepted, the others go on",
        _frames_truncated,
    ),
    "18-compaction": Scenario(
        "the cleaner runs every half second over aborted transactions of passing ids, then the state is read again",
        compacted,
        Setting(broker={**QUICK_FAULTS, **CLEANER}),
    ),
    "19-leader-down": Scenario("each node of three is away for two sessions", _node_down, Setting(nodes=3)),
}
