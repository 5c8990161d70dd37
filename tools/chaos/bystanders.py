"""Others on the frames topic: visitors that send one picture and are never heard of again, and records that nobody can use.

Each visitor must be seen once, lost once and forgotten; each unusable record must be dead-lettered once, whatever happens.
"""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from PIL import Image

from stream.kafka.connection import KafkaConnection
from stream.wire import FrameHead, frame_headers
from tools.chaos import pictures
from tools.chaos.cameras import SOURCE
from tools.chaos.check import Published
from tools.chaos.reading import read_all
from tools.chaos.truth import Code, Script
from tools.chaos.visits import Overdue, Sent

VISITOR = "visitor-"
MARK_HEADER = "oracle.mark"
"""Name of an unusable record, by which its dead letter is found."""
EVERY_S = 0.7
REQUEST_TIMEOUT_MS = 5_000
_CAMERA_NUMBER = 255
"""Of every visitor's picture."""


@dataclass(slots=True)
class Bystanders:
    """Publish, until cancelled, and remember what the brokers have."""

    connection: KafkaConnection
    topic: str
    script: Script
    draw: random.Random
    visitors: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    async def publish(self) -> None:
        """Send one of each, every now and then; what was not acknowledged may or may not be there, and stands in no list."""
        while True:
            producer = AIOKafkaProducer(
                **self.connection.client_options(), enable_idempotence=True, request_timeout_ms=REQUEST_TIMEOUT_MS
            )
            try:
                with contextlib.suppress(KafkaError):
                    await producer.start()
                    while True:
                        await self._visit(producer)
                        await self._spoil(producer)
                        await asyncio.sleep(EVERY_S)
            finally:
                await producer.stop()
            await asyncio.sleep(EVERY_S)

    async def _visit(self, producer: AIOKafkaProducer) -> None:
        name = f"{VISITOR}{uuid4()}"
        number = len(self.visitors)
        picture = pictures.draw(pictures.Carried(_CAMERA_NUMBER, number, (Code.NO,) * pictures.BEHAVIORS), 64, 64)
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        head = FrameHead(name, self.script.base_s + float(number), "image/png", SOURCE, str(uuid4()), 0)
        self.visitors.append(name)
        await producer.send_and_wait(
            self.topic, file.getvalue(), key=name.encode(), partition=self._partition(), headers=frame_headers(head)
        )

    async def _spoil(self, producer: AIOKafkaProducer) -> None:
        mark = str(uuid4())
        key, value = self.draw.choice(((None, b"no key"), (b"oracle-00", b"no picture"), (b"stranger", b"\x89PNG\r\n\x1a\n cut")))
        self.unusable.append(mark)
        headers = [(MARK_HEADER, mark.encode())]
        await producer.send_and_wait(self.topic, value, key=key, partition=self._partition(), headers=headers)

    def _partition(self) -> int:
        return self.draw.randrange(self.script.partitions)


def visitors_mistakes(alerts: list[Published], sent: set[str], late: Overdue) -> list[str]:
    """Name the visitors that were not seen once, or lost more than once, or not lost or forgotten although it is time."""
    seen: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    other = []
    for each in alerts:
        camera = each.alert.camera
        if camera.startswith(VISITOR):
            if each.alert.type == "pawsight.camera.seen":
                seen[camera] += 1
            elif each.alert.type == "pawsight.camera.lost":
                lost[camera] += 1
            else:
                other.append(f"{camera} has {each.alert.type}")
    wrong = [f"{camera} was seen {seen[camera]} times" for camera in sent if seen[camera] != 1]
    wrong += [f"{camera} was seen, but never came" for camera in seen if camera not in sent]
    wrong += [f"{camera} was lost {count} times" for camera, count in lost.items() if count > 1]
    wrong += [f"{camera} fell silent long ago, and was not lost" for camera in late.lost if not lost[camera]]
    return wrong + [f"{camera} fell silent long ago, and has a state" for camera in late.kept] + other


async def dead_letters_mistakes(connection: KafkaConnection, frames_topic: str, dead_letters_topic: str) -> list[str]:
    """Name the records that nobody could use, by what lies on the frames topic, and are not dead-lettered exactly once.

    Raises:
        KafkaError: the brokers do not answer.
        TimeoutError: a transaction stays open.
    """
    there = [dict(each.headers).get(MARK_HEADER) async for each in read_all(connection, frames_topic, "read_uncommitted")]
    letters = [dict(each.headers).get(MARK_HEADER) async for each in read_all(connection, dead_letters_topic, "read_committed")]
    return letters_mistakes(there, letters)


def letters_mistakes(there: Iterable[bytes | None], letters: Iterable[bytes | None]) -> list[str]:
    """Judge dead letters by the marks of all frames and those of all dead letters; None is a record without one."""
    wanted, found = Counter(mark for mark in there if mark is not None), Counter(letters)
    wrong = [
        f"{mark!r} was sent {wanted[mark]} times, dead-lettered {found[mark]} times"
        for mark in wanted
        if wanted[mark] != found[mark]
    ]
    return wrong + [f"{mark!r} was dead-lettered, but never sent" for mark in found if mark not in wanted]


async def visitors_sent(connection: KafkaConnection, frames_topic: str) -> tuple[set[str], dict[int, Sent]]:
    """Read which visitors there were, and when all records were sent, by partition.

    Raises:
        KafkaError: the brokers do not answer.
    """
    visitors: set[str] = set()
    sent: defaultdict[int, Sent] = defaultdict(Sent)
    async for each in read_all(connection, frames_topic, "read_uncommitted"):
        sent[each.partition].offsets.append(each.offset)
        sent[each.partition].at_s.append(each.timestamp / 1000)
        if each.key is not None and each.key.startswith(VISITOR.encode()):
            visitors.add(each.key.decode())
    return visitors, sent
