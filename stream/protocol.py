"""How one partition is taken up, and what follows from each failure: the decisions of exactly-once delivery.

Pure: what happened comes in, what to do next goes out; whoever carries it out knows the cluster and nothing of the order. The
order is the point. A writer proves that it is a member of its group before it fences the last one, so that two owners do not
fence each other without end; it reads state only after it has fenced; and it reads frames only after it has proven it again.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias

from stream.state_records import PartitionRecord, QuestionRevision, RecordMark

StartFrom: TypeAlias = Literal["earliest", "latest"] | float
"""Where a partition without a record begins: its first offset, its end, or a capture of this time, seconds since the epoch."""

FIRST_BACKOFF_S = 0.2
BACKOFF_FACTOR = 3.0
MAX_FAILURES = 5
"""In a row, without a commit: the worker ends, because something is wrong that another restore does not mend."""
REWIND_RECORDS = 20_000
"""How far below its place a partition is read again for the sake of decoders; a camera that needs more waits for a keyframe."""


class Step(Enum):
    """One step of taking a partition up, in this order."""

    PROVE = auto()
    """Membership, before anybody is fenced."""
    CLEAR = auto()
    """End what the last writer left open."""
    INIT = auto()
    """Become the writer: the last one is fenced from here on."""
    READ = auto()
    """Read the state, up to its end as of now."""
    CHECK = auto()
    """Is the topic the one that the state speaks of?"""
    ADOPT = auto()
    """Which events are published that the state does not know?"""
    MARK = auto()
    """Write that the partition was taken up."""
    PROVE_AGAIN = auto()
    """Membership, before anything is read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What CHECK found out."""

    record: PartitionRecord | None
    """The partition's own record; None if it has none."""
    group_offset: int | None
    """The group's committed offset; None if it has none."""
    first: int
    """Lowest offset of the log."""
    end: int
    """Offset after its last record."""
    start: int
    """Where a partition without a record begins."""
    found: RecordMark | None = None
    """What lies where the record's `last_record` lay; None: that part of the log is gone."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator has decided."""

    accept_new_topic: bool = False
    """Begin anew where the frames topic is not the one that the state speaks of."""
    accept_state_loss: bool = False
    """Begin anew where the state is gone, but the group has been here."""
    accept_older_revision: bool = False
    """Go on where the state is of a newer revision of the questions file than this worker's."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a partition goes on."""

    resume_offset: int
    is_new: bool = False
    """Nothing of the state holds any more, or there was none."""
    skipped: int = 0
    """Offsets that retention deleted before they were read."""
    warning: str | None = None
    """What an operator ought to know of the questions file."""


@dataclass(frozen=True, slots=True)
class Parked:
    """The partition is left alone until an operator decides."""

    reason: str
    until_revision: int | None = None
    """A worker that asks this revision or a newer one takes it up; None: it takes more than that."""


def decide(facts: Facts, policy: Policy, asking: QuestionRevision) -> Opening | Parked:
    """Say where a partition goes on, or why it must not.

    Args:
        facts: what was found.
        policy: what an operator has decided.
        asking: what this worker asks.
    """
    record = facts.record
    if record is None:
        return _without_record(facts, policy)
    if record.questions.number > asking.number and not policy.accept_older_revision:
        return _left_to_newer(record.questions.number, asking.number)
    changed, warning = _other_topic(record, facts), _other_questions(record.questions, asking)
    if changed is None:
        skipped = max(0, facts.first - record.resume_offset)
        return Opening(max(record.resume_offset, facts.first), skipped=skipped, warning=warning)
    if policy.accept_new_topic:
        return Opening(facts.first, is_new=True, warning=warning)
    return Parked(f"{changed}: it was recreated or truncated. Begin it anew by --accept-new-topic")


def _without_record(facts: Facts, policy: Policy) -> Opening | Parked:
    """Begin with a partition, unless the group has been here."""
    if facts.group_offset is None:
        return Opening(facts.start, is_new=True)
    if policy.accept_state_loss:
        return Opening(min(max(facts.group_offset, facts.first), facts.end), is_new=True)
    return Parked(
        f"the group's offset is {facts.group_offset}, but the state topic has no record of it: open behaviours would be "
        "forgotten. Bring the state topic back, or go on without it by --accept-state-loss"
    )


def _left_to_newer(stored: int, ours: int) -> Parked:
    """Leave a partition to the workers of a rolling deploy that are newer: else each handover would end and start behaviours."""
    return Parked(
        f"its state is of question revision {stored}, this worker asks revision {ours}. Give this worker the newer questions "
        "file and send it SIGHUP, or restart it: then the partition is taken up. To roll back, give the old questions a "
        f"revision above {stored}; to go on with revision {ours} all the same, --accept-older-revision",
        until_revision=stored,
    )


