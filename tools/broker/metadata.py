"""What one broker knows of its cluster: who is there, and which partitions lack copies.

Plain text only, with no client library: it asks while brokers start and end.
"""

import socket
import struct
from dataclasses import dataclass

from tools.broker.probe import read_exactly

_METADATA, _VERSION = 3, 1
_CORRELATION_ID = 11
_ALL_TOPICS = -1


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A broker's view of its cluster."""

    brokers: int
    """How many are registered and alive."""
    short: int
    """Partitions with fewer copies in sync than they should have."""
    leaderless: int
    """Partitions that nobody can write to or read from."""


def cluster_view(host: str, port: int, timeout_s: float = 2.0) -> ClusterView | None:
    """Send Metadata v1 for all topics (Kafka protocol guide, "Metadata API"); None if no answer came."""
    body = struct.pack(">hhihi", _METADATA, _VERSION, _CORRELATION_ID, -1, _ALL_TOPICS)
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            head = read_exactly(connection, 4)
            answer = read_exactly(connection, *struct.unpack(">i", head)) if len(head) == 4 else b""  # noqa: PLR2004  (an int32)
    except OSError:
        return None
    return _view(_Fields(answer)) if answer else None


@dataclass(slots=True)
class _Fields:
    """Reads Kafka's primitive types one after the other (protocol guide, "Protocol Primitive Types")."""

    data: bytes
    at: int = 0

    def number(self, kind: str) -> int:
        """A big-endian number of a struct format: b, h, i."""
        (value,) = struct.unpack_from(f">{kind}", self.data, self.at)
        self.at += struct.calcsize(kind)
        return int(value)

    def skip_string(self) -> None:
        """A nullable string: its length as int16, -1 for null, then its bytes."""
        length = self.number("h")
        self.at += max(0, length)

    def numbers(self) -> list[int]:
        """An array of int32."""
        return [self.number("i") for _ in range(self.number("i"))]


def _view(fields: _Fields) -> ClusterView:
    fields.number("i")  # correlation id
    brokers = fields.number("i")
    for _ in range(brokers):
        fields.number("i")
        fields.skip_string()
        fields.number("i")
        fields.skip_string()
    fields.number("i")  # controller
    short = leaderless = 0
    for _ in range(fields.number("i")):
        fields.number("h")
        fields.skip_string()
        fields.number("b")
        for _ in range(fields.number("i")):
            fields.number("h")
            fields.number("i")
            leaderless += fields.number("i") < 0
            replicas, in_sync = fields.numbers(), fields.numbers()
            short += len(in_sync) < len(replicas)
    return ClusterView(brokers, short, leaderless)
