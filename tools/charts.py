"""What all charts have in common. matplotlib is no dependency of the worker: `tools/run` installs it where charts are drawn."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.errors import CommandError
from tools.outputs import check_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#2f6f9f", "#d98032", "#4f9d69", "#a94f78", "#6b5fa8", "#8c7a3d")
"""Colours of series, dark enough on white and light enough on black to be told apart by their lightness, too."""
GREY = "#8a8f98"
"""Of what is there for comparison."""
_DPI = 120


def check_chart(option: str, path: Path) -> None:
    """See before minutes of measuring that a chart can be drawn.

    Raises:
        CommandError: naming the option: no PNG or SVG, it cannot be written, or matplotlib is missing.
    """
    if path.suffix.lower() not in {".png", ".svg"}:
        msg = f"{option} {path}: give a name that ends in .png or .svg"
        raise CommandError(msg)
    check_writable(option, path)
    if find_spec("matplotlib") is None:
        msg = f"{option} needs matplotlib, which is not installed: start the command by tools/run, which installs it"
        raise CommandError(msg)


def save_chart(figure: "Figure", path: Path, title: str, words: str) -> None:
    """Draw to a PNG or SVG file, with what it shows in words as its Description, for those who cannot see it.

    Raises:
        CommandError: the file cannot be written.
    """
    try:
        figure.savefig(path, format=path.suffix.lower()[1:], dpi=_DPI, metadata={"Title": title, "Description": words})
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise CommandError(msg) from error


def tidy(axes: "Axes") -> None:
    """Take away the lines that frame nothing."""
    sides: Any = axes.spines
    sides[["top", "right"]].set_visible(False)
