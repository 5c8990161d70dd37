"""Sees before minutes of work that what comes of it can be written where the user wants it."""

from pathlib import Path
from tempfile import TemporaryFile

from tools.errors import CommandError


def check_writable(option: str, path: Path) -> None:
    """Try to write a file, and leave what is there as it is.

    Raises:
        CommandError: naming the option: the path is a folder, lies in none, or cannot be written.
    """
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        reason = "it is a folder: give a file" if path.is_dir() else f"there is no folder {folder}: make it first"
        msg = f"{option} {path}: {reason}"
        raise CommandError(msg)
    try:
        with path.open("ab") if path.exists() else TemporaryFile(dir=folder):  # leaves what is there, and leaves nothing there
            pass
    except OSError as error:
        msg = f"{option} {path}: {error.strerror}: give a file that can be written"
        raise CommandError(msg) from error
