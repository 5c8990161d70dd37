"""Strangers that send much: stills of megabytes, and records as large that nobody can use, for workers that cannot go on.

What is sent is noise that was drawn once: it costs neither side more than its bytes.
"""

import asyncio
import random
import time
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import count
from uuid import uuid4

from aiokafka import AIOKafkaProducer
from PIL import Image

from stream.kafka.connection import KafkaConnection
from stream.kafka.topology import FRAME_MAX_BYTES
from stream.wire import FrameHead, frame_headers
from tools.chaos import pictures
from tools.chaos.bystanders import MARK_HEADER, VISITOR
from tools.chaos.cameras import SOURCE
from tools.chaos.truth import Code

RECORD_BYTES = 4 * 1024 * 1024
_STILL_EVERY = 4
"""One record of so many is a still, whose bytes are done with once it is decoded; a dead letter's stay until it is delivered."""
_CAMERA = 255
"""Of the pictures of strangers, which the judgement knows as visitors."""
_HEAD_BYTES = 33
"""Of a PNG: its signature and the chunk IHDR (ISO 15948, 5.2 and 11.2.2)."""


async def flood(connection: KafkaConnection, topic: str, partitions: Sequence[int], times: int, every_s: float) -> None:
    """Send so many records to each of some partitions, to all of them once every so many seconds.

    The judgement asks of them what it asks of all visitors and unusable records: seen once, dead-lettered once.

    Raises:
        KafkaError: the brokers do not take them.
    """
    noise = random.Random(_CAMERA).randbytes(RECORD_BYTES)
    ballast, numbers = _chunk(b"noIs", noise), count(0)
    stills = {partition: _stills(ballast, numbers) for partition in partitions}
    options = {"enable_idempotence": True, "max_request_size": FRAME_MAX_BYTES}
    async with AIOKafkaProducer(**connection.client_options(), **options) as producer:
        for number in range(times):
            for partition in partitions:
                if number % _STILL_EVERY == 0:
                    key, value, headers = next(stills[partition])
                else:
                    key, value, headers = b"stranger", noise, [(MARK_HEADER, str(uuid4()).encode())]
                await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)
            await asyncio.sleep(every_s)


def _stills(ballast: bytes, numbers: Iterator[int]) -> Iterator[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """Key, value and headers of the stills of one visitor; no other has its numbers."""
    camera, began_s = f"{VISITOR}{uuid4()}", float(int(time.time()))
    for number in numbers:
        picture = pictures.draw(pictures.Carried(_CAMERA, number, (Code.NO,) * pictures.BEHAVIORS), 64, 64)
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        png = file.getvalue()
        head = FrameHead(camera, began_s + number, "image/png", SOURCE, camera, number)
        yield camera.encode(), png[:_HEAD_BYTES] + ballast + png[_HEAD_BYTES:], frame_headers(head)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG (ISO 15948, 5.3); the case of its letters says that nobody needs to know it."""
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
