"""Settings: one file, the environment over it, and a sentence for everything that is wrong."""

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from tools.__main__ import COMMANDS as OURS
from tools.errors import CommandError
from tools.settings import default_map, kafka_connection
from tools.toml_file import read_toml
from tools.worker import worker

COMMANDS = {"worker": ["model", "group"], "replay": ["speed"]}


def test_general_keys_reach_every_command_that_has_them_and_tables_win() -> None:
    """`group` at the top is worker's default; [worker] overrides it; replay has no such option and gets nothing."""
    values = default_map({"group": "a", "speed": "2", "worker": {"group": "b"}}, COMMANDS)
    assert values == {"worker": {"group": "b"}, "replay": {"speed": "2"}}


def parameters(command: Any) -> dict[str, Any]:
    """Types and options of a command by parameter."""
    return {name: each.annotation for name, each in signature(command, eval_str=True).parameters.items()}


@pytest.mark.parametrize("command", OURS.values(), ids=OURS)
def test_no_option_of_one_command_takes_a_shared_options_key(command: Any) -> None:
    """`cameras = "cameras.toml"` at the top of a settings file is for those that share it, not for a number of cameras."""
    shared = {name: kind for name, kind in parameters(worker).items() if kind.__metadata__[0].envvar}
    assert {"model", "devices", "cameras", "bootstrap_servers", "alerts_topic"} < shared.keys()
    others = {name: kind for name, kind in parameters(command).items() if name in shared and kind != shared[name]}
    assert others == {}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"modle": "x"}, "'modle'"),
        ({"wroker": {"group": "x"}}, r"\[wroker\]"),
        ({"worker": {"speed": "x"}}, r"\[worker\] has no option 'speed'"),
    ],
)
def test_a_key_that_nobody_knows_is_named(values: dict[str, object], named: str) -> None:
    """A typo must never pass silently."""
    with pytest.raises(CommandError, match=named):
        default_map(values, COMMANDS)


def test_a_missing_or_broken_settings_file_is_named(tmp_path: Path) -> None:
    """The message holds the path."""
    with pytest.raises(CommandError, match=r"none\.toml"):
        read_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("group = ", encoding="utf-8")
    with pytest.raises(CommandError, match=r"broken\.toml is no TOML"):
        read_toml(broken)


def test_environment_wins_over_the_kafka_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """PAWSIGHT_KAFKA_SASL_USERNAME is stronger than [kafka] sasl_username, and the password is never shown."""
    table = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "file"}
    monkeypatch.setenv("PAWSIGHT_KAFKA_SASL_USERNAME", "environment")
    monkeypatch.setenv("PAWSIGHT_KAFKA_SASL_PASSWORD", "hush")
    connection = kafka_connection("kafka:9092", {"kafka": table})
    assert connection.sasl_username == "environment"
    assert connection.client_options()["sasl_plain_password"] == "hush"  # noqa: S105  (the test's own)
    assert "hush" not in repr(connection)


def test_kafka_settings_that_contradict_each_other_are_refused() -> None:
    """A mechanism without a SASL protocol would be ignored by clients: it is an error here."""
    with pytest.raises(CommandError, match="sasl_mechanism"):
        kafka_connection(None, {"kafka": {"sasl_mechanism": "PLAIN"}})
    with pytest.raises(CommandError, match="'user'"):
        kafka_connection(None, {"kafka": {"user": "x"}})
