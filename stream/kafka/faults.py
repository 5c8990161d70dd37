"""What aiokafka's errors mean for a stream: refused for good, or lost and worth a restart.

Of what a transaction raises only a refusal ends the worker. Everything else, whatever its class, means one thing: it failed or
its outcome is unknown, so the partition's memory and its client are dropped, and what is committed is read again. aiokafka
raises more than its own errors there: `AssertionError` from a client that failed before, `IllegalOperation` from one that gave
up meanwhile, `TimeoutError` at our own deadline. tests/integration/test_error_codes.py holds what it does for each error code.

The sentences name the cluster and the remedy; nothing else of a client's state gets into them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from stream.errors import SourceLost, StreamError, StreamRefused
from stream.kafka.connection import KafkaConnection

NOT_ALLOWED = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
"""What no restart mends."""


def refusal(error: BaseException) -> BaseException | None:
    """Find what no restart mends behind an error; None if there is nothing of the kind.

    aiokafka's sender and its search for a coordinator raise a plain `KafkaError` that has the broker's answer as its cause.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, NOT_ALLOWED):
        found = found.__cause__
    return found


def as_stream_error(error: Exception, connection: KafkaConnection) -> StreamError:
    """Say in one sentence what a client's error means."""
    where = connection.bootstrap_servers
    refused = refusal(error)
    if refused is not None:
        return StreamRefused(f"Kafka at {where} does not allow it: {_words(refused)}. Check the [kafka] settings and the ACLs")
    if isinstance(error, KafkaConnectionError):
        return SourceLost(
            f"no Kafka broker can be used at {where}. Start one with `tools/run broker`, give another with --bootstrap-servers, "
            f"or check the [kafka] settings (security_protocol is {connection.security_protocol})"
        )
    return SourceLost(f"Kafka at {where} failed: {_words(error)}")


@asynccontextmanager
async def reaching(connection: KafkaConnection) -> AsyncIterator[None]:
    """Turn what a client raises inside the block into StreamErrors.

    Raises:
        StreamRefused: not allowed, or settings that no client takes.
        SourceLost: no broker answers, or the cluster failed.
    """
    try:
        yield
    except (KafkaError, OSError, TimeoutError) as error:
        raise as_stream_error(error, connection) from error
    except ValueError as error:
        msg = f"[kafka] settings: {error}"
        raise StreamRefused(msg) from error


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
