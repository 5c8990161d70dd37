"""Records that a client cannot read, and the neighbours that must not suffer from them."""

import asyncio
from io import BytesIO
from uuid import uuid4

from aiokafka import TopicPartition
from PIL import Image

from tools.chaos import pictures
from tools.chaos.bystanders import MARK_HEADER, VISITOR
from tools.chaos.reading import read_all
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.foreign import ZSTD, ForeignRecord, publish
from tools.chaos.scenarios.scenario import Scenario
from tools.chaos.truth import Code

_UNMARKED = "None was dead-lettered, but never sent"
"""What the judgement says of a dead letter without the mark of its record: a stub keeps none."""


async def letters(act: Act, mark: bytes | None) -> int:
    """How many dead letters have a mark."""
    names = act.stage.names
    found = read_all(act.stage.direct, names.dead_letters, "read_committed")
    return sum([dict(each.headers).get(MARK_HEADER) == mark async for each in found])


async def _bad_header_key(act: Act) -> None:
    """Put a record whose header key is no text between good ones of a foreign batch, on each partition."""
    marks = []
    for partition in act.populated:
        marks.append(str(uuid4()).encode())
        bad = ForeignRecord(b"stranger", b"bad", ((MARK_HEADER.encode(), marks[-1]), (b"\xff\xfe", b"1")))
        place = TopicPartition(act.stage.names.frames, partition)
        behind = _visitor(2)
        await publish(act.stage.direct, place, [_visitor(1), bad, behind])
        # a client cannot read a bad record, and not what lies behind it in its batch either: the judgement does not know them
        act.expected += [f"{marks[-1]!r} was dead-lettered, but never sent", f"{_name(behind)} was seen, but never came"]
    await asyncio.sleep(1.0)
    await act.flows()
    await act.stop_publisher()
    await act.done()
    found = [await letters(act, mark) for mark in marks]
    act.figures["dead_letters"] = sum(found)
    if found != [1] * len(marks):
        act.problems.append(f"dead letters of each bad record: {found}")


async def _corrupt_batch(act: Act) -> None:
    """Spoil a batch of two records in the broker's log while no worker runs."""
    await act.stop_workers()
    word = f"corrupt-{uuid4()}".encode()
    records = [ForeignRecord(b"stranger", word), ForeignRecord(b"stranger", b"and another")]
    await publish(act.stage.direct, TopicPartition(act.stage.names.frames, 0), records)
    (node,) = act.stage.world.nodes
    (segment,) = (node.folder / "data" / f"{act.stage.names.frames}-0").glob("*.log")
    content = segment.read_bytes()
    with segment.open("r+b") as log:
        log.seek(content.index(word))
        log.write(b"CORRUPT")
    act.start_workers()
    act.figures["recovery_s"] = await act.flows()
    await act.stop_publisher()
    await act.done()
    act.expected.append(_UNMARKED)
    act.figures["stubs"] = await letters(act, None)
    if act.figures["stubs"] != len(records):
        act.problems.append(f"{act.figures['stubs']} stubs of {len(records)} spoiled records")


async def _foreign_zstd(act: Act) -> None:
    """Publish batches that are compressed with zstd to a topic that is uncompressed: the broker writes them anew."""
    for number in range(5):
        for partition in act.populated:
            mark = str(uuid4()).encode()
            unusable = ForeignRecord(b"stranger", b"no picture", ((MARK_HEADER.encode(), mark),))
            visitors = [_visitor(number) for _ in range(3)]
            await publish(act.stage.direct, TopicPartition(act.stage.names.frames, partition), [*visitors, unusable], ZSTD)
        await asyncio.sleep(0.5)
    act.figures["batches"] = 5 * len(act.populated)


def _name(record: ForeignRecord) -> str:
    assert record.key is not None
    return record.key.decode()


def _visitor(number: int) -> ForeignRecord:
    picture = pictures.draw(pictures.Carried(255, number, (Code.NO,) * pictures.BEHAVIORS), 64, 64)
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return ForeignRecord(f"{VISITOR}{uuid4()}".encode(), file.getvalue())


SCENARIOS = {
    "1-bad-header-key": Scenario(
        "a record with the header key ff fe lies between good ones of its batch, on each partition", _bad_header_key
    ),
    "1-corrupt-batch": Scenario("a batch on the broker's disk does not match its checksum any more", _corrupt_batch),
    "1-foreign-zstd": Scenario("a foreign publisher sends batches that are compressed with zstd", _foreign_zstd),
}