def _other_questions(stored: QuestionRevision, asking: QuestionRevision) -> str | None:
    """Warn of what two numbers cannot tell apart, or an operator has overridden.

    Other questions under the same number are an operator's error, and yet no reason to park: whoever never writes a revision
    has 1 for ever, and must be able to edit the file and restart. What is lost is the order of old and new in a rolling deploy.
    """
    if stored.number > asking.number:
        return (
            f"its state is of question revision {stored.number}, and goes on with revision {asking.number} by "
            f"--accept-older-revision: open behaviours that revision {asking.number} does not ask end"
        )
    if stored.number == asking.number and stored.fingerprint not in ("", asking.fingerprint):
        return (
            f"its state follows from other questions ({stored.fingerprint}) of the same revision {asking.number} as this "
            f"worker's ({asking.fingerprint}): raise `revision` in the questions file with every change, or workers with the old "
            "file and the new one end and start each other's behaviours"
        )
    return None


def _other_topic(record: PartitionRecord, facts: Facts) -> str | None:
    """Say why the log cannot be the one that was read, if so."""
    if record.resume_offset > facts.end:
        return f"everything up to offset {record.resume_offset} is done, but the log ends at {facts.end}"
    mark = record.last_record
    if mark is not None and mark.offset >= facts.first and facts.found != mark:
        return f"offset {mark.offset} is done, but another record lies there now"
    return None


@dataclass(frozen=True, slots=True)
class Run:
    """Take this step."""

    step: Step


@dataclass(frozen=True, slots=True)
class Wait:
    """Drop the writer and everything in memory; after so long, begin with the first step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """The partition is taken up: read, and deliver ticks."""

    opening: Opening


@dataclass(frozen=True, slots=True)
class Rest:
    """Leave the partition alone; keep the membership."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """End the worker."""

    reason: str


Action: TypeAlias = Run | Wait | Work | Rest | End


class Protocol:
    """One partition under one assignment."""

    def __init__(self) -> None:
        """Begin with the first step."""
        self._steps = list(Step)
        self.decided: Opening | Parked | None = None
        """What CHECK came to."""
        self._failures = 0
        self._cause = ""
        self._waiting = False

    def next(self, jitter: float) -> Action:
        """Say what to do now.

        Args:
            jitter: drawn from [0, 1): spreads the retries of many partitions.
        """
        if self._failures >= MAX_FAILURES:
            return End(f"failed {self._failures} times in a row without a commit, at last with: {self._cause}")
        if self._waiting:
            return Wait(FIRST_BACKOFF_S * BACKOFF_FACTOR ** (self._failures - 1) * (0.5 + jitter))
        if isinstance(self.decided, Parked):
            return Rest(self.decided.reason)
        if self._steps:
            return Run(self._steps[0])
        assert self.decided is not None
        return Work(self.decided)

    def done(self, step: Step) -> None:
        """The step succeeded."""
        assert self._steps[0] is step, (step, self._steps)
        del self._steps[0]

    def checked(self, facts: Facts, policy: Policy, asking: QuestionRevision) -> None:
        """CHECK found this out; `asking` is what this worker asks now."""
        self.decided = decide(facts, policy, asking)
        self.done(Step.CHECK)

    def asks(self, asking: QuestionRevision) -> bool:
        """The worker asks something else from here on; True: the partition was left alone for want of it, and is taken up."""
        left = self.decided
        if not isinstance(left, Parked) or left.until_revision is None or asking.number < left.until_revision:
            return False
        self.dropped()
        return True

    def refused(self, reason: str) -> None:
        """The state cannot be read by this program: only its partition is left alone."""
        self.decided = Parked(reason)

    def failed(self, cause: str) -> None:
        """A step or a transaction failed, or its outcome is unknown, which is the same."""
        self._failures += 1
        self._cause = cause
        self._waiting = True

    def waited(self) -> None:
        """The back-off is over: from the first step again."""
        self._waiting = False
        self.dropped()

    def dropped(self) -> None:
        """The writer was given up, for no failure of its own: from the first step again."""
        self.decided = None
        self._steps = list(Step)

    def committed(self) -> None:
        """A tick was committed: whatever failed before is over."""
        self._failures = 0


def rewound_to(keyframes: dict[str, int], opening: Opening, first: int) -> tuple[int, frozenset[str]]:
    """Say from where to read so that decoders can go on.

    Args:
        keyframes: by camera, the offset from which its decoder must be fed.
        opening: where the partition goes on.
        first: lowest offset of the log.

    Returns:
        The offset to read from, and the cameras whose keyframe lies too far back or is gone: they wait for their next one.
    """
    lowest = max(first, opening.resume_offset - REWIND_RECORDS)
    stranded = frozenset(camera for camera, offset in keyframes.items() if offset < lowest)
    needed = [offset for camera, offset in keyframes.items() if camera not in stranded]
    return min([*needed, opening.resume_offset]), stranded
