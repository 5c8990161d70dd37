"""Kafka's requests as far as a proxy must understand them: whose they are, what they ask, and for which transactional id.

Pure: bytes in, values out. The layouts are those of the Kafka protocol guide ("Protocol", request header v1 and v2 begin alike).
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class Api(IntEnum):
    """API keys of the requests that our clients send (Kafka protocol guide, "API Keys")."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26
    DESCRIBE_CONFIGS = 32


GROUP = frozenset(Api(key) for key in (8, 9, 10, 11, 12, 13, 14))
"""What a member says to its group's coordinator, and how it looks for it."""
TRANSACTION = frozenset({Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN, Api.END_TXN})
"""What a transactional producer says to its coordinator."""
EVERYTHING = frozenset(Api)

MAX_REQUEST_BYTES = 100 * 1024 * 1024
"""Kafka's own default of socket.request.max.bytes."""

_NAMES_ITS_TRANSACTION = {
    Api.PRODUCE: range(3, 9),
    Api.INIT_PRODUCER_ID: range(2),
    Api.ADD_PARTITIONS_TO_TXN: range(3),
    Api.END_TXN: range(3),
}
"""Versions whose body begins with the transactional id as a plain nullable string; later ones use the compact encoding."""
_HEADER = struct.Struct(">hhih")
_SHORT = struct.Struct(">h")


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client."""

    frame: bytes
    """All of it, from the int32 length on: what is sent to the broker."""
    api: int
    version: int
    client: str | None
    """The client id."""
    transactional_id: str | None
    """None for a request that belongs to no transaction, or in an encoding newer than aiokafka 0.14 speaks."""
    body_at: int
    """Where in the frame the header ends."""

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Read the header, and the transactional id where there is one.

        Raises:
            ValueError: this is no Kafka request.
        """
        try:
            api, version, _, _ = _HEADER.unpack_from(frame, 4)
            client, at = _string(frame, 4 + _HEADER.size - _SHORT.size)
            versions = _NAMES_ITS_TRANSACTION.get(api)
            transactional_id = _string(frame, at)[0] if versions is not None and version in versions else None
        except (struct.error, UnicodeDecodeError) as error:
            msg = f"no Kafka request: {frame[:32].hex()}"
            raise ValueError(msg) from error
        return cls(frame, api, version, client, transactional_id, at)

    def repeats(self, other: Self) -> bool:
        """Whether this is the other one sent again: the same but for the correlation id."""
        return self.api == other.api and self.frame[self.body_at :] == other.frame[other.body_at :]

    @property
    def name(self) -> str:
        """The API's name for people."""
        return Api(self.api).name.lower() if self.api in EVERYTHING else f"api_{self.api}"


def error_code(api: int, answer: bytes) -> int | None:
    """Error code in the answer (with its length) to a transactional request of version 0; None if there was no answer.

    After length, correlation id and throttle time come the code (InitProducerId, EndTxn) or one code a partition
    (AddPartitionsToTxn), of which the last is taken.
    """
    if len(answer) < 14:  # noqa: PLR2004  (three int32 and an int16)
        return None
    (code,) = _SHORT.unpack_from(answer, len(answer) - 2 if api == Api.ADD_PARTITIONS_TO_TXN else 12)
    return int(code)


def _string(frame: bytes, at: int) -> tuple[str | None, int]:
    """A nullable string at a place, and the place after it."""
    (length,) = _SHORT.unpack_from(frame, at)
    at += _SHORT.size
    if length < 0:
        return None, at
    if at + length > len(frame):
        msg = "string longer than its frame"
        raise struct.error(msg)
    return frame[at : at + length].decode(), at + length
