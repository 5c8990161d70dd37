"""Where a broker comes from, in order: the one that was named, one of our own, or a sentence that lists the ways to get one."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import reachable
from tools import settings
from tools.broker.jars import kafka_version, resolve_jars
from tools.broker.launch import Broker, Launch
from tools.errors import CommandError

MIN_JAVA = 17
"""Apache Kafka 4's servers need it."""

WAYS = f"""\
no Kafka broker: {{reason}}. Any of these gives one:
  - one that runs already:  --bootstrap-servers HOST:PORT
  - Java {MIN_JAVA} or newer and Maven, with which this command starts Apache Kafka itself:
      apt install openjdk-17-jre-headless maven     (macOS: brew install openjdk maven)
  - a container:  docker run --rm -p 9092:9092 apache/kafka:4.1.2
      and then    --bootstrap-servers 127.0.0.1:9092"""


@dataclass(frozen=True, slots=True)
class FoundBroker:
    """A broker that answers."""

    name: str
    version: str
    """`unknown` for one that we did not start: Kafka's protocol does not tell."""
    connection: KafkaConnection
    own: Broker | None = None
    """The process, if we started it."""

    @property
    def bootstrap_servers(self) -> str:
        """Address for clients."""
        return self.connection.bootstrap_servers


@contextmanager
def find_broker(bootstrap_servers: str | None, *, port: int | None = None, data_dir: Path | None = None) -> Iterator[FoundBroker]:
    """Use the broker that is named, else start one for as long as the block lasts.

    Args:
        bootstrap_servers: `HOST:PORT,...` of one that exists.
        port: port for one of our own; None takes a free one.
        data_dir: folder that keeps its data; None is a temporary one.

    Raises:
        CommandError: there is none and none can be started.
        SourceLost, StreamRefused: the one that is named does not answer or does not let us in.
    """
    if bootstrap_servers is not None:
        connection = settings.kafka_connection(bootstrap_servers)
        asyncio.run(reachable(connection))
        yield FoundBroker("Kafka", "unknown", connection)
        return
    with Broker(Launch(broker_jars(), port, data_dir), kafka_version()) as broker:
        yield FoundBroker(broker.name, broker.version, KafkaConnection(broker.bootstrap_servers), broker)


def broker_jars() -> Path:
    """Folder of the jars with which a broker can be started here, fetched if need be.

    Raises:
        CommandError: Java or Maven are missing, or the jars cannot be fetched; with all ways to a broker.
    """
    reason = why_no_broker()
    if reason is not None:
        raise CommandError(WAYS.format(reason=reason))
    return resolve_jars(settings.cache_dir())


def why_no_broker() -> str | None:
    """Why none can be started on this machine; None if one can."""
    if shutil.which("java") is None:
        return "`java` was not found on PATH"
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < MIN_JAVA:
        return f"Java is {version[1] if version else 'of no known version'}, and Apache Kafka needs {MIN_JAVA} or newer"
    if shutil.which("mvn") is None:
        return "Maven's `mvn` was not found on PATH"
    return None
