"""Ports on loopback for servers that are started, ended and started again."""

import random
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"

_RANGE = range(20_000, 32_768)
"""Below the ports that Linux (32768) and macOS (49152) give to outgoing connections: while a server is down, a client that tries
its port again and again could else be given that very port as its own, and be connected to itself."""
_MAX_TRIES = 500


def free_ports(count: int) -> list[int]:
    """Draw ports on which nothing listens, all different.

    Raises:
        OSError: none was found in 500 tries.
    """
    with ExitStack() as held:
        drawn: list[int] = []
        for port in random.sample(_RANGE, _MAX_TRIES):
            if len(drawn) == count:
                return drawn
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            drawn.append(port)
    msg = f"no {count} free ports between {_RANGE.start} and {_RANGE.stop} on {HOST}"
    raise OSError(msg)
