"""The Pillow with a bug: it shows in every interpreter under its folder, at marked pictures only, and nowhere else."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tools.chaos.faulty_decoder import FOLDER, KEYWORD, Bug

PATIENCE_S = 30.0
PROGRAM = (
    "import sys; from PIL import Image; print('opened', Image.open(sys.argv[1]).size, flush=True); Image.open(sys.argv[1]).load()"
)


def picture(folder: Path, bug: Bug | None) -> Path:
    """A PNG at which the bug shows, or none."""
    text = PngInfo()
    if bug is not None:
        text.add_text(KEYWORD, bug)
    Image.new("RGB", (8, 8)).save(folder / "a.png", pnginfo=text)
    return folder / "a.png"


def decoding(file: Path, *machine: str) -> "subprocess.Popen[bytes]":
    """An interpreter that decodes it."""
    return subprocess.Popen([*machine, sys.executable, "-P", "-c", PROGRAM, str(file)], stdout=subprocess.PIPE)


@pytest.mark.parametrize("bug", [Bug.DIES, None])
def test_the_interpreter_dies_of_a_marked_picture_alone(bug: Bug | None, tmp_path: Path) -> None:
    """By a signal that it brings upon itself."""
    with decoding(picture(tmp_path, bug), "env", f"PYTHONPATH={FOLDER}") as process:
        assert process.wait(PATIENCE_S) == (0 if bug is None else -signal.SIGSEGV)


def test_the_decoder_never_comes_back(tmp_path: Path) -> None:
    """The header can be read: it is decoding that hangs."""
    with decoding(picture(tmp_path, Bug.HANGS), "env", f"PYTHONPATH={FOLDER}") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"opened")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        process.kill()


@pytest.mark.parametrize("bug", Bug)
def test_other_machines_decode_them(bug: Bug, tmp_path: Path) -> None:
    """The picture itself is sound."""
    with decoding(picture(tmp_path, bug)) as process:
        assert process.wait(PATIENCE_S) == 0
