"""Whether something at an address speaks Kafka's protocol: a bound port is not enough.

Plain text only, with no client library: it asks while a broker starts, many times a second.
"""

import socket
import struct

_API_VERSIONS = 18
_CORRELATION_ID = 7


def answers(host: str, port: int, timeout_s: float = 2.0) -> bool:
    """Send ApiVersions v0 and say whether its response came (Kafka protocol guide, "Retrieving Supported API versions")."""
    body = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION_ID, -1)
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            head = read_exactly(connection, 10)
    except OSError:
        return False
    if len(head) < 10:  # noqa: PLR2004  (size, correlation id, error code)
        return False
    _, correlation_id, error_code = struct.unpack(">iih", head)
    return (correlation_id, error_code) == (_CORRELATION_ID, 0)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read that many bytes, or fewer if the other end closes first."""
    received = b""
    while len(received) < size and (more := connection.recv(size - len(received))):
        received += more
    return received
