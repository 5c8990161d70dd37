"""A cluster of brokers on loopback: each node is broker and controller in one process, so a majority must run."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.broker.metadata import cluster_view
from tools.broker.ports import HOST
from tools.broker.process import START_TIMEOUT_S, BrokerProcess, draw_cluster_id
from tools.broker.properties import Node, server_properties
from tools.errors import CommandError

NODE_HEAP_MIB = 384
"""Three nodes and their workers must fit into a small machine."""
_SMALL = {"log.cleaner.dedupe.buffer.size": "16777216", "num.io.threads": "4", "num.network.threads": "2"}
"""The cleaner's buffer alone is 128 MiB of heap by default (Kafka's broker configuration reference)."""


@dataclass(frozen=True, slots=True)
class ClusterLaunch:
    """How a cluster is to be started."""

    libs: Path
    """Folder of jars (`tools.broker.jars`)."""
    size: int = 3
    """Number of nodes; from three on topics get three copies, of which two must be in sync."""
    advertised_ports: Sequence[int] | None = None
    """For each node the port that clients are told to use, where a proxy stands before it; None is each one's own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Broker settings (Kafka's names) that win over ours."""


@dataclass(slots=True)
class Cluster:
    """A running cluster, as a context manager; its data is thrown away at the end. Its methods block."""

    launch: ClusterLaunch
    version: str
    name: str = "Apache Kafka"
    nodes: tuple[BrokerProcess, ...] = field(default=(), init=False)
    """The nodes' processes; each can be ended and started again alone."""
    folder: Path = field(default=Path(), init=False)
    """Has one folder for each node."""

    @property
    def bootstrap_servers(self) -> str:
        """Addresses for clients."""
        return ",".join(f"{HOST}:{each.node.advertised_port}" for each in self.nodes)

    @property
    def direct_servers(self) -> str:
        """Addresses that go past whatever stands at `advertised_ports`."""
        return ",".join(f"{HOST}:{each.node.inner_port}" for each in self.nodes)

    def __enter__(self) -> Self:
        """Start all nodes and wait until they know of each other.

        Raises:
            CommandError: a node did not come up.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="pawsight-cluster-"))
        self.nodes = self._lay_out()
        try:
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                list(pool.map(BrokerProcess.begin, self.nodes))
            for each in self.nodes:
                each.await_answer()
            await_whole(self.nodes)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop all nodes within a bound and throw their data away."""
        for each in self.nodes:
            each.ask_to_stop()
        for each in self.nodes:
            each.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lay_out(self) -> tuple[BrokerProcess, ...]:
        advertised: Sequence[int | None] = self.launch.advertised_ports or [None] * self.launch.size
        nodes = [Node.draw(number, advertised_port=port) for number, port in enumerate(advertised, start=1)]
        cluster_id = draw_cluster_id()
        processes = []
        for node in nodes:
            folder = self.folder / f"node-{node.node_id}"
            folder.mkdir()
            properties = server_properties(node, nodes, folder / "data", _SMALL | dict(self.launch.settings))
            processes.append(BrokerProcess(self.launch.libs, folder, node, properties, NODE_HEAP_MIB, cluster_id))
        return tuple(processes)


def await_whole(nodes: Sequence[BrokerProcess], timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait until every node of a cluster sees all nodes, and every partition has all its copies in sync.

    Raises:
        CommandError: that did not come; says what each node sees.
    """
    until_s = time.monotonic() + timeout_s
    while True:
        views = [cluster_view(HOST, each.node.port) for each in nodes]
        if all(view is not None and view.brokers == len(nodes) and view.short == 0 for view in views):
            return
        if time.monotonic() > until_s:
            logs = ", ".join(str(each.folder) for each in nodes)
            msg = f"the cluster was not whole within {timeout_s:.0f} s: its nodes see {views}. Their logs are in {logs}"
            raise CommandError(msg)
        time.sleep(0.1)
