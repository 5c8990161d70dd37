"""A device that dies, on a real broker: the worker ends with its sentence, and the next process redoes what was not delivered."""

import asyncio
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.kafka.topology import TopicNames, create_topics
from tests.integration.restart_world import QUICK, Group
from tests.integration.worker_world import BLACK, WHITE, BrightnessDevice
from tools.broker.find import FoundBroker

pytestmark = pytest.mark.asyncio

PATIENCE_S = 90.0
ROOT = Path(__file__).parent.parent.parent
FILM = [BLACK] * 2 + [WHITE] * 4 + [BLACK] * 4
TOLD = ["seen", "started", "ended"]

DYING_WORKER = """
import sys
import tools.assembly
from pipeline.errors import DeviceLost
from tools.__main__ import main

infer, batches = tools.assembly.Device.infer, []

async def dying(self, pixels, n):
    batches.append(n)
    if len(batches) > 1:
        raise DeviceLost("cuda:0 fell off the bus: reset it")
    return await infer(self, pixels, n)

tools.assembly.Device.infer = dying
sys.exit(main())
"""
"""The worker's command on a device that answers one batch."""


@dataclass
class DyingDevice(BrightnessDevice):
    """Answers so many batches, and is lost at the next."""

    strength: int = 0

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer while it can."""
        if len(self.batches) >= self.strength:
            msg = f"lost at batch {self.strength}"
            raise DeviceLost(msg)
        return await super().__call__(pixels, n)


@pytest.mark.parametrize("submitters", [1, 2])
@pytest.mark.parametrize("strength", [0, 1, 4, 5, 9])
async def test_next_process_redoes_what_was_not_delivered(
    broker: FoundBroker, names: TopicNames, strength: int, submitters: int
) -> None:
    """Wherever it dies: every alert is there once, every frame is done, and none is passed unanswered."""
    await create_topics(broker.connection, names, partitions=1)
    group = Group(broker, names)
    await group.publish(FILM)
    config = replace(QUICK, buckets=(1,), submitters=submitters)
    with pytest.raises(DeviceLost, match=f"lost at batch {strength}"):
        async with group.worker(config=config, device=DyingDevice(strength=strength)) as first:
            await first.running
    before = (await group.record()).resume_offset
    assert before <= strength
    async with group.worker(config=config) as second:
        await second.answered(len(FILM) - before)
        await second.stop()
    assert sum(second.device.batches) == len(FILM) - before
    assert await group.kinds() == TOLD
    own, cameras = await group.state()
    assert own is not None
    assert (own.resume_offset, cameras["den"].cursor.offset, own.clean) == (len(FILM), len(FILM), True)


async def test_command_ends_with_a_status_of_its_own(broker: FoundBroker, names: TopicNames) -> None:
    """3 and the device's sentence, no traceback; the frame that it died at is not committed."""
    await create_topics(broker.connection, names, partitions=1)
    group = Group(broker, names)
    await group.publish(FILM[:1])
    where = ["--bootstrap-servers", broker.bootstrap_servers, "--frames-topic", names.frames]
    arguments = ["worker", *where, "--alerts-topic", names.alerts, "--group", names.group]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DYING_WORKER, *arguments, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (await group.state())[0] is None or (await group.record()).resume_offset < 1:
                assert process.returncode is None, await process.stderr.read()
            await group.publish(FILM[1:2], 1)
            said = (await process.stderr.read()).decode()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 3, said
    assert "cuda:0 fell off the bus: reset it" in said.replace("\n", " ")
    assert "Traceback" not in said
    assert (await group.record()).resume_offset == 1
