"""What aiokafka's errors mean for a stream: refused for good, or lost and worth a restart.

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
    UnsupportedSaslMechanismError,
)
"""What no restart mends."""


def as_stream_error(error: Exception, connection: KafkaConnection) -> StreamError:
    """Say in one sentence what a client's error means."""
    where = connection.bootstrap_servers
    if isinstance(error, NOT_ALLOWED):
        return StreamRefused(f"Kafka at {where} does not allow it: {_words(error)}. Check the [kafka] settings and the ACLs")
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


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
