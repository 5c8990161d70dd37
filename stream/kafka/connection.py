"""How to reach a Kafka cluster: addresses, TLS and SASL, as keyword arguments for any aiokafka client.

Secrets are fields that no representation shows, or files that are read anew for each client (a token file for each connection).
Knows nothing of topics, groups or where its values come from.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = (*PASSWORD_MECHANISMS, "OAUTHBEARER")


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """Addresses and security of one cluster. Every field but the first is a key of the settings file's [kafka] table.

    Raises:
        ValueError: an address that is none, or settings that are missing or contradict each other.
    """

    bootstrap_servers: str
    """`HOST:PORT,...`; an IPv6 address stands in brackets."""
    security_protocol: str = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    ssl_cafile: str | None = None
    """PEM file with the certificates that sign the brokers'; the system's own where none is given."""
    ssl_certfile: str | None = None
    """PEM file with this client's certificate, where the brokers ask for one."""
    ssl_keyfile: str | None = None
    """PEM file with the certificate's key, unless that lies in ssl_certfile."""
    ssl_key_password_file: str | None = None
    """File with the key's password."""
    sasl_mechanism: str | None = None
    """PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."""
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    """The password itself (from the environment), or:"""
    sasl_password_file: str | None = None
    sasl_token: str | None = field(default=None, repr=False)
    """OAUTHBEARER: the token itself (from the environment), or:"""
    sasl_token_file: str | None = None
    """A file that something else keeps fresh; read at every connection."""
    client_id: str = "pawsight"
    """Name of this client in the brokers' logs, metrics and quotas."""

    def __post_init__(self) -> None:
        """Refuse what no client could use, before any client is made."""
        for address in self.addresses:
            _check_address(address)
        _check_one_of("security_protocol", self.security_protocol, PROTOCOLS)
        if self.security_protocol.startswith("SASL"):
            self._check_sasl()
        elif self.sasl_mechanism is not None:
            msg = f"sasl_mechanism is set, but security_protocol is {self.security_protocol}: set SASL_SSL or SASL_PLAINTEXT"
            raise ValueError(msg)
        if not self._uses_tls and (self.ssl_cafile or self.ssl_certfile):
            msg = f"ssl_cafile or ssl_certfile is set, but security_protocol is {self.security_protocol}: set SSL or SASL_SSL"
            raise ValueError(msg)
        if self.ssl_keyfile and not self.ssl_certfile:
            msg = "ssl_keyfile is set without ssl_certfile: give the certificate that belongs to the key"
            raise ValueError(msg)

    @property
    def addresses(self) -> list[str]:
        """The bootstrap servers one by one."""
        return [address.strip() for address in self.bootstrap_servers.split(",")]

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka client takes. Holds the secrets: pass it on, never show it.

        Raises:
            ValueError: a certificate, key or secret file cannot be read.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": self.addresses,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
        }
        if self._uses_tls:
            options["ssl_context"] = self._ssl_context()
        if self.sasl_mechanism in PASSWORD_MECHANISMS:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password or _read_secret("sasl_password_file", self.sasl_password_file)
        elif self.sasl_mechanism == "OAUTHBEARER":
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_oauth_token_provider"] = _Token(self)
        return options

    @property
    def _uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    def _check_sasl(self) -> None:
        if self.sasl_mechanism is None:
            msg = f"security_protocol {self.security_protocol} needs a sasl_mechanism, one of {', '.join(MECHANISMS)}"
            raise ValueError(msg)
        _check_one_of("sasl_mechanism", self.sasl_mechanism, MECHANISMS)
        if self.sasl_mechanism == "OAUTHBEARER":
            _check_exactly_one("OAUTHBEARER", sasl_token=self.sasl_token, sasl_token_file=self.sasl_token_file)
            return
        if not self.sasl_username:
            msg = f"sasl_mechanism {self.sasl_mechanism} needs a sasl_username"
            raise ValueError(msg)
        _check_exactly_one(self.sasl_mechanism, sasl_password=self.sasl_password, sasl_password_file=self.sasl_password_file)

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile:
                password = (
                    _read_secret("ssl_key_password_file", self.ssl_key_password_file) if self.ssl_key_password_file else None
                )
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
        except OSError as error:  # ssl.SSLError among them
            files = [name for name in (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile) if name]
            msg = f"the TLS files {', '.join(files) or '(the system certificates)'} cannot be used: {error.strerror or error}"
            raise ValueError(msg) from error
        return context


class _Token(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka's base is untyped
    """The bearer token; a file is read anew each time, because tokens expire."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection

    async def token(self) -> str:
        """Called by aiokafka whenever it authenticates a connection."""
        if self._connection.sasl_token:
            return self._connection.sasl_token
        return await asyncio.to_thread(_read_secret, "sasl_token_file", self._connection.sasl_token_file)


def _check_address(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 2**16) or (":" in host and not host.startswith("[")):
        msg = f"bootstrap server {address!r} is no HOST:PORT; give one or more, separated by commas"
        raise ValueError(msg)


def _check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = f"{name} {value!r} is not known; it is one of {', '.join(allowed)}"
        raise ValueError(msg)


def _check_exactly_one(mechanism: str, **given: str | None) -> None:
    if sum(1 for value in given.values() if value) != 1:
        msg = f"sasl_mechanism {mechanism} needs exactly one of {' and '.join(given)}"
        raise ValueError(msg)


def _read_secret(name: str, path: str | None) -> str:
    assert path is not None, name
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{name} {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        raise ValueError(msg) from error
