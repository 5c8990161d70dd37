"""What becomes of every error code on the delivery path, API by API.

One that no field of a row names falls to the row's `otherwise`. Two settings differ in what is retried inside: with short
back-offs a retry succeeds unnoticed; with a back-off above the deadline, as a partition's writer has it, the deadline passes and
the transaction failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from aiokafka.errors import for_code


class Code(IntEnum):
    """Kafka's error codes, as its protocol names them: what a broker may answer on the delivery path, and their neighbours."""

    UNKNOWN_SERVER_ERROR = -1
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    MESSAGE_TOO_LARGE = 10
    OFFSET_METADATA_TOO_LARGE = 12
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    UNSUPPORTED_VERSION = 35
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    KAFKA_STORAGE_ERROR = 56
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    UNKNOWN_TOPIC_ID = 100
    STALE_MEMBER_EPOCH = 113
    TRANSACTION_ABORTABLE = 120


COORDINATOR_MOVES = (Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR)
LEADER_MOVES = (
    Code.UNKNOWN_TOPIC_OR_PARTITION,
    Code.LEADER_NOT_AVAILABLE,
    Code.NOT_LEADER_OR_FOLLOWER,
    Code.REQUEST_TIMED_OUT,
    Code.KAFKA_STORAGE_ERROR,
)
GENERATION_IS_OVER = (Code.ILLEGAL_GENERATION, Code.UNKNOWN_MEMBER_ID, Code.REBALANCE_IN_PROGRESS)
REPLICAS_LACK = (Code.NOT_ENOUGH_REPLICAS, Code.NOT_ENOUGH_REPLICAS_AFTER_APPEND)

ITS_OWN = "(the code's own class)"
UNNOTICED = "goes on"
REJOINS = "joins the group again"


@dataclass(frozen=True, slots=True)
class Api:
    """What becomes of an API's error codes."""

    key: int
    """In Kafka's protocol."""
    otherwise: str = ITS_OWN
    """Class that is raised for a code that no other field names."""
    retried: tuple[Code, ...] = ()
    """Retried inside, after the client's back-off."""
    unnoticed: tuple[Code, ...] = ()
    """The call succeeds, whatever the back-off."""
    rejoins: tuple[Code, ...] = ()
    raises: Mapping[Code, str] = field(default_factory=dict)
    ends: tuple[Code, ...] = ()
    """What the policy takes for a refusal: the worker ends. For all other exceptions the partition is dropped and restored."""

    def of(self, code: Code, *, is_long: bool) -> str:
        """Give what becomes of a code.

        Args:
            code: the answer.
            is_long: with a back-off above the deadline.
        """
        if code in self.retried:
            return "TimeoutError" if is_long else UNNOTICED
        if code in self.unnoticed:
            return UNNOTICED
        if code in self.rejoins:
            return REJOINS
        raised = self.raises.get(code, self.otherwise)
        return for_code(code).__name__ if raised == ITS_OWN else raised


AUTHORIZATION = (
    Code.TOPIC_AUTHORIZATION_FAILED,
    Code.GROUP_AUTHORIZATION_FAILED,
    Code.CLUSTER_AUTHORIZATION_FAILED,
    Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    Code.SASL_AUTHENTICATION_FAILED,
)

WRITING = {
    "FindCoordinator": Api(
        10,
        otherwise="KafkaError",
        retried=(Code.REQUEST_TIMED_OUT, Code.COORDINATOR_NOT_AVAILABLE),
        raises={
            Code.GROUP_AUTHORIZATION_FAILED: ITS_OWN,
            Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ITS_OWN,
        },
        ends=AUTHORIZATION,
    ),
    "InitProducerId": Api(22, retried=(*COORDINATOR_MOVES, Code.CONCURRENT_TRANSACTIONS), ends=AUTHORIZATION),
    "AddPartitionsToTxn": Api(
        24,
        otherwise="KafkaError",
        retried=(*COORDINATOR_MOVES, Code.UNKNOWN_TOPIC_OR_PARTITION),
        unnoticed=(Code.CONCURRENT_TRANSACTIONS,),  # 20 ms, whatever the back-off: every transaction meets it
        raises={
            Code.INVALID_PRODUCER_EPOCH: "ProducerFenced",
            Code.OUT_OF_ORDER_SEQUENCE_NUMBER: ITS_OWN,
            Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ITS_OWN,
            # the client has given up meanwhile; a broker refuses what is sent to that topic, too: see the test of its own
            Code.TOPIC_AUTHORIZATION_FAILED: "IllegalOperation",
        },
        ends=(Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,),
    ),
    "Produce": Api(
        0,
        retried=(*LEADER_MOVES, *REPLICAS_LACK, *COORDINATOR_MOVES),
        unnoticed=(Code.DUPLICATE_SEQUENCE_NUMBER,),  # it is written
        raises={Code.INVALID_PRODUCER_EPOCH: "ProducerFenced"},
        ends=AUTHORIZATION,
    ),
    "EndTxn": Api(
        26,
        otherwise="KafkaError",
        retried=(*COORDINATOR_MOVES, Code.CONCURRENT_TRANSACTIONS),
        raises={
            Code.INVALID_PRODUCER_EPOCH: "ProducerFenced",
            Code.OUT_OF_ORDER_SEQUENCE_NUMBER: ITS_OWN,
            Code.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: ITS_OWN,
        },
        ends=AUTHORIZATION,
    ),
}
"""The writer of a partition."""

