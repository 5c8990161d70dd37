"""One Apache Kafka process (KRaft, broker and controller in one) on loopback, from jars that are already there.

It lives in a process group of its own, so that the terminal's Ctrl-C reaches only the tool, and it ends with the tool however
that ends: a shell beside it waits on a pipe that only the tool holds open.
"""

import base64
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.kafka.topology import DEAD_LETTER_MAX_BYTES
from tools.broker.probe import answers
from tools.errors import CommandError

HOST = "127.0.0.1"
START_TIMEOUT_S = 180.0
"""3 s on an idle machine, 12 s with hundreds of partitions to recover after a kill -9; minutes where others hold all cores."""
STOP_TIMEOUT_S = 20.0

_LOG_CONFIG = Path(__file__).parent / "log4j2.properties"
_ON_A_LEASH = 'exec 3<&0 </dev/null; (read -r _ <&3; kill -TERM $$) & exec 3<&-; exec "$@"'
"""`read` returns when the writing end of standard input, held by the tool alone, is closed: by us or by the tool's end."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a broker is to be started."""

    libs: Path
    """Folder of jars (`tools.broker.jars`)."""
    port: int | None = None
    """Port on loopback; None takes a free one."""
    data_dir: Path | None = None
    """Folder that keeps topics and records; None is a temporary one, thrown away at the end."""


@dataclass(slots=True)
class Broker:
    """A running broker, as a context manager. Blocks while it starts (about 3 s) and stops (about 1 s)."""

    launch: Launch
    version: str
    name: str = "Apache Kafka"
    port: int = field(default=0, init=False)
    _folder: Path = field(default=Path(), init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return f"{HOST}:{self.port}"

    @property
    def folder(self) -> Path:
        """Folder with the broker's settings, its log (`broker.log`) and its data."""
        return self._folder

    def __enter__(self) -> Self:
        """Start and wait for the first answer.

        Raises:
            CommandError: the port is in use, the data folder cannot be used, or the broker did not come up.
        """
        self.port = _free_port() if self.launch.port is None else _checked_port(self.launch.port)
        self._folder = _data_folder(self.launch.data_dir)
        try:
            self._configure()
            self._start()
            self._await_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Stop cleanly within a bound; throw a temporary folder away."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.launch.data_dir is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self) -> None:
        """Block until the broker ends by itself, which it never should.

        Raises:
            CommandError: it did, with the end of its log.
        """
        assert self._process is not None, "not running"
        status = self._process.wait()
        msg = f"the broker ended by itself (exit status {status}). The end of its log:\n{self._log_tail()}"
        raise CommandError(msg)

    def _configure(self) -> None:
        controller = _free_port()
        settings = _server_properties(self.port, controller, self._folder / "data")
        (self._folder / "server.properties").write_text(settings, encoding="utf-8")
        if (self._folder / "data" / "meta.properties").is_file():
            return
        format_storage = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", self._file("server.properties")]
        done = subprocess.run(
            [*self._java("-Xmx128m", "-XX:TieredStopAtLevel=1"), *format_storage, "--ignore-formatted"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"formatting the broker's storage in {self._folder} failed:\n{(done.stdout + done.stderr).strip()[-1500:]}"
            raise CommandError(msg)

    def _start(self) -> None:
        command = [*self._java("-Xms256m", "-Xmx512m"), "kafka.Kafka", self._file("server.properties")]
        with (self._folder / "console.log").open("wb") as console:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _ON_A_LEASH, "broker", *command],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_answer(self) -> None:
        assert self._process is not None
        until_s = time.monotonic() + START_TIMEOUT_S
        while not answers(HOST, self.port):
            if self._process.poll() is not None:
                msg = (
                    f"the broker ended at once (exit status {self._process.returncode}). The end of its log:\n{self._log_tail()}"
                )
                raise CommandError(msg)
            if time.monotonic() > until_s:
                msg = f"the broker did not answer within {START_TIMEOUT_S:.0f} s. The end of its log:\n{self._log_tail()}"
                raise CommandError(msg)
            time.sleep(0.05)

    def _java(self, *options: str) -> list[str]:
        logging = [f"-Dlog4j2.configurationFile={_LOG_CONFIG}", f"-Dpawsight.broker.log={self._file('broker.log')}"]
        return ["java", *options, *logging, "-cp", f"{self.launch.libs}/*"]

    def _file(self, name: str) -> str:
        return str(self._folder / name)

    def _log_tail(self) -> str:
        lines: list[str] = []
        for name in ("console.log", "broker.log"):
            path = self._folder / name
            if path.is_file():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return "\n".join(lines)


def _server_properties(port: int, controller_port: int, data: Path) -> str:
    """One node that is broker and controller; replication factors and group delay of a single node."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(DEAD_LETTER_MAX_BYTES),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _cluster_id() -> str:
    """A random cluster id as Kafka writes them; one that begins with `-` would be taken for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _checked_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            kafka = f" by a Kafka broker (use it with --bootstrap-servers {HOST}:{port})" if answers(HOST, port) else ""
            msg = f"port {port} is taken{kafka}: {error.strerror}. Stop what listens there or choose another --port"
            raise CommandError(msg) from error
    return port


def _data_folder(kept: Path | None) -> Path:
    if kept is None:
        return Path(tempfile.mkdtemp(prefix="pawsight-broker-"))
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"data folder {kept}: {error.strerror}. Give another one with --data-dir"
        raise CommandError(msg) from error
    return kept.absolute()
