"""Topics and state that are not what they were: recreated, deleted, overtaken, shared, compacted, held back."""

import asyncio
import time
from collections.abc import Mapping

from stream.kafka.topology import TopicNames, create_topics
from tools.chaos.brokers import QUICK_FAULTS
from tools.chaos.check import compare
from tools.chaos.expected import Replay
from tools.chaos.judge import delivered, replayed
from tools.chaos.order import OrderWatch
from tools.chaos.processes import Child
from tools.chaos.run import TIMING, told
from tools.chaos.scenarios import cluster
from tools.chaos.scenarios.act import PARKED, Act
from tools.chaos.scenarios.scenario import Scenario, Setting

ACCEPT_LOSS = {"accept_new_topic": False, "accept_state_loss": True}
_GONE_BOUND_S = 100.0
"""Within which a worker knows that a topic is gone: two requests of 40 s in which the client looks for it, and a second look."""
_FOUND_OUT_BOUND_S = 60.0
"""Within which workers that nobody disturbs know of partitions that were added: the client looks every 30 s, then rebalances."""
_COMMITTED_AFTER_S = 2.0
"""When the last known commit is the group's offset, too, which follows in the background."""
_RESTARTS_S = 8.0
"""In which each worker starts, finds out, and ends some times."""
_REFUSED = "error: topic"
"""How a worker's sentence about a wrong topic begins."""


async def _group_offsets_reset(act: Act) -> None:
    """Set the group's offsets forward and back, and delete them, each time while no worker runs."""
    names, direct = act.stage.names, act.stage.direct
    for reset in ("forward", "back", "deleted"):
        await act.stop_workers()
        ends = await act.ends()
        if reset == "deleted":
            await cluster.delete_group(direct, names)
        else:
            await cluster.set_group_offsets(direct, names, ends if reset == "forward" else dict.fromkeys(ends, 0))
        act.start_workers()
        act.figures[f"after_{reset}_s"] = await act.flows()


async def _state_recreated(act: Act) -> None:
    """Delete the state topic, see the workers refuse; create it empty, see them park; accept the loss."""
    names, direct = act.stage.names, act.stage.direct
    await act.settled()
    await act.stop_workers()
    before = await replayed(direct, names.frames, act.stage.script)
    ends, places = await act.ends(), await cluster.group_offsets(direct, names)
    act.figures["read_again"] = sum(ends[number] - places[number] for number in places)
    await cluster.delete_topic(direct, names.state)
    act.start_workers()
    await _lost_and_accepted(act, before, places)


async def _state_deleted(act: Act) -> None:
    """Delete the state topic under workers that have nothing to do, on brokers that create what a client asks for, and publish.

    aiokafka's metadata requests let brokers create topics, without a setting against it: a writer whose topic is gone makes one
    as the brokers' defaults are. No worker may go on with that, and none that starts may make it again once it is deleted.
    """
    names, direct = act.stage.names, act.stage.direct
    await act.settled()
    await asyncio.sleep(_COMMITTED_AFTER_S)
    before = await replayed(direct, names.frames, act.stage.script)
    places = await cluster.group_offsets(direct, names)
    await cluster.delete_topic(direct, names.state)
    act.start_publisher()
    await act.all_say(_REFUSED, _GONE_BOUND_S)
    await act.stop_publisher()
    act.figures["made_by_a_writer"] = names.state in await _topics(act)
    if act.figures["made_by_a_writer"]:
        await act.all_say(f"topic {names.state}: cleanup.policy is delete", _GONE_BOUND_S)
        await cluster.delete_topic(direct, names.state)
        await asyncio.sleep(_RESTARTS_S)
        if names.state in await _topics(act):
            act.problems.append(f"{names.state} is there again: a worker that starts made it")
    await _lost_and_accepted(act, before, places)


async def _topics(act: Act) -> list[str]:
    async with cluster.administration(act.stage.direct) as admin:
        return list(await admin.list_topics())


async def _lost_and_accepted(act: Act, before: Replay, places: Mapping[int, int]) -> None:
    """Create the state empty, see the workers park, accept the loss, and expect what begins anew at the group's offsets."""
    names, direct = act.stage.names, act.stage.direct
    await act.all_say(_REFUSED, 45.0)
    parked = act.said(PARKED)
    await create_topics(direct, names, partitions=act.stage.script.partitions)
    await act.must_say(PARKED, beyond=parked)
    act.kill_workers()
    act.problems += act.reader.watch.unexpected({})
    act.reader.watch = OrderWatch(act.reader.watch.steady)  # what was told before is forgotten, and may be told again
    act.start_workers(policy=ACCEPT_LOSS)
    act.start_publisher()
    act.figures["after_accepting_s"] = await act.flows()
    await act.settled()
    act.replay = await _begun_anew(act, before, places)  # without state nobody knows better


