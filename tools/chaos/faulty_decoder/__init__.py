"""A folder for PYTHONPATH: every interpreter that starts under it has a Pillow with a bug (`sitecustomize`).

So a worker and the child in which it tries records run into the bug like on a machine with a broken library, and neither of them
knows of it. What decides is the record alone: a word in the PNG's text.
"""

from enum import StrEnum
from pathlib import Path

FOLDER = Path(__file__).parent
KEYWORD = "oracle.poison"
"""Of the PNG's text chunk that says what decoding does. `sitecustomize`, which stands outside of every package, repeats it."""


class Bug(StrEnum):
    """What decoding such a picture does."""

    DIES = "dies"
    """The process dies of SIGSEGV."""
    HANGS = "hangs"
    """The decoder never comes back."""
