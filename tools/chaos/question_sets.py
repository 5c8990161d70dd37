"""What a worker asks, as revisions that follow each other in a deploy.

A worker reads NAME.questions.json at its start and at each SIGHUP, as the real one reads its questions file; without that file it
asks what the script's cameras are made for, as revision 1.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from tools.chaos.debounced import Rule, Rules
from tools.chaos.status import Files
from tools.chaos.truth import COLUMNS, RULES, Script, fingerprint


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """One revision."""

    revision: int
    rules: tuple[Rule, ...]

    @property
    def behaviors(self) -> tuple[str, ...]:
        """What is asked, in the order of the answers' columns."""
        return tuple(rule.behavior for rule in self.rules)

    @property
    def columns(self) -> tuple[int, ...]:
        """Which of the codes that a picture carries answers each."""
        return tuple(COLUMNS[behavior] for behavior in self.behaviors)

    @property
    def fingerprint(self) -> str:
        """What alerts and state call it."""
        return fingerprint(self.revision)

    def judged(self, script: Script) -> Rules:
        """How answers to it become alerts."""
        return replace(script.rules(), behaviors=self.rules, questions=self.fingerprint)

    def write(self, files: Files) -> None:
        """Have a worker ask it from its next start or SIGHUP on."""
        new = files.questions.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.replace(files.questions)

    @classmethod
    def read(cls, files: Files) -> Self:
        """What a worker is to ask."""
        try:
            told: dict[str, Any] = json.loads(files.questions.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(1, RULES)
        return cls(told["revision"], tuple(Rule(**rule) for rule in told["rules"]))
