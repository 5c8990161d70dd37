"""The settings file and the environment: the only reader of os.environ.

One TOML file, given by `--settings FILE` or PAWSIGHT_SETTINGS:

    model = "Salesforce/blip-vqa-base"        # any option, for every command that has it: dashes become underscores
    bootstrap_servers = "kafka-1:9093"
    [worker]                                  # options of one command win over the general ones
    group = "night-shift"
    [kafka]                                   # TLS and SASL, for every command that reaches Kafka
    security_protocol = "SASL_SSL"
    sasl_password_file = "/run/secrets/kafka"

Precedence, highest first: command line, environment variable, [command] table, top level of the file, default.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.errors import CommandError
from tools.options import DEFAULT_BOOTSTRAP

if TYPE_CHECKING:  # aiokafka stays out of --help
    from stream.kafka.connection import KafkaConnection

KAFKA_TABLE = "kafka"


def default_map(settings: Mapping[str, Any], commands: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """Turn the settings into defaults per command.

    Args:
        settings: the file's content.
        commands: every command's name and its parameters' names.

    Raises:
        CommandError: a key that no command knows, or a table that is no command.
    """
    known = {name for parameters in commands.values() for name in parameters}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict) and key != KAFKA_TABLE}
    general = {key: value for key, value in settings.items() if key not in tables and key != KAFKA_TABLE}
    for key in general:
        if key not in known:
            msg = f"settings: unknown key {key!r}; a key is an option's name with underscores, such as {sorted(known)[:4]}"
            raise CommandError(msg)
    for table, values in tables.items():
        if table not in commands:
            msg = f"settings: unknown table [{table}]; tables are [kafka] and the commands {sorted(commands)}"
            raise CommandError(msg)
        for key in values:
            if key not in set(commands[table]):
                msg = f"settings: [{table}] has no option {key!r}; it has {sorted(commands[table])}"
                raise CommandError(msg)
    return {
        command: {key: value for key, value in general.items() if key in set(parameters)} | tables.get(command, {})
        for command, parameters in commands.items()
    }


def kafka_connection(bootstrap_servers: str | None, settings: Mapping[str, Any] | None = None) -> "KafkaConnection":
    """Join the broker list with the security settings of [kafka] and PAWSIGHT_KAFKA_*.

    Every field of `KafkaConnection` but the broker list is a key of [kafka]; PAWSIGHT_KAFKA_<FIELD> wins over the file.

    Raises:
        CommandError: a key that does not exist, or settings that contradict each other.
    """
    from stream.kafka.connection import KafkaConnection

    table = dict((settings or _loaded).get(KAFKA_TABLE, {}))
    fields = [name for name in KafkaConnection.__dataclass_fields__ if name != "bootstrap_servers"]
    for key in table:
        if key not in fields:
            msg = f"settings: [kafka] has no key {key!r}; it has {fields}"
            raise CommandError(msg)
    for name in fields:
        value = os.environ.get(f"PAWSIGHT_KAFKA_{name.upper()}")
        if value is not None:
            table[name] = value
    try:
        return KafkaConnection(bootstrap_servers=bootstrap_servers or DEFAULT_BOOTSTRAP, **table)
    except (TypeError, ValueError) as error:
        msg = f"[kafka] settings: {error}"
        raise CommandError(msg) from error


def apply(environment: Mapping[str, str]) -> dict[str, str]:
    """Set what a device's vendor package reads when it is imported. What the user has set stays; return what of it differs."""
    return {name: found for name, value in environment.items() if (found := os.environ.setdefault(name, value)) != value}


def cache_dir() -> Path:
    """Folder for what can be made again: PAWSIGHT_CACHE, else XDG_CACHE_HOME/pawsight, else ~/.cache/pawsight."""
    own = os.environ.get("PAWSIGHT_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pawsight"


def worker_name() -> str:
    """Name of this process for people: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


_loaded: dict[str, Any] = {}


def keep(settings: Mapping[str, Any]) -> None:
    """Hold the settings of this process; called once, before any command runs."""
    _loaded.update(settings)
