"""A child process that does not outlive this one, however this one ends.

A shell beside the child waits on a connection of which only we hold the other end: whether we close it or are killed, the shell
then ends the child, also one that stands still by SIGSTOP.
"""

import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LEASH = (
    "exec 3<&0 </dev/null; "
    '(echo >&3; read -r _ <&3; n=$0; [ "$n" -gt 0 ] && kill -TERM $$; kill -CONT $$; '
    'while [ "$n" -gt 0 ]; do kill -0 $$ || exit; sleep 1; n=$((n - 1)); done; kill -KILL $$) 2>/dev/null & '
    'exec 3<&-; exec "$@"'
)
"""`echo` tells us that the shell holds its end, `read` returns when ours is closed; `$$` is the child."""


@dataclass(frozen=True, slots=True)
class Leashed:
    """A child process, and the connection on which its life hangs."""

    process: subprocess.Popen[bytes]
    _ours: socket.socket

    def let_go(self) -> None:
        """End the process, if it has not ended yet. Does not wait."""
        self._ours.close()


def start_on_leash(command: Sequence[str], output: Path, *, grace_s: int) -> Leashed:
    """Start a program in a session of its own, so that the terminal's Ctrl-C reaches only us.

    Args:
        command: the program and its arguments.
        output: file to which its standard output and standard error are appended.
        grace_s: seconds it has between the SIGTERM and the SIGKILL that end it when the leash is let go; 0 is a SIGKILL at once.

    Raises:
        OSError: the output file cannot be written.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs, output.open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LEASH, str(grace_s), *command],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError:
        ours.close()
        raise
    ours.recv(1)  # from here on it can be stopped and killed in any order
    return Leashed(process, ours)
