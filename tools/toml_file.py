"""Reads a TOML file that a user named; says which and why if it cannot be read."""

import tomllib
from pathlib import Path
from typing import Any

from tools.errors import CommandError


def read_toml(path: Path) -> dict[str, Any]:
    """Give the file's content.

    Raises:
        CommandError: there is no such file, or it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise CommandError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path} is no TOML: {error}"
        raise CommandError(msg) from error
