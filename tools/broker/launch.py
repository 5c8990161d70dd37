"""One broker for as long as a block lasts: its port, its folder, its process.

Knows nothing of where the jars come from or of topics.
"""

import shutil
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.broker.ports import HOST
from tools.broker.probe import answers
from tools.broker.process import BrokerProcess
from tools.broker.properties import Node, server_properties
from tools.errors import CommandError

HEAP_MIB = 512


@dataclass(frozen=True, slots=True)
class Launch:
    """How a broker is to be started."""

    libs: Path
    """Folder of jars (`tools.broker.jars`)."""
    port: int | None = None
    """Port on loopback; None takes a free one."""
    data_dir: Path | None = None
    """Folder that keeps topics and records; None is a temporary one, thrown away at the end."""
    advertised_port: int | None = None
    """Port that clients are told to use, where a proxy or a tunnel stands before the broker; None is its own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Broker settings (Kafka's names) that win over ours."""


@dataclass(slots=True)
class Broker:
    """A running broker, as a context manager. Blocks while it starts (about 3 s) and stops (about 1 s)."""

    launch: Launch
    version: str
    name: str = "Apache Kafka"
    port: int = field(default=0, init=False)
    folder: Path = field(default=Path(), init=False)
    """Folder with the broker's settings, its log (`broker.log`) and its data."""
    _process: BrokerProcess | None = field(default=None, init=False)

    @property
    def process(self) -> BrokerProcess:
        """The process, which can be ended and started again."""
        assert self._process is not None, "not running"
        return self._process

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"{HOST}:{self.process.node.advertised_port}"

    @property
    def direct_servers(self) -> str:
        """Address that goes past whatever stands at `advertised_port`."""
        return f"{HOST}:{self.process.node.inner_port}"

    def __enter__(self) -> Self:
        """Start and wait for the first answer.

        Raises:
            CommandError: the port is in use, the data folder cannot be used, or the broker did not come up.
        """
        if self.launch.port is not None:
            _check_port(self.launch.port)
        node = Node.draw(1, self.launch.port, self.launch.advertised_port)
        self.port = node.port
        self.folder = _data_folder(self.launch.data_dir)
        properties = server_properties(node, [node], self.folder / "data", self.launch.settings)
        self._process = BrokerProcess(self.launch.libs, self.folder, node, properties, HEAP_MIB)
        try:
            self._process.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop cleanly within a bound; throw a temporary folder away."""
        self.process.stop()
        if self.launch.data_dir is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def wait(self) -> None:
        """Block until the broker ends by itself, which it never should.

        Raises:
            CommandError: it did, with the end of its log.
        """
        self.process.wait()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            kafka = f" by a Kafka broker (use it with --bootstrap-servers {HOST}:{port})" if answers(HOST, port) else ""
            msg = f"port {port} is taken{kafka}: {error.strerror}. Stop what listens there or choose another --port"
            raise CommandError(msg) from error


def _data_folder(kept: Path | None) -> Path:
    if kept is None:
        return Path(tempfile.mkdtemp(prefix="pawsight-broker-"))
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"data folder {kept}: {error.strerror}. Give another one with --data-dir"
        raise CommandError(msg) from error
    return kept.absolute()
