"""What a client's error means: refused for good, or lost and worth a restart."""

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from stream.errors import SourceLost, StreamRefused
from stream.kafka.connection import KafkaConnection
from stream.kafka.faults import as_stream_error, refusal

CONNECTION = KafkaConnection("kafka:9092")


def caused(error: Exception, cause: BaseException) -> Exception:
    """An error as `raise error from cause` leaves it."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(TransactionalIdAuthorizationFailed("pawsight.g.frames.0"), id="bare"),
        pytest.param(caused(KafkaError("sender"), TransactionalIdAuthorizationFailed("pawsight.g.frames.0")), id="as a cause"),
        pytest.param(
            caused(ValueError("x"), caused(KafkaError("y"), TransactionalIdAuthorizationFailed("pawsight.g.frames.0"))),
            id="as a cause's cause",
        ),
    ],
)
def test_refusal_is_found_and_named(error: Exception) -> None:
    """However deep it lies, the sentence names what is refused, the cluster and the remedy."""
    meaning = as_stream_error(error, CONNECTION)
    assert isinstance(meaning, StreamRefused)
    assert "kafka:9092 does not allow it" in str(meaning)
    assert "TransactionalIdAuthorizationFailed: pawsight.g.frames.0" in str(meaning)
    assert "ACLs" in str(meaning)


@pytest.mark.parametrize(
    "error",
    [
        ProducerFenced(),
        KafkaError("x"),
        KafkaConnectionError("x"),
        AssertionError("x"),
        TimeoutError(),
        caused(OSError(), ValueError()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_worth_a_restart(error: Exception) -> None:
    """Nothing but a refusal ends a worker for good."""
    assert refusal(error) is None
    assert isinstance(as_stream_error(error, CONNECTION), SourceLost)


def test_error_of_an_error_handler_is_no_refusal() -> None:
    """What was merely being handled when something else went wrong says nothing about it."""
    error = KafkaError("x")
    error.__context__ = TopicAuthorizationFailedError("frames")
    assert refusal(error) is None