async def _begun_anew(act: Act, before: Replay, places: Mapping[int, int]) -> Replay:
    """Replay what lies past some offsets as if nothing was before it, and expect the alerts of what was, too."""
    replay = Replay(act.stage.script.rules())
    for partition, offset, one in await act.placed_frames():
        if offset >= places.get(partition, 0):
            replay.take(one)
    replay.finish()
    for name, camera in replay.cameras.items():
        camera.alerts[:0] = before.cameras[name].alerts
    return replay


async def _foreign_transaction(act: Act) -> None:
    """Hold a stranger's transaction open on one partition's state through a handover, for as long as we look."""
    names = act.stage.names
    others = [number for number in act.populated if number != 0]
    async with cluster.foreign_transaction(act.stage.direct, names.state, 0):
        act.kill_workers()
        act.start_workers()
        act.figures["others_go_on_after_s"] = await act.flows(others)
        began_s = time.time()
        await asyncio.sleep(3 * TIMING.session_s)
        if 0 in act.alive_since(began_s):
            act.problems.append("partition 0 gives alerts although nobody can know its state")
        await act.flows(others)
    act.figures["opens_after_s"] = await act.flows([0])


async def _two_groups(act: Act) -> None:
    """Let a second group work on the same frames, into the same alerts, under kills; judge each by its own source."""
    stage = act.stage
    canary = TopicNames(stage.names.frames, stage.names.alerts, "canary")
    await create_topics(stage.direct, canary, partitions=stage.script.partitions)
    other = Child("canary-w1", "tools.chaos.worker_process", told(stage.plan, stage.script, canary, stage.brokers), stage.folder)
    try:
        other.start()
        await asyncio.sleep(8.0)
        other.kill()
        act.workers[0].kill()
        other.start()
        act.start_workers()
        await asyncio.sleep(8.0)
        await act.settled()
        await act.done(names=canary)
        code = await asyncio.to_thread(other.terminate, 30.0)
    finally:
        other.kill()
    if code != 0:
        act.problems.append(f"the other group's worker ended with {code}")
    await _judge_source(act, "canary")


async def _judge_source(act: Act, group: str) -> None:
    replay = await replayed(act.stage.direct, act.stage.names.frames, act.stage.script)
    alerts = await delivered(act.stage.direct, act.stage.names.alerts, group)
    verdict = compare(replay.alerts, alerts, {camera.name: camera.partition for camera in act.stage.script.plan()})
    act.problems += [f"{group}: {each}" for each in verdict.details]
    act.figures |= {f"{group}_expected": verdict.expected, f"{group}_lost": verdict.lost, f"{group}_repeated": verdict.duplicated}


async def _partitions_added(act: Act) -> None:
    """Add partitions to the frames topic alone, have the running workers find out by themselves, then add them to the others."""
    names, direct = act.stage.names, act.stage.direct
    count = act.stage.script.partitions + 2
    await act.ready()
    if ends := act.stage.world.fleet.ends:
        act.problems.append(f"workers ended before partitions were added, and may have found them at a start: {ends}")
    await cluster.add_partitions(direct, [names.frames], count)
    began_s = time.monotonic()
    await act.all_say(f"topic {names.state}: number of partitions is {count - 2}, must be {count}", _FOUND_OUT_BOUND_S)
    act.figures["found_out_s"] = round(time.monotonic() - began_s, 1)
    await asyncio.sleep(_RESTARTS_S)
    await cluster.add_partitions(direct, [names.alerts, names.state, names.dead_letters], count)
    act.figures["after_adding_s"] = await act.flows()


SCENARIOS = {
    "3-group-offsets-reset": Scenario(
        "the group's offsets are set forward, back, and deleted, each time while no worker runs", _group_offsets_reset
    ),
    "6-state-recreated": Scenario(
        "the state topic is deleted, then created empty: workers refuse, then wait until the loss is accepted",
        _state_recreated,
    ),
    "8-state-deleted": Scenario(
        "the state topic is deleted under running workers, on brokers that create topics: all refuse until it is right",
        _state_deleted,
        Setting(broker={**QUICK_FAULTS, "auto.create.topics.enable": "true"}),
    ),
    "7-foreign-transaction": Scenario(
        "a stranger's transaction on one partition's state stays open through a handover and three sessions", _foreign_transaction
    ),
    "8-two-groups": Scenario("two groups on one frames topic, each exactly once under its own source", _two_groups),
    "8-partitions-added": Scenario(
        "partitions are added to the frames topic alone: running workers find out, and refuse until the other topics have them",
        _partitions_added,
    ),
}
