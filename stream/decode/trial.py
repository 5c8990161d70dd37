"""Decodes a record that may have killed a worker, in a child process where it can do no harm.

Only a death by a fault of the program (SIGSEGV and its like), or a decoder that does not come back, speaks against a record, and
only if it happens twice: a child that was killed from outside says nothing about what it was doing. A decoder's fault may need
the access units before the one at which it dies. So those since the last keyframe are kept, and fed to a new child first.
"""

import asyncio
import logging
import pickle
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from stream.decode.request import DecodeRequest, Fault, refuse
from stream.decode.trial_child import LENGTH, Said
from stream.errors import StreamError
from stream.types import FramePacket

log = logging.getLogger(__name__)

FAULTS = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE})
"""Signals that a process brings upon itself."""
STRIKES = 2
"""So often a record must kill or stop its decoder."""
MAX_TRIES = 8
"""Children of one record."""
START_TIMEOUT_S = 30.0
HISTORY_BYTES = 128 * 1024**2
"""Of access units that are kept for a new child, over all cameras. One whose share is dropped goes on at its next keyframe if
the child ends before that."""

_ROOT = Path(__file__).parents[2]
_PROGRAM = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from stream.decode.trial_child import serve; serve()"


class _Ended(Exception):
    """The child is gone, for a reason that is not the record's."""


@dataclass(slots=True)
class _History:
    """What each camera's decoder was fed from its last keyframe on, least recently used first."""

    size_bytes: int = 0
    _units: dict[str, list[FramePacket]] = field(default_factory=dict)

    def of(self, camera_id: str) -> tuple[FramePacket, ...]:
        """Give a camera's access units in the order in which they were fed."""
        return tuple(self._units.get(camera_id, ()))

    def add(self, packet: FramePacket, said: Said) -> None:
        """Keep what a child has survived, as far as later records depend on it."""
        camera_id = packet.camera_id
        if said is Said.REPEATED:
            return
        if said is not Said.WENT_ON:
            self.drop(camera_id)
        if said is Said.BEGAN or (said is Said.WENT_ON and camera_id in self._units):
            self._units[camera_id] = [*self._units.pop(camera_id, ()), packet]
            self.size_bytes += len(packet.payload)
        while self.size_bytes > HISTORY_BYTES:
            self.drop(next(iter(self._units)))

    def drop(self, camera_id: str) -> None:
        """Forget a camera."""
        self.size_bytes -= sum(len(packet.payload) for packet in self._units.pop(camera_id, ()))


@dataclass(slots=True)
class Trial:
    """The child and its questions, one record at a time. A record is to be offered once, in the order of its partition."""

    time_limit_s: float = 20.0
    """A decoder that takes longer does not come back."""
    _child: asyncio.subprocess.Process | None = None
    _is_asked: bool = False
    """The child owes an answer; if nobody waits for it any more, it cannot be asked again."""
    _history: _History = field(default_factory=_History)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def pid(self) -> int | None:
        """Process id of the child that is asked or may be asked; None if there is none."""
        return None if self._child is None else self._child.pid

    async def attempt(self, packet: FramePacket, request: DecodeRequest) -> None:
        """Decode a packet aside. Returning says only that the decoder survived it.

        Raises:
            UnusableRecord: stage `decode`; twice it killed its decoder, or its decoder did not come back.
            StreamError: no child could be kept alive, for reasons that are not the record's.
        """
        async with self._lock:
            strikes, end = 0, ""
            for _ in range(MAX_TRIES):
                try:
                    fault = await self._try(packet, request)
                except _Ended as error:
                    end = str(error)
                    log.warning("the process that tries records aside %s, at %s: starting another", end, packet.position)
                    continue
                if fault is None:
                    return
                strikes += 1
                log.warning("%s %s, %d of %d times", packet.position, fault.value, strikes, STRIKES)
                if strikes == STRIKES:
                    self._history.drop(packet.camera_id)
                    raise refuse(fault, _VERDICTS[fault].format(packet.content_type, self.time_limit_s))
        msg = f"the process that tries records aside ended {MAX_TRIES} times, the last one {end}: free memory, or see who ends it"
        raise StreamError(msg)

    async def close(self) -> None:
        """End the child and forget what it was fed; no attempt may be running. A later one starts another child."""
        self._history = _History()
        await self._end()

    async def _try(self, packet: FramePacket, request: DecodeRequest) -> Fault | None:
        """Ask a child; give the fault that ended it.

        Raises:
            _Ended: it ended for another reason.
        """
        answer = await self._ask(packet, request)
        earlier = self._history.of(packet.camera_id)
        if answer is Said.NEEDS_KEYFRAME and earlier:
            for each in earlier:
                if isinstance(await self._ask(each, request), Fault):
                    msg = f"failed at {each.position}, which it had survived before"
                    raise _Ended(msg)
            answer = await self._ask(packet, request)
        if isinstance(answer, Fault):
            return answer
        self._history.add(packet, answer)
        return None

    async def _ask(self, packet: FramePacket, request: DecodeRequest) -> Said | Fault:
        child = await self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        question = pickle.dumps((packet, request, self.time_limit_s))
        self._is_asked = True
        try:
            async with asyncio.timeout(self.time_limit_s):
                child.stdin.write(LENGTH.pack(len(question)) + question)
                await child.stdin.drain()
                answer = Said(await child.stdout.readexactly(1))
        except TimeoutError:
            await self._end()
            return Fault.HANGS_DECODER
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            status = await child.wait()
            await self._end()
            if -status in FAULTS:
                return Fault.KILLS_DECODER
            raise _Ended(_words(status)) from error
        self._is_asked = False
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is not None and (self._is_asked or self._child.returncode is not None):
            await self._end()
        if self._child is None:
            self._child = await _start()
        return self._child

    async def _end(self) -> None:
        child, self._child, self._is_asked = self._child, None, False
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()


_VERDICTS = {
    Fault.KILLS_DECODER: f"the decoder of {{}} dies of it, {STRIKES} times of {STRIKES}",
    Fault.HANGS_DECODER: f"the decoder of {{}} does not come back within {{:g}} s, {STRIKES} times of {STRIKES}",
}


async def _start() -> asyncio.subprocess.Process:
    """Start a child and wait until it can be asked.

    Raises:
        _Ended: it died, or did not come up in time.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            Said(await child.stdout.readexactly(1))
    except asyncio.IncompleteReadError as error:
        raise _Ended(_words(await child.wait())) from error
    except BaseException as error:
        child.kill()
        await child.wait()
        if isinstance(error, TimeoutError):
            msg = f"did not start within {START_TIMEOUT_S:g} s"
            raise _Ended(msg) from error
        raise
    return child


def _words(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}: see its message above"
