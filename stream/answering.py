"""A batch to the device and back: what comes out are observations, one per frame, where batches and tensors end."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.answers import Answers
from pipeline.errors import DeviceLost
from stream.types import Answer, Batch, Observation


class Infer(Protocol):
    """The device, off the event loop."""

    async def __call__(self, pixels: NDArray[np.uint8], n: int) -> Answers:
        """Answer the first n frames of a padded batch, uint8 (bucket, S, S, 3).

        Raises:
            DeviceLost: the device failed.
        """
        ...


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
