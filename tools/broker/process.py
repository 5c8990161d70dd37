"""One Apache Kafka process (KRaft, broker and controller in one) on loopback: started, ended and started again on its data."""

import base64
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tools.broker.leash import Leashed, start_on_leash
from tools.broker.ports import HOST
from tools.broker.probe import answers
from tools.broker.properties import Node
from tools.errors import CommandError

START_TIMEOUT_S = 180.0
"""3 s on an idle machine, 12 s with hundreds of partitions to recover after a kill -9; minutes where others hold all cores."""
STOP_TIMEOUT_S = 20

_LOG_CONFIG = Path(__file__).parent / "log4j2.properties"


def draw_cluster_id() -> str:
    """A random cluster id as Kafka writes them; one that begins with `-` would be taken for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


@dataclass(slots=True)
class BrokerProcess:
    """A node's process. Its methods block: a start about 3 s, a stop about 1 s."""

    libs: Path
    """Folder of jars (`tools.broker.jars`)."""
    folder: Path
    """Holds `server.properties`, the logs (`broker.log`, `console.log`) and the data."""
    node: Node
    properties: str
    """Text of the settings file (`tools.broker.properties`)."""
    heap_mib: int
    """Largest Java heap."""
    cluster_id: str = field(default_factory=draw_cluster_id)
    """With which new storage is formatted."""
    _leashed: Leashed | None = field(default=None, init=False)

    @property
    def is_running(self) -> bool:
        """Whether there is a process, be it one that is paused."""
        return self._leashed is not None and self._leashed.process.poll() is None

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def start(self) -> None:
        """Start, and wait for the first answer.

        Raises:
            CommandError: the data cannot be used, or the broker did not come up.
        """
        self.begin()
        self.await_answer()

    def begin(self) -> None:
        """Start without waiting: a node of a cluster answers no earlier than most of the others are there.

        Raises:
            CommandError: its storage cannot be formatted.
        """
        assert not self.is_running, "runs already"
        self._format()
        heap = [f"-Xms{min(256, self.heap_mib)}m", f"-Xmx{self.heap_mib}m"]
        command = [*self._java(*heap), "kafka.Kafka", self._file("server.properties")]
        self._leashed = start_on_leash(command, self.folder / "console.log", grace_s=STOP_TIMEOUT_S)

    def await_answer(self) -> None:
        """Wait for the first answer on the port for clients.

        Raises:
            CommandError: the process ended, or 180 s passed; with the end of its log.
        """
        process = self._process
        until_s = time.monotonic() + START_TIMEOUT_S
        while not answers(HOST, self.node.port):
            if process.poll() is not None:
                msg = f"the broker ended at once (exit status {process.returncode}). The end of its log:\n{self._log_tail()}"
                raise CommandError(msg)
            if time.monotonic() > until_s:
                msg = f"the broker did not answer within {START_TIMEOUT_S:.0f} s. The end of its log:\n{self._log_tail()}"
                raise CommandError(msg)
            time.sleep(0.05)

    def ask_to_stop(self) -> None:
        """Send SIGTERM and do not wait, so that the nodes of a cluster stop side by side. One that is paused goes on for it."""
        if self._leashed is not None:
            self._leashed.let_go()

    def stop(self) -> None:
        """Stop cleanly, within 20 s by force. Nothing happens to one that does not run."""
        if self._leashed is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._leashed = None

    def kill(self) -> None:
        """End it with kill -9: nothing is written back, closed or handed over. Nothing happens to one that does not run."""
        if self._leashed is not None:
            self._process.kill()
            self._process.wait()
            self._leashed.let_go()
            self._leashed = None

    def pause(self) -> None:
        """Make it stand still (SIGSTOP): its connections stay open and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.send_signal(signal.SIGCONT)

    def wait(self) -> None:
        """Block until the broker ends by itself, which it never should.

        Raises:
            CommandError: it did, with the end of its log.
        """
        status = self._process.wait()
        msg = f"the broker ended by itself (exit status {status}). The end of its log:\n{self._log_tail()}"
        raise CommandError(msg)

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._leashed is not None, "not started"
        return self._leashed.process

    def _format(self) -> None:
        (self.folder / "server.properties").write_text(self.properties, encoding="utf-8")
        if (self.folder / "data" / "meta.properties").is_file():
            return
        format_storage = ["kafka.tools.StorageTool", "format", "-t", self.cluster_id, "-c", self._file("server.properties")]
        done = subprocess.run(
            [*self._java("-Xmx128m", "-XX:TieredStopAtLevel=1"), *format_storage, "--ignore-formatted"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            msg = f"formatting the broker's storage in {self.folder} failed:\n{(done.stdout + done.stderr).strip()[-1500:]}"
            raise CommandError(msg)

    def _java(self, *options: str) -> list[str]:
        logging = [f"-Dlog4j2.configurationFile={_LOG_CONFIG}", f"-Dpawsight.broker.log={self._file('broker.log')}"]
        return ["java", *options, *logging, "-cp", f"{self.libs}/*"]

    def _file(self, name: str) -> str:
        return str(self.folder / name)

    def _log_tail(self) -> str:
        lines: list[str] = []
        for name in ("console.log", "broker.log"):
            path = self.folder / name
            if path.is_file():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        return "\n".join(lines)