READING = {
    "OffsetCommit": Api(
        8,
        retried=(*LEADER_MOVES, *REPLICAS_LACK, *COORDINATOR_MOVES),
        raises=dict.fromkeys(GENERATION_IS_OVER, "CommitFailedError"),
        ends=AUTHORIZATION,
    ),
    "OffsetFetch": Api(
        9,
        otherwise="KafkaError",
        retried=(Code.COORDINATOR_LOAD_IN_PROGRESS, Code.NOT_COORDINATOR),
        unnoticed=(Code.UNKNOWN_TOPIC_OR_PARTITION,),  # as if nothing were committed
        raises={Code.GROUP_AUTHORIZATION_FAILED: ITS_OWN},
        ends=(Code.GROUP_AUTHORIZATION_FAILED,),
    ),
    "ListOffsets": Api(
        2,
        retried=(*LEADER_MOVES, *REPLICAS_LACK, *COORDINATOR_MOVES),
        raises={Code.UNSUPPORTED_FOR_MESSAGE_FORMAT: "KeyError"},
        ends=AUTHORIZATION,
    ),
    "Fetch": Api(
        1,
        unnoticed=tuple(code for code in Code if code is not Code.TOPIC_AUTHORIZATION_FAILED),
        ends=(Code.TOPIC_AUTHORIZATION_FAILED,),
    ),
}
"""Proving membership and restoring."""

_JOINING = (Code.GROUP_AUTHORIZATION_FAILED,)
BELONGING = {
    "FindCoordinator": Api(
        10,
        unnoticed=(*LEADER_MOVES, *REPLICAS_LACK, *COORDINATOR_MOVES),
        ends=AUTHORIZATION,
    ),
    "JoinGroup": Api(
        11,
        otherwise="KafkaError",
        unnoticed=(*COORDINATOR_MOVES, Code.UNKNOWN_MEMBER_ID, Code.MEMBER_ID_REQUIRED),
        raises=dict.fromkeys(
            (
                Code.INCONSISTENT_GROUP_PROTOCOL,
                Code.INVALID_GROUP_ID,
                Code.INVALID_SESSION_TIMEOUT,
                Code.GROUP_AUTHORIZATION_FAILED,
            ),
            ITS_OWN,
        ),
        ends=_JOINING,
    ),
    "SyncGroup": Api(
        14,
        otherwise="KafkaError",
        unnoticed=(Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR, *GENERATION_IS_OVER),
        raises={Code.GROUP_AUTHORIZATION_FAILED: ITS_OWN},
        ends=_JOINING,
    ),
    "Heartbeat": Api(
        12,
        otherwise="KafkaError",
        unnoticed=(Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR),
        rejoins=GENERATION_IS_OVER,
        raises={Code.GROUP_AUTHORIZATION_FAILED: ITS_OWN},
        ends=_JOINING,
    ),
}
"""Being a member. What is raised here ends the worker in any case; it is worth a restart unless it is a refusal."""


def expected(api: Api, *, is_long: bool, drops: str = "restores") -> dict[str, str]:
    """What `outcomes` should find: what is raised, and what the policy makes of it."""
    table = {}
    for code in Code:
        outcome = api.of(code, is_long=is_long)
        meaning = "ends" if code in api.ends else drops
        table[code.name] = outcome if outcome in (UNNOTICED, REJOINS) else f"{outcome}: {meaning}"
    return table
