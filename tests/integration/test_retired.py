"""What is left of a partition's writer that was given up: nothing, whatever the cluster answers afterwards."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.integration.error_bench import NAMES, benches
from tests.integration.error_table import WRITING, Code
from tests.integration.mock_cluster import MockCluster, mock_clusters

pytestmark = pytest.mark.asyncio

LATE_MS = 700


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
