"""The [kafka] settings: every mechanism reaches the clients, contradictions are named, secrets are never shown."""

import logging
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from stream.kafka.connection import KafkaConnection

BROKERS = "kafka-1:9093, [::1]:9093"
SECRET = "correct horse battery staple"  # noqa: S105  (shown nowhere: that is the test)

WAYS: dict[str, dict[str, Any]] = {
    "plain text": {},
    "tls": {"security_protocol": "SSL"},
    "sasl plain": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": SECRET},
    "scram 256": {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_username": "u",
        "sasl_password": SECRET,
    },
    "scram 512": {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "u",
        "sasl_password": SECRET,
    },
    "oauth": {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_token": SECRET},
}


@pytest.mark.asyncio
@pytest.mark.parametrize("settings", WAYS.values(), ids=list(WAYS))
async def test_every_way_is_taken_by_every_client(settings: dict[str, Any]) -> None:
    """Consumer, producer and administrator accept the options of each mechanism."""
    options = KafkaConnection(BROKERS, **settings).client_options()
    for client in (AIOKafkaConsumer(**options), AIOKafkaProducer(**options)):
        await client.stop()
    await AIOKafkaAdminClient(**options).close()
    assert options["bootstrap_servers"] == ["kafka-1:9093", "[::1]:9093"]
    assert options["security_protocol"] == settings.get("security_protocol", "PLAINTEXT")
    assert options.get("sasl_mechanism") == settings.get("sasl_mechanism")
    assert options.get("sasl_plain_password") == settings.get("sasl_password")


@pytest.mark.parametrize("settings", WAYS.values(), ids=list(WAYS))
def test_no_text_of_a_connection_holds_the_secret(settings: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Neither repr nor str nor a log line shows a password or token."""
    connection = KafkaConnection(BROKERS, **settings)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger(__name__).debug("%s %r", connection, connection)
    for text in (str(connection), repr(connection), f"{connection}", caplog.text):
        assert SECRET not in text


def test_password_file_is_read_for_each_client(tmp_path: Path) -> None:
    """A password file that changed is used by the next client, without the line's end."""
    file = tmp_path / "password"
    settings = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"}
    connection = KafkaConnection(BROKERS, sasl_password_file=str(file), **settings)
    for password in ("first", "second"):
        file.write_text(password + "\n")
        assert connection.client_options()["sasl_plain_password"] == password


@pytest.mark.asyncio
async def test_token_file_is_read_at_each_authentication(tmp_path: Path) -> None:
    """A token that something else renews is read anew whenever aiokafka asks for it."""
    file = tmp_path / "token"
    connection = KafkaConnection(BROKERS, security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_token_file=str(file))
    provider = connection.client_options()["sasl_oauth_token_provider"]
    for token in ("first", "second"):
        file.write_text(token + "\n")
        assert await provider.token() == token


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no port": ({"bootstrap_servers": "kafka"}, r"'kafka' is no HOST:PORT"),
    "empty": ({"bootstrap_servers": "a:1,"}, r"'' is no HOST:PORT"),
    "bare ipv6": ({"bootstrap_servers": "::1:9092"}, r"'::1:9092' is no HOST:PORT"),
    "port too large": ({"bootstrap_servers": "a:65536"}, r"'a:65536' is no HOST:PORT"),
    "protocol": ({"security_protocol": "TLS"}, r"security_protocol 'TLS' is not known; it is one of PLAINTEXT"),
    "no mechanism": ({"security_protocol": "SASL_SSL"}, r"needs a sasl_mechanism, one of PLAIN"),
    "mechanism": ({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}, r"sasl_mechanism 'GSSAPI' is not known"),
    "mechanism without sasl": ({"sasl_mechanism": "PLAIN"}, r"security_protocol is PLAINTEXT: set SASL_SSL"),
    "no user": ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, r"PLAIN needs a sasl_username"),
    "no password": (
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"},
        r"exactly one of sasl_password and sasl_password_file",
    ),
    "two tokens": (
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_token": SECRET, "sasl_token_file": "f"},
        r"exactly one of sasl_token and sasl_token_file",
    ),
    "ca without tls": ({"ssl_cafile": "ca.pem"}, r"security_protocol is PLAINTEXT: set SSL or SASL_SSL"),
    "key without certificate": ({"security_protocol": "SSL", "ssl_keyfile": "k.pem"}, r"ssl_keyfile is set without ssl_certfile"),
}


@pytest.mark.parametrize(("settings", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_contradictions_are_named(settings: dict[str, Any], sentence: str) -> None:
    """What no client could use is refused with the value at fault and what to give instead, without the secret."""
    with pytest.raises(ValueError, match=sentence) as raised:
        KafkaConnection(**{"bootstrap_servers": BROKERS} | settings)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"security_protocol": "SSL", "ssl_cafile": "missing.pem"},
        {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "u",
            "sasl_password_file": "missing.pem",
        },
    ],
    ids=["certificate", "password"],
)
def test_missing_file_is_named(settings: dict[str, Any]) -> None:
    """A certificate or secret file that cannot be read is named when a client is made."""
    with pytest.raises(ValueError, match=r"missing\.pem.*No such file"):
        KafkaConnection(BROKERS, **settings).client_options()
