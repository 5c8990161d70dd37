"""A log, a state and a worker that is killed, fenced and begun again, in virtual time: what a cluster keeps stands in `Kept`.

The worker, its decoders and the codec are the real ones. Everything that chance decides is drawn from one seed.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from stream.clock import ClockRules
from stream.debounce_rules import DebounceRule, DebounceRules
from stream.errors import StreamError
from stream.ports import Assigned, Poll, Revoked, Tick
from stream.protocol import Opening, rewound_to
from stream.state_codec import decode_camera, decode_partition, encode_camera, encode_partition
from stream.state_records import CameraRecord, Cursor, PartitionRecord
from stream.timestamps import to_rfc3339
from stream.types import Event, Record
from stream.worker import Ports, Worker
from tests.integration.gray_video import segment, units
from tests.integration.worker_world import CONFIG, T0_S, TOPIC, BrightnessDevice, Trial, here, picture

FLIPPING = DebounceRule("glowing", 0.5, 0.45, start_after_s=0.0, stop_after_s=0.0, cooldown_s=0.0)
"""Every change of brightness is an event, and its score says of which picture."""
HANDOVER_CONFIG = replace(
    CONFIG,
    debounce=DebounceRules.of([FLIPPING], max_gap_s=2.0, lost_after_s=10.0),
    intake=replace(CONFIG.intake, clock=ClockRules(2.0, max_gap_s=2.0, max_jump_s=60.0), lost_after_s=10.0),
    max_wait_s=0.1,
    tick_s=0.5,
)
STEPS_S = [0.5] * 12 + [0.25] * 4 + [1.0, 0.0, -1.0, 2.5, 11.0, -30.0, -30.0, 500.0]


class Killed(StreamError):
    """The worker dies here."""


@dataclass
class Kept:
    """What outlives every worker: the log, the state as bytes, and what was told."""

    log: Sequence[Record]
    partitions: dict[int, bytes] = field(default_factory=dict)
    cameras: dict[int, dict[bytes, bytes]] = field(default_factory=lambda: defaultdict(dict))
    events: list[Event] = field(default_factory=list)
    letters: list[tuple[int, int]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    """What new owners had to go on from."""

    def commit(self, tick: Tick) -> None:
        """Take a tick, all of it."""
        if tick.resume_offset is not None:
            record = PartitionRecord(tick.resume_offset, 0, "me", tick.last_record, tick.dead_lettered, clean=tick.final)
            self.partitions[tick.partition] = encode_partition(record)
        self.cameras[tick.partition] |= {camera.encode(): encode_camera(each) for camera, each in tick.cameras.items()}
        self.events += tick.events
        self.letters += [(letter.record.partition, letter.record.offset) for letter in tick.dead_letters]

    def restored(self, number: int, incarnation: int) -> tuple[Assigned, int]:
        """Restore a partition; also where it is to be read from."""
        cameras = {name.decode(): decode_camera(data) for name, data in self.cameras[number].items()}
        if number not in self.partitions:
            return Assigned(TOPIC, number, incarnation, None, cameras), 0
        record = decode_partition(self.partitions[number])
        keyframes = {camera: each.decoder.keyframe_offset for camera, each in cameras.items() if each.decoder}
        read_from, _ = rewound_to(keyframes, Opening(record.resume_offset), 0)
        dead_lettered = frozenset(record.dead_lettered)
        self.met["a dead letter above the place"] += bool(dead_lettered)
        self.met["half a record"] += any(each.cursor.index for each in cameras.values())
        self.met["a camera ahead"] += any(each.cursor.offset > record.resume_offset for each in cameras.values())
        self.met["a decoder to feed"] += read_from < record.resume_offset
        self.met["pictures inside a decoder"] += any(
            each.decoder.shown_offset > each.cursor.offset for each in cameras.values() if each.decoder
        )
        self.met["a clean stop"] += record.clean
        return Assigned(TOPIC, number, incarnation, record.resume_offset, cameras, dead_lettered, record.last_record), read_from

    def camera_records(self) -> dict[tuple[int, bytes], CameraRecord]:
        """Every camera's record, with the cursor that counts: what lies below its partition's place is done whatever it says."""
        records = {}
        for number, cameras in self.cameras.items():
            place = Cursor(decode_partition(self.partitions[number]).resume_offset)
            for name, data in cameras.items():
                record = decode_camera(data)
                records[number, name] = replace(record, cursor=max(record.cursor, place))
        return records

    def told(self) -> dict[str, list[Event]]:
        """Events in order, per camera."""
        told: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            told[event.camera_id].append(event)
        return dict(told)


@dataclass
class Attachment:
    """One worker's source and sink on what is kept; dies at the delivery that `dies_at` counts down to."""

    kept: Kept
    chance: random.Random
    dies_at: int
    void_rate: float = 0.0
    """Share of deliveries whose outcome is unknown: the partition is taken up again."""
    is_through: bool = False
    """The log was read to its end, and nothing is to be taken up again."""
    _voided: set[int] = field(default_factory=set)
    _positions: dict[int, int] = field(default_factory=dict)
    _incarnations: dict[int, int] = field(default_factory=dict)
    _assigned: bool = False

    async def poll(self, timeout_s: float, held: frozenset[tuple[str, int]]) -> Poll:
        """Give some records of each partition; nothing is lost when it gives none."""
        await asyncio.sleep(self.chance.choice([0.0, 0.0, timeout_s]))
        if not self._assigned:
            self._assigned = True
            return Poll(assigned=tuple(self._take_up(number) for number in sorted({each.partition for each in self.kept.log})))
        voided, self._voided = sorted(self._voided), set()
        if voided:
            revoked = tuple(Revoked(TOPIC, number) for number in voided)
            return Poll(revoked=revoked, assigned=tuple(self._take_up(number) for number in voided))
        records = [each for number in self._positions if (TOPIC, number) not in held for each in self._next(number)]
        ended = self.is_through = not records and all(not self._rest(number) for number in self._positions)
        return Poll(records=tuple(records), ended=ended)

    async def deliver(self, tick: Tick) -> bool:
        """Commit a tick after a while; die before or after it; or lose track of it, before or after it."""
        await asyncio.sleep(self.chance.choice([0.0, 0.05, 0.7]))
        self.dies_at -= 1
        is_committed = self.chance.random() < 0.5
        if self._incarnations[tick.partition] != tick.incarnation:
            return False
        if self.dies_at == 0:
            if is_committed:
                self.kept.commit(tick)
            raise Killed
        if self.chance.random() < self.void_rate and not tick.final:
            if is_committed:
                self.kept.commit(tick)
            self._voided.add(tick.partition)
            self.is_through = False
            self._incarnations[tick.partition] = 0
            return False
        self.kept.commit(tick)
        return True

    def _take_up(self, number: int) -> Assigned:
        incarnation = self._incarnations[number] = self.chance.randrange(1, 2**30)
        assigned, self._positions[number] = self.kept.restored(number, incarnation)
        return assigned

    def _rest(self, number: int) -> list[Record]:
        return [each for each in self.kept.log if each.partition == number and each.offset >= self._positions[number]]

    def _next(self, number: int) -> list[Record]:
        if not self._incarnations[number]:
            return []
        taken = self._rest(number)[: self.chance.randrange(6)]
        if taken:
            self._positions[number] = taken[-1].offset + 1
        return [replace(each, incarnation=self._incarnations[number]) for each in taken]


