"""How many questions one compiled program holds: the fixed sizes of its question inputs."""

import re
from dataclasses import dataclass
from typing import Self

from pipeline.errors import QuestionError

_SAID = re.compile(r"([1-9]\d*)x([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Capacity:
    """Sizes of the question inputs. Written as `16x128`: slots x tokens."""

    slots: int
    """Answer slots. A question with candidates of one word takes one for each two of them: yes and no share one. A candidate
    of several words takes one for each of its tokens and one for the end."""
    tokens: int
    """Question tokens of the whole set, [CLS] and [SEP] of each question included."""

    @classmethod
    def parse(cls, said: str) -> Self:
        """Read `16x128`.

        Raises:
            ValueError: anything else.
        """
        found = _SAID.fullmatch(said)
        if found is None:
            msg = f"capacity {said!r}: give answer slots x question tokens, such as 16x128"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.slots}x{self.tokens}"

    def holds(self, other: "Capacity") -> bool:
        """Whether a set of the other size fits."""
        return other.slots <= self.slots and other.tokens <= self.tokens

    def refuse(self, needed: "Capacity") -> None:
        """Refuse what does not fit.

        Raises:
            QuestionError: naming each limit and by how much it is passed.
        """
        over = [
            f"{wanted} {what}, the artifact holds {held}: {wanted - held} too many"
            for what, wanted, held in (
                ("answer slots", needed.slots, self.slots),
                ("question tokens", needed.tokens, self.tokens),
            )
            if wanted > held
        ]
        if over:
            enough = Capacity(max(self.slots, needed.slots), max(self.tokens, needed.tokens))
            msg = f"the questions take {' and '.join(over)}; shorten them, or compile with --capacity {enough} or more"
            raise QuestionError(msg)


DEFAULT_CAPACITY = Capacity(16, 128)
"""Sixteen yes/no questions of eight tokens, the length of `is there a dog barking?`."""

RUNGS = (Capacity(8, 72), DEFAULT_CAPACITY)
"""Sizes that are compiled where shapes are static, up to the artifact's own capacity: the smallest that holds a set is used."""
