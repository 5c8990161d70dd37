"""The child process of `stream.decode.trial`: does to a record what the worker would do, where it can do no harm.

It reads questions from standard input and answers each with one byte; it ends when its parent is gone. Whether a record is of
any use is not its concern: a decoder that refuses one has survived it.
"""

import math
import pickle
import resource
import signal
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, TypeAlias

from stream.decode import AccessUnitDecoder, DecodeRequest, decode
from stream.types import FramePacket
from stream.wire import ACCESS_UNIT_TYPES

MEMORY_BYTES = 4 * 1024**3
"""Address space: a record that asks for more fails in here, not on the worker's machine."""
MAX_DECODERS = 256
MAX_DECODER_BYTES = 2 * 1024**3
GRACE_S = 5.0
"""How long after the parent should have given up a child without a parent ends by itself."""

LENGTH = struct.Struct(">I")
"""Before each question: how many bytes it has."""
Question: TypeAlias = tuple[FramePacket, DecodeRequest, float]
"""A record, what is wanted of it, and the time limit in seconds; pickled."""


class Said(Enum):
    """The child's answers."""

    READY = b"r"
    """It has started."""
    ALONE = b"a"
    """It survived a record on which no later one depends."""
    BEGAN = b"b"
    """It survived an access unit with which its camera's decoding can begin."""
    WENT_ON = b"w"
    """It survived an access unit that continues what its decoder holds."""
    REPEATED = b"p"
    """An access unit that its decoder has had."""
    NEEDS_KEYFRAME = b"n"
    """An access unit to which it has no beginning: nothing was decoded."""


@dataclass(slots=True)
class _Camera:
    """One camera's access units."""

    decoder: AccessUnitDecoder
    content_type: str
    stream: str | None
    seq: int | None

    def breaks_at(self, packet: FramePacket) -> bool:
        """Tell whether the worker would empty this decoder before the record."""
        if (packet.content_type, packet.stream) != (self.content_type, self.stream):
            return True
        return packet.seq is not None and self.seq is not None and packet.seq > self.seq + 1

    def end(self) -> None:
        """Empty and free the decoder."""
        self.decoder.drain(lambda _offset, _captured_at_s: True)
        self.decoder.close()


@dataclass(slots=True)
class _Decoders:
    """The cameras that send access units, least recently used first."""

    cameras: dict[str, _Camera] = field(default_factory=dict)

    def end(self, camera_id: str) -> None:
        """Forget a camera, if it is there."""
        camera = self.cameras.pop(camera_id, None)
        if camera is not None:
            camera.end()

    def feed(self, packet: FramePacket, request: DecodeRequest) -> Said:
        """Give an access unit to its camera's decoder."""
        camera = self.cameras.get(packet.camera_id)
        if camera is not None and camera.breaks_at(packet):
            self.end(packet.camera_id)
            camera = None
        if camera is None:
            decoder = AccessUnitDecoder(packet.content_type, request.size, request.limits)
            camera = _Camera(decoder, packet.content_type, packet.stream, None)
        elif packet.seq is not None and camera.seq is not None and packet.seq <= camera.seq:
            return Said.REPEATED
        self.cameras.pop(packet.camera_id, None)
        begins = camera.decoder.is_keyframe(packet)
        if camera.decoder.needs_keyframe and not begins:
            return Said.NEEDS_KEYFRAME
        camera.seq = packet.seq
        self.cameras[packet.camera_id] = camera
        self._make_room()
        camera.decoder.feed(packet, lambda _offset, _captured_at_s: True)
        return Said.BEGAN if begins else Said.WENT_ON

    def _make_room(self) -> None:
        while len(self.cameras) > 1 and self._is_over():
            self.end(next(iter(self.cameras)))

    def _is_over(self) -> bool:
        held = sum(camera.decoder.memory_bytes for camera in self.cameras.values())
        return len(self.cameras) > MAX_DECODERS or held > MAX_DECODER_BYTES


def serve() -> None:
    """Answer until the parent is gone."""
    _protect()
    decoders = _Decoders()
    _answer(Said.READY)
    while (question := _next_question(sys.stdin.buffer)) is not None:
        packet, request, limit_s = question
        # a parent that is killed cannot end a decoder that does not come back: the kernel does
        signal.alarm(math.ceil(limit_s + GRACE_S))
        said = _try(packet, request, decoders)
        signal.alarm(0)
        _answer(said)


def _try(packet: FramePacket, request: DecodeRequest, decoders: _Decoders) -> Said:
    try:
        if packet.content_type in ACCESS_UNIT_TYPES:
            return decoders.feed(packet, request)
        decoders.end(packet.camera_id)
        decode(packet, request, lambda _: True)
    except Exception:  # noqa: BLE001  (whatever a decoder raises, it has survived; the worker's own will say what is wrong)
        decoders.cameras.pop(packet.camera_id, None)
    return Said.ALONE


def _next_question(source: BinaryIO) -> Question | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = source.read(length)
    if len(body) < length:
        return None
    question: Question = pickle.loads(body)  # noqa: S301  (our own parent's words)
    return question


def _answer(said: Said) -> None:
    with suppress(BrokenPipeError):  # the parent is gone: so is standard input
        sys.stdout.buffer.write(said.value)
        sys.stdout.buffer.flush()


def _protect() -> None:
    """Bound memory, write no core files, and leave Ctrl-C to the parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    memory = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