@dataclass(frozen=True, slots=True)
class Fate:
    """How a worker's life goes."""

    dies_at: int = 2**30
    """The delivery at which it is killed."""
    stops_after_s: float = float("inf")
    void_rate: float = 0.0


async def live(kept: Kept, chance: random.Random, fate: Fate) -> Worker | None:
    """One worker's life, until it dies, is stopped or the log ends; the worker if it did and delivered all of it."""
    attachment = Attachment(kept, chance, fate.dies_at, fate.void_rate)
    device = BrightnessDevice(chance.choice([0.0, 0.05, 1.0]))
    worker = Worker(Ports(attachment, attachment, device, here, Trial()), HANDOVER_CONFIG)
    stopping = asyncio.get_running_loop().call_later(min(fate.stops_after_s, 1e6), worker.stop)
    try:
        await worker.run()
    except Killed:
        return None
    finally:
        stopping.cancel()
    return worker if attachment.is_through else None


def drawn_log(chance: random.Random) -> list[Record]:
    """Two partitions of cameras that send stills, segments and access units in turn, and records that cannot be used."""
    cameras = {0: ["den", "attic", "porch"], 1: ["shed"]}
    now_s: dict[str, float] = defaultdict(float)
    queues: dict[str, list[tuple[float, bytes, tuple[tuple[str, bytes], ...]]]] = defaultdict(list)
    log: list[Record] = []
    offsets = dict.fromkeys(cameras, 0)
    runs = dict.fromkeys(cameras, 0)
    while len(log) < chance.randrange(40, 90):
        number = chance.choice([0, 0, 0, 1])
        camera = chance.choice(cameras[number])
        if not queues[camera]:
            runs[number] += 1
            queues[camera] = _run(chance, camera, now_s)
        at_s, value, headers = queues[camera].pop(0)
        headers = (("ce_time", to_rfc3339(T0_S + at_s).encode()), *headers)
        log.append(Record(TOPIC, number, offsets[number], 0, camera.encode(), value, headers, 1, T0_S + len(log)))
        offsets[number] += chance.choice([1, 1, 2])
    return log


def _run(chance: random.Random, camera: str, now_s: dict[str, float]) -> list[tuple[float, bytes, tuple[tuple[str, bytes], ...]]]:
    """What a camera sends next: capture time after T0, value, and headers of each record."""
    begin_s = now_s[camera] + chance.choice(STEPS_S)
    match chance.choice(["stills", "segment", "units", "units", "bad"]):
        case "stills":
            count = chance.randrange(1, 5)
            now_s[camera] = begin_s + 0.5 * (count - 1)
            return [(begin_s + 0.5 * n, picture(_level(chance)), ()) for n in range(count)]
        case "segment":
            levels, fps = tuple(_level(chance) for _ in range(chance.randrange(1, 14))), chance.choice([Fraction(2), Fraction(4)])
            now_s[camera] = begin_s + float((len(levels) - 1) / fps)
            return [(begin_s, segment(levels, fps), ())]
        case "units":
            levels = tuple(_level(chance) for _ in range(chance.randrange(3, 14)))
            now_s[camera] = begin_s + 0.5 * (len(levels) - 1)
            stream = str(chance.randrange(2**30)).encode()
            kind = (("content-type", b"video/h264"), ("stream", stream))
            made = [
                (begin_s + 0.5 * unit.shown, unit.payload, (*kind, ("seq", str(seq).encode())))
                for seq, unit in enumerate(units(levels, b_frames=chance.choice([0, 2])))
            ]
            if chance.random() < 0.2:  # one of them is lost on its way, or cannot be used
                place = chance.randrange(len(made))
                made[place : place + 1] = [] if chance.random() < 0.5 else [(made[place][0], b"no unit", made[place][2])]
            return made
        case _:
            return [(begin_s, b"\x89PNG\r\n\x1a\n broken", ())]


def _level(chance: random.Random) -> int:
    """Dark or bright, rarely twice the same."""
    return chance.randrange(0, 90) if chance.random() < 0.5 else chance.randrange(160, 256)
