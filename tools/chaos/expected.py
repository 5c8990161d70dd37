"""The alerts that a frames topic must lead to, told from its records alone, in offset order: no worker, no batch, no restart.

A second implementation of DESIGN sections 6 and 7 that imports nothing of `stream`: here which pictures are asked, and in which
order; `tools.chaos.debounced` has the clock and the rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tools.chaos.debounced import Alert, CameraReplay, Rule, Rules, Shot

__all__ = ["Alert", "Replay", "Rule", "Rules", "Sent", "Shot"]


def line_of(camera: str, partition: int, home: int) -> str:
    """Name a camera's books on a partition: by its id where it is at home, else with the partition."""
    return camera if partition == home else f"{camera}@{partition}"


@dataclass(frozen=True, slots=True)
class Sent:
    """One record of the frames topic."""

    camera: str
    line: str
    """`line_of` the camera on its partition: what is known of it on another one is of no use here."""
    stream: str | None
    seq: int | None
    shots: tuple[Shot, ...]
    """In order of presentation; one for a still or an access unit."""
    unit: str | None = None
    """Content type of an access unit; None for what stands alone."""
    keyframe: bool = False
    """Of an access unit."""
    pts: int = 0
    """Of an access unit, in any unit of time."""


@dataclass(slots=True)
class _Decoder:
    """A camera's access units since the keyframe, to be put in order of presentation."""

    unit: str | None = None
    stream: str | None = None
    seq: int | None = None
    has_keyframe: bool = False
    held: list[tuple[int, Shot]] = field(default_factory=list)

    def drain(self) -> list[Shot]:
        """Let everything out."""
        shots = [shot for _, shot in sorted(self.held, key=lambda one: one[0])]
        self.held = []
        return shots

    def breaks_at(self, sent: Sent) -> bool:
        """Whether a record does not continue the ones before."""
        if (self.unit, self.stream) != (sent.unit, sent.stream):
            return True
        return sent.seq is not None and self.seq is not None and sent.seq > self.seq + 1


class Replay:
    """A whole frames topic, without a worker."""

    def __init__(self, rules: Rules, turns: Mapping[str, Sequence[tuple[int, Rules]]] | None = None) -> None:
        """Begin before the first record.

        Args:
            rules: of the questions that are asked at the beginning.
            turns: by line, others in their order, each from the picture of this capture time on.
        """
        self.totals: Counter[str] = Counter()
        """records, pictures = accepted + late + clock, and the access units that no picture comes of: no_keyframe, duplicate."""
        self.cameras: dict[str, CameraReplay] = {}
        """By line."""
        self._rules = rules
        self._turns = turns or {}
        self._decoders: dict[str, _Decoder] = {}

    def take(self, sent: Sent) -> None:
        """Take a record; those of one camera in offset order."""
        self.totals["records"] += 1
        camera = self.cameras.get(sent.line)
        if camera is None:
            turns = list(self._turns.get(sent.line, ()))
            camera = self.cameras[sent.line] = CameraReplay(sent.camera, self._rules, self.totals, turns=turns)
        decoder = self._decoders.setdefault(sent.line, _Decoder())
        if sent.unit is None or decoder.breaks_at(sent):
            self._drain(sent.line)
            decoder = self._decoders[sent.line] = _Decoder(sent.unit, sent.stream)
        if sent.unit is None:
            for shot in sent.shots:
                camera.take(shot, sent.stream)
            return
        if sent.seq is not None and decoder.seq is not None and sent.seq <= decoder.seq:
            self.totals["duplicate"] += 1
            return
        decoder.seq = sent.seq
        if sent.keyframe:
            self._drain(sent.line)
            decoder.has_keyframe = True
        if decoder.has_keyframe:
            decoder.held += [(sent.pts, shot) for shot in sent.shots]
        else:
            self.totals["no_keyframe"] += 1

    def break_off(self, line: str, after_us: int) -> int:
        """Take a line's decoder away with its keyframe: what it had not shown by then never comes; gives how many pictures."""
        decoder = self._decoders[line]
        shots = decoder.drain()
        shown = [shot for shot in shots if shot.at_us <= after_us]
        for shot in shown:
            self.cameras[line].take(shot, decoder.stream)
        self._decoders[line] = _Decoder()
        return len(shots) - len(shown)

    def finish(self, lost: Iterable[str] = ()) -> None:
        """End the topic: what lies in decoders comes out, and these lines were silent for long enough."""
        for line in self._decoders:
            self._drain(line)
        for each in self.cameras.values():
            each.finish()
        for line in lost:
            self.cameras[line].lose()

    @property
    def alerts(self) -> dict[str, list[Alert]]:
        """What was to be published of each line so far, in order."""
        return {name: camera.alerts for name, camera in self.cameras.items()}

    def _drain(self, line: str) -> None:
        decoder = self._decoders[line]
        for shot in decoder.drain():
            self.cameras[line].take(shot, decoder.stream)
