"""Records that end their decoder: the quarantine finds exactly them, whatever else lies around them."""

import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from uuid import uuid4

from aiokafka import TopicPartition
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from stream.wire import FrameHead, frame_headers
from tools.chaos import pictures
from tools.chaos.bystanders import MARK_HEADER, VISITOR
from tools.chaos.cameras import SOURCE
from tools.chaos.faulty_decoder import FOLDER, KEYWORD, Bug
from tools.chaos.reading import read_all
from tools.chaos.scenarios.act import Act
from tools.chaos.scenarios.foreign import ForeignRecord, publish
from tools.chaos.scenarios.scenario import Scenario, Setting
from tools.chaos.truth import Code

FOUND_BOUND_S = 240.0
"""Within which a poison is a dead letter: a few deaths with their sessions, and two tries of a child that hangs."""
DECODE_TIMEOUT_S, TRIAL_S = 8.0, 5.0
_CLASS_HEADER = "__pawsight.errors.class.name"
_REASONS = {Bug.DIES: b"kills_decoder", Bug.HANGS: b"hangs_decoder"}
_CAMERA = 255
"""Of the pictures of strangers, which the judgement knows as visitors."""


@dataclass(frozen=True)
class _Poison:
    """A picture that ends its decoder, between two healthy ones of the same camera and the same batch."""

    bug: Bug
    partition: int
    number: int
    """Of the first of the three pictures; no other stranger has them."""
    camera: str = field(default_factory=lambda: f"{VISITOR}{uuid4()}")
    mark: bytes = field(default_factory=lambda: str(uuid4()).encode())

    @cached_property
    def records(self) -> Sequence[ForeignRecord]:
        """The three, half a second of event time apart."""
        return [self._record(place, time.time()) for place in range(3)]

    def _record(self, place: int, began_s: float) -> ForeignRecord:
        carried = pictures.Carried(_CAMERA, self.number + place, (Code.NO,) * pictures.BEHAVIORS)
        text, file = PngInfo(), BytesIO()
        if place == 1:
            text.add_text(KEYWORD, self.bug)
        Image.fromarray(pictures.draw(carried, 64, 64)).save(file, "PNG", pnginfo=text)
        head = FrameHead(self.camera, round(began_s + place / 2, 3), "image/png", SOURCE, self.camera, place)
        headers = [(name.encode(), value) for name, value in frame_headers(head)]
        headers += [(MARK_HEADER.encode(), self.mark)] if place == 1 else []
        return ForeignRecord(self.camera.encode(), file.getvalue(), headers)


def _poisoned(*bugs: Bug) -> Callable[[Act], Awaitable[None]]:
    async def disturb(act: Act) -> None:
        """Give all workers a decoder with a bug, and send a record on one partition after the other at which it shows."""
        act.kill_workers()
        for worker in act.workers:
            worker.python_path = FOLDER
        act.start_workers()
        await act.flows()
        ends = act.stage.world.fleet.ends
        # strangers of their own partitions, and all at once: a worker then dies of one while another waits
        poisons = [_Poison(bug, partition, 3 * partition) for bug, partition in zip(bugs, act.populated, strict=False)]
        for poison in poisons:
            await publish(act.stage.direct, TopicPartition(act.stage.names.frames, poison.partition), poison.records)
        act.figures["found_after_s"] = await _found(act, poisons)
        await act.flows()
        died = act.stage.world.fleet.ends[len(ends) :]
        act.figures |= {"poisons": len(poisons), "worker_deaths": len(died)}
        if Bug.DIES in bugs and -signal.SIGSEGV not in [end.code for end in died]:
            act.problems.append(f"no worker died of the record: {died}")
        # a worker that dies of the other one in time never hangs; that the record hangs its decoder its dead letter says, too
        if Bug.DIES not in bugs and not act.said(f"did not come back within {DECODE_TIMEOUT_S:g} s"):
            act.problems.append("no worker hung in the record")
        await act.stop_publisher()
        await act.done()
        await _judge(act, poisons)

    return disturb


async def _found(act: Act, poisons: Sequence[_Poison]) -> float:
    """Wait for the dead letter of each; gives the seconds."""

    async def left() -> set[bytes]:
        return {poison.mark for poison in poisons} - {mark for mark, _ in await _letters(act)}

    return await act.until_none(left, FOUND_BOUND_S, "every poison is a dead letter")


async def _letters(act: Act) -> list[tuple[bytes | None, bytes | None]]:
    """Mark and reason of every dead letter."""
    found = [dict(each.headers) async for each in read_all(act.stage.direct, act.stage.names.dead_letters, "read_committed")]
    return [(headers.get(MARK_HEADER), headers.get(_CLASS_HEADER)) for headers in found]


async def _judge(act: Act, poisons: Sequence[_Poison]) -> None:
    """Each poison once and for its reason, nothing else, and the pictures of its camera around it asked.

    That no record of any other camera was lost is what every scenario is judged by.
    """
    letters = await _letters(act)
    wanted = [(poison.mark, _REASONS[poison.bug]) for poison in poisons]
    act.figures["dead_letters"] = len(letters)
    act.figures["healthy_dead_letters"] = sum(mark is None for mark, _ in letters)
    if sorted(letters, key=str) != sorted(wanted, key=str):
        act.problems.append(f"dead letters are {letters}, not {wanted}")
    asked = {line for journal in act.stage.folder.glob("*.asked") for line in journal.read_text(encoding="ascii").splitlines()}
    for poison in poisons:
        around = [f"{_CAMERA} {poison.number + place}" in asked for place in range(3)]
        if around != [True, False, True]:
            act.problems.append(f"of the pictures before, in and after the poison on {poison.partition} were asked: {around}")


_ALONE = {"decode_timeout_s": DECODE_TIMEOUT_S, "trial_s": TRIAL_S}

SCENARIOS = {
    "17-segfault-record": Scenario(
        "a record at which every process that decodes it dies of SIGSEGV: it alone is dead-lettered, once",
        _poisoned(Bug.DIES),
        Setting(worker=_ALONE),
    ),
    "17-hanging-record": Scenario(
        "a record that no decoder comes back from: it alone is dead-lettered, once",
        _poisoned(Bug.HANGS),
        Setting(worker=_ALONE),
    ),
    "17-two-poisons": Scenario(
        "a record that kills and one that hangs its decoder, on two partitions of the only worker: both alone are dead-lettered",
        _poisoned(Bug.DIES, Bug.HANGS),
        Setting(cameras=3, workers=1, worker=_ALONE),
    ),
}
