"""Requests as a real client encodes them are read, and a held one is due at its moment and no other."""

import contextlib
import struct

import pytest
from aiokafka.protocol.produce import ProduceRequest_v3
from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest_v0,
    EndTxnRequest_v0,
    InitProducerIdRequest_v0,
    InitProducerIdResponse_v0,
)
from hypothesis import given
from hypothesis import strategies as st

from tools.chaos.applied import Applied, Held
from tools.chaos.frames import Api, Request, error_code
from tools.chaos.rules import AFTER_ALERTS, BEFORE_STATE, BETWEEN, Hold, Moment

PLACES = {"A": "alerts", "S": "state"}


def framed(request: object, correlation_id: int = 1, client: str | None = "pawsight-w1") -> bytes:
    """A request's bytes on the wire."""
    header = struct.pack(">hhi", request.API_KEY, request.API_VERSION, correlation_id)  # type: ignore[attr-defined]
    name = struct.pack(">h", -1) if client is None else struct.pack(">h", len(client.encode())) + client.encode()
    body = header + name + request.encode()  # type: ignore[attr-defined]
    return struct.pack(">i", len(body)) + body


def letter(kind: str, transaction: int, correlation_id: int = 1, owner: str = "t") -> Request:
    """One request of a transaction: I(nit), a/s (add partitions of alerts, state), A/S (produce to them), E(nd)."""
    if kind == "I":
        request: object = InitProducerIdRequest_v0(transactional_id=owner, transaction_timeout_ms=1000)
    elif kind == "E":
        request = EndTxnRequest_v0(transactional_id=owner, producer_id=1, producer_epoch=0, transaction_result=True)
    elif kind.islower():
        topic = PLACES[kind.upper()]
        request = AddPartitionsToTxnRequest_v0(transactional_id=owner, producer_id=1, producer_epoch=0, topics=[(topic, [0])])
    else:
        batch = b"%s %d" % (PLACES[kind].encode(), transaction)
        request = ProduceRequest_v3(transactional_id=owner, required_acks=-1, timeout=100, topics=[(PLACES[kind], [(0, batch)])])
    return Request.parse(framed(request, correlation_id))


def due_at(moment: Moment, held: str, after: str) -> int | None:
    """Before which of the requests that follow a held one it is delivered."""
    applied = Applied(Hold(frozenset({Api(letter(held, 0).api)}), moment))
    applied.hold(Held(letter(held, 0), 1))
    transaction = 0
    for place, kind in enumerate(after):
        if applied.take_due(letter(kind, transaction, correlation_id=place + 2)):
            return place
        transaction += kind in "IE"
    return None


@pytest.mark.parametrize(
    ("moment", "held", "after", "place"),
    [
        pytest.param(BETWEEN, "E", "EaAsSE", 1, id="the repeated end is passed, the next transaction has not begun"),
        pytest.param(AFTER_ALERTS, "E", "EaAsSE", 3, id="alerts are written, state is not added"),
        pytest.param(BEFORE_STATE, "E", "EaAsSE", 4, id="state is added, not written"),
        pytest.param(AFTER_ALERTS, "E", "EaaaAsSE", 5, id="a request that is sent again counts once"),
        pytest.param(AFTER_ALERTS, "E", "EsSEaAsSE", 6, id="a transaction without alerts has no such moment"),
        pytest.param(AFTER_ALERTS, "E", "IIaAsSE", 4, id="a new owner's two-phase start begins the next transaction"),
        pytest.param(AFTER_ALERTS, "a", "aAsSEaAsSE", 7, id="the rest of the transaction it belongs to is passed"),
        pytest.param(BETWEEN, "I", "IaAsSE", 1, id="a repeated start begins the next transaction"),
        pytest.param(BEFORE_STATE, "E", "EaAE", None, id="a transaction that never has its moment"),
    ],
)
def test_held_request_is_due_at_its_moment(moment: Moment, held: str, after: str, place: int | None) -> None:
    """The moment is one of the next transaction of the same transactional id."""
    assert due_at(moment, held, after) == place


def test_other_transactional_ids_do_not_count() -> None:
    """Requests of another partition's producer are not the next transaction."""
    applied = Applied(Hold(frozenset({Api.END_TXN}), BETWEEN))
    applied.hold(Held(letter("E", 0), 1))
    assert not any(applied.take_due(letter(kind, 1, owner="other")) for kind in "EaAsSE")


@given(client=st.none() | st.text(max_size=20), owner=st.text(max_size=20), correlation_id=st.integers(0, 2**31 - 1))
def test_header_and_transactional_id_are_read(client: str | None, owner: str, correlation_id: int) -> None:
    """Whatever the ids are, also none."""
    request = InitProducerIdRequest_v0(transactional_id=owner, transaction_timeout_ms=7)
    read = Request.parse(framed(request, correlation_id, client))
    assert (read.api, read.version, read.client, read.transactional_id) == (Api.INIT_PRODUCER_ID, 0, client, owner)
    assert read.frame == framed(request, correlation_id, client)


@given(rest=st.binary(max_size=60))
def test_other_bytes_are_refused_or_read(rest: bytes) -> None:
    """No bytes raise anything else than the promised error."""
    with contextlib.suppress(ValueError):
        Request.parse(struct.pack(">i", len(rest)) + rest)


def test_error_code_of_an_answer_is_found() -> None:
    """As the broker encodes it; none in an answer that never came."""
    body = InitProducerIdResponse_v0(throttle_time_ms=0, error_code=47, producer_id=-1, producer_epoch=-1).encode()
    assert error_code(Api.INIT_PRODUCER_ID, struct.pack(">ii", len(body) + 4, 1) + body) == 47
    assert error_code(Api.END_TXN, b"") is None


def test_only_transactional_requests_can_be_held() -> None:
    """Anything else has no next transaction to be delivered in."""
    with pytest.raises(ValueError, match="HEARTBEAT"):
        Hold(frozenset({Api.HEARTBEAT}), BETWEEN)
