"""Short words for the tests of a partition's books: records, answers, letters, proofs."""

from collections.abc import Mapping
from dataclasses import replace

from stream.camera_state import CameraState
from stream.clock import ClockState
from stream.partition import Partition, Step
from stream.ports import Assigned, Proof, Tick
from stream.state_records import CameraRecord, Cursor, DecoderPlace, Place, RecordMark
from stream.types import Answer, DeadLetter, Observation, Position, Record
from tests.unit.partition_world import NUMBER, RULES, T0_S, TOPIC


def clock(at_s: float, **more: object) -> ClockState:
    """A camera's clock whose last picture was captured then."""
    return replace(ClockState(T0_S, T0_S + at_s, None), **more)


def known(cursor: Cursor, *, decoder: DecoderPlace | None = None, at_s: float = 0.0, camera: str = "den") -> CameraRecord:
    """A camera's record; its last picture arrived when it was captured."""
    state = CameraState(camera, 1, clock(at_s), T0_S + at_s, lost=False, sightings=1)
    return CameraRecord(state, cursor, decoder)


def partition(cameras: Mapping[str, CameraRecord] | None = None, **assigned: object) -> Partition:
    """The books under incarnation 7."""
    cameras = {} if cameras is None else cameras
    return Partition(Assigned(TOPIC, NUMBER, 7, cameras=cameras, **assigned), dict.fromkeys(cameras, RULES))


def opened(books: Partition, *offsets: int) -> None:
    """Open records."""
    for offset in offsets:
        books.ledger.open(RecordMark(offset, 0, offset))


def position(offset: int, index: int = 0) -> Position:
    """A picture's position."""
    return Position(TOPIC, NUMBER, offset, index, 7)


def still(books: Partition, offset: int, *, camera: str = "den", asked: bool = True) -> None:
    """Take a record of one picture: asked, or sampled out."""
    opened(books, offset)
    at = clock(offset)
    picture = [Step(Place(Cursor(offset, 1), at), position(offset))] if asked else []
    books.enqueue(camera, [*picture, Step(Place(Cursor(offset + 1), at), settles=(offset,))])


def answered(books: Partition, offset: int, *, camera: str = "den", p_yes: float = 0.1) -> None:
    """Apply the answer about a record's first picture; it arrived when it was captured."""
    at_s = T0_S + offset
    answers = {"flipping": Answer(p_yes, 1.0), "barking": Answer(p_yes, 1.0)}
    books.observe(Observation(position(offset), camera, at_s, answers, clock(offset), None, at_s), RULES)


def letter(offset: int, size: int = 0) -> DeadLetter:
    """A record that cannot be used, with a value of `size` bytes, and ten more of key and header."""
    headers = (("seq", b"1234"),)
    return DeadLetter(Record(TOPIC, NUMBER, offset, 0, b"den", bytes(size), headers, 7, 0.0), "decode", "corrupt", "damaged")


def proof(asked_at_s: float) -> Proof:
    """The end was seen, so many seconds after T0, long after the start."""
    return Proof(TOPIC, NUMBER, 7, T0_S + asked_at_s, T0_S - 1000)


def told(tick: Tick) -> list[str]:
    """What its events say."""
    return [event.kind.value for event in tick.events]
