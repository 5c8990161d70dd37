"""Interleaved rounds and their medians: a slow moment of the machine hits every contender."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import torch

from pipeline.compile import Report

Work = Callable[[], object]
Key = TypeVar("Key")

_PRODUCTS_S = 0.1
"""How long one measurement of a matrix product lasts, seconds."""


def seconds(work: Work) -> float:
    """Wall time of one call, seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def medians(contenders: Mapping[Key, Work], rounds: int, report: Report) -> dict[Key, float]:
    """Call each contender once a round, after one round that does not count.

    Returns:
        Median seconds of a call.
    """
    timed: dict[Key, list[float]] = {key: [] for key in contenders}
    for number in range(rounds + 1):
        for place, (key, work) in enumerate(contenders.items()):
            what = f"round {number} of {rounds}" if number else "warming"
            report(what, number * len(contenders) + place, (rounds + 1) * len(contenders))
            timed[key].append(seconds(work))
    return {key: median(column[1:]) for key, column in timed.items()}


def slope(less: Work, more: Work, rounds: int, report: Report) -> float:
    """How much longer `more` takes than `less`, as a part of `less`.

    The median of the differences within a round, whose order alternates: neither drift nor a slow moment decides.
    """
    less(), more()
    firsts, differences = [], []
    for number in range(rounds):
        report("one more question", number, rounds)
        if number % 2:
            more_s, less_s = seconds(more), seconds(less)
        else:
            less_s, more_s = seconds(less), seconds(more)
        firsts.append(less_s)
        differences.append(more_s - less_s)
    return median(differences) / median(firsts)


@dataclass(frozen=True, slots=True)
class Product:
    """A float32 matrix product, (rows x inner) by (inner x columns), so often that its time can be measured."""

    left: torch.Tensor
    right: torch.Tensor
    repeats: int

    @classmethod
    def of(cls, rows: int, inner: int, columns: int) -> "Product":
        """Draw the factors and find the number of repeats."""
        once = cls(torch.randn(rows, inner), torch.randn(inner, columns), 1)
        once.run()
        return cls(once.left, once.right, max(1, round(_PRODUCTS_S / seconds(once.run))))

    @property
    def flops(self) -> int:
        """Floating-point operations of a run."""
        return 2 * self.repeats * self.left.shape[0] * self.right.numel()

    @torch.inference_mode()
    def run(self) -> None:
        """Multiply."""
        for _ in range(self.repeats):
            torch.mm(self.left, self.right)
