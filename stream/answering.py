"""Batches to the device and back: what comes out are observations, one per frame, where batches and tensors end.

Several batches may be on the device at once; whatever lies between them in the queue keeps its place.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.counts import Counts
from stream.debounce_rules import DebounceRules
from stream.ports import Draining, Proof
from stream.state_records import QuestionRevision
from stream.types import Answer, Batch, DeadLetter, Observation

DEVICE_TIMEOUT_S = 600.0
"""A batch that takes longer means that the device is lost."""


class Infer(Protocol):
    """The device, off the event loop."""

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer the first n frames of a padded batch, uint8 (bucket, S, S, 3).

        Raises:
            DeviceLost: the device failed.
        """
        ...


class Ask(Protocol):
    """Turns the device to other questions, off the event loop."""

    async def __call__(self, prepared: object) -> None:
        """Ask what was prepared, whatever that is to the device; called only while no batch is on it.

        Raises:
            DeviceLost: the device failed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reload:
    """Other questions, between two batches: what lies before is answered and judged by the old ones, the rest by these."""

    behaviors: tuple[str, ...]
    """Behaviour of each column of the answers."""
    debounce: DebounceRules
    questions: QuestionRevision
    prepared: object
    """For `Ask`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A batch with its answers."""

    batch: Batch
    answers: Answers

    def observations(self, behaviors: Sequence[str]) -> Iterator[Observation]:
        """Give what was observed on each frame; `behaviors` names the columns of the answers."""
        for row, frame in enumerate(self.batch.frames):
            p_yes, share = self.answers.p_yes[row], self.answers.share[row]
            yield Observation(
                position=frame.position,
                camera_id=frame.camera_id,
                captured_at_s=frame.captured_at_s,
                answers={each: Answer(float(p_yes[column]), float(share[column])) for column, each in enumerate(behaviors)},
                clock=frame.clock,
                traceparent=frame.traceparent,
                arrived_at_s=frame.arrived_at_s,
            )


class End(Enum):
    """End of the flow."""

    SOURCE_ENDED = auto()
    STOPPED = auto()


Asked: TypeAlias = Batch | Reload | DeadLetter | Proof | Draining | End
Done: TypeAlias = Answered | Reload | DeadLetter | Proof | Draining | End


@dataclass(frozen=True, slots=True)
class Answering:
    """Keeps the device busy, and hands everything on in the order in which it came."""

    infer: Infer
    ask: Ask | None
    """None: the questions never change."""
    counts: Counts
    submitters: int
    """Batches that may be on the device at once."""
    timeout_s: float
    """A batch that takes longer means that the device is lost."""

    async def run(self, asked: asyncio.Queue[Asked], done: asyncio.Queue[Done]) -> None:
        """Work until the end of the flow has been handed on.

        Raises:
            ExceptionGroup: of DeviceLost, the first batch's whose device failed; what was under way then is handed on no more.
        """
        assert self.submitters > 0, self.submitters
        room = asyncio.Semaphore(self.submitters)
        in_order: asyncio.Queue[asyncio.Task[Done]] = asyncio.Queue()
        async with asyncio.TaskGroup() as under_way:
            under_way.create_task(_hand_on(in_order, done, room))
            while True:
                await room.acquire()  # before anything is taken: the full queue behind it is the backpressure
                item = await asked.get()
                if isinstance(item, Reload):
                    await self._turn(item, room)
                in_order.put_nowait(under_way.create_task(self._take(item)))
                if isinstance(item, End):
                    return

    async def _turn(self, reload: Reload, room: asyncio.Semaphore) -> None:
        """Turn the device to other questions once everything before them was handed on."""
        assert self.ask is not None, "this device keeps its questions"
        others = self.submitters - 1
        for _ in range(others):
            await room.acquire()
        try:
            async with asyncio.timeout(self.timeout_s):
                await self.ask(reload.prepared)
        except TimeoutError as error:
            msg = f"the device did not turn to other questions within {self.timeout_s:g} s: restart the worker, check the device"
            raise DeviceLost(msg) from error
        for _ in range(others):
            room.release()

    async def _take(self, item: Asked) -> Done:
        if not isinstance(item, Batch):
            return item
        self.counts.batches += 1
        return await answer(self.infer, item, self.timeout_s)


async def _hand_on(in_order: asyncio.Queue[asyncio.Task[Done]], done: asyncio.Queue[Done], room: asyncio.Semaphore) -> None:
    while True:
        item = await (await in_order.get())
        await done.put(item)
        room.release()
        if isinstance(item, End):
            return


async def answer(infer: Infer, batch: Batch, timeout_s: float) -> Answered:
    """Have a batch answered.

    Raises:
        DeviceLost: the device failed, or answered nothing for so long.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return Answered(batch, await infer(batch.pixels(), len(batch.frames)))
    except TimeoutError as error:
        msg = f"the device answered nothing for {timeout_s:g} s: restart the worker, check the device"
        raise DeviceLost(msg) from error
