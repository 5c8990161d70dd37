"""What is left of a partition's clients that were given up: nothing, whatever the cluster answers afterwards."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest

from stream.kafka.partition_client import PartitionClient
from tests.integration.error_bench import NAMES, benches
from tests.integration.error_table import WRITING, Code
from tests.integration.mock_cluster import MockCluster, mock_clusters

pytestmark = pytest.mark.asyncio

LATE_MS = 700
METADATA = 3
"""Its number among the requests (Kafka protocol guide, "API Keys")."""


async def _restore(client: PartitionClient) -> None:
    async for _ in client.state_records(end=1):
        pass


STEPS: dict[str, Callable[[PartitionClient], Awaitable[object]]] = {
    "clear": PartitionClient.clear,
    "init": PartitionClient.init,
    "restore": _restore,
    "found": lambda client: client.found(0),
}
"""What has a client of its own."""


@pytest.fixture
def mocks() -> Iterator[list[MockCluster]]:
    """One cluster with the topics."""
    with mock_clusters(1) as clusters:
        for topic in (NAMES.frames, NAMES.alerts, NAMES.state):
            clusters[0].create_topic(topic)
        yield clusters


@pytest.mark.parametrize("code", [Code.INVALID_PRODUCER_EPOCH, Code.UNKNOWN_SERVER_ERROR], ids=lambda code: code.name)
async def test_a_commit_that_fails_after_it_was_given_up_leaves_no_connection(mocks: list[MockCluster], code: Code) -> None:
    """The writer is stopped while its commit is under way; then the answer is an error, with which its sender ends."""
    async with benches(mocks) as (bench,):
        before = asyncio.all_tasks()
        client = bench.client()
        await client.init()
        await client.begin()
        await client.send_alerts(((b"den", b"{}", []),))
        bench.mock.answer_late(WRITING["EndTxn"].key, code, LATE_MS)
        commit = asyncio.create_task(client.commit())
        await asyncio.sleep(LATE_MS / 2000)
        assert not commit.done()
        client.discard()
        await bench.retired.gone(30.0)
        await asyncio.gather(commit, return_exceptions=True)
        assert not len(bench.retired)
        await asyncio.sleep(0.1)  # the connections end a step after they were closed
        assert not asyncio.all_tasks() - before


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_is_cancelled_while_it_bootstraps_leaves_no_connection(
    mocks: list[MockCluster], step: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The metadata comes late, and the partition is taken away before; whoever keeps the cancelled task keeps no connection."""
    async with benches(mocks) as (bench,):
        before = asyncio.all_tasks()
        client = bench.client()
        bench.mock.answer_late(METADATA, 0, LATE_MS)
        taking = asyncio.ensure_future(STEPS[step](client))
        await asyncio.sleep(LATE_MS / 2000)
        taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        client.discard()
        await bench.retired.gone(30.0)
        await asyncio.sleep(0.1)
        assert not asyncio.all_tasks() - before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_is_closing_closes_although_it_is_cancelled_again(mocks: list[MockCluster]) -> None:
    """The partition is taken away, and the worker ends while the client's first connection is still waited for."""
    async with benches(mocks) as (bench,):
        before = asyncio.all_tasks()
        bench.mock.answer_late(METADATA, 0, LATE_MS)
        taking = asyncio.ensure_future(bench.client().found(0))
        for _ in range(2):
            await asyncio.sleep(LATE_MS / 4000)
            assert not taking.done()
            taking.cancel()
        await asyncio.wait([taking])
        assert taking.cancelled()
        await asyncio.sleep(2 * LATE_MS / 1000)
        assert not asyncio.all_tasks() - before
