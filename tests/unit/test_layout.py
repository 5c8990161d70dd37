"""The house: the packages are ours, the top level is the card's, nothing names this machine."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("package", ["pipeline", "stream", "tools"])
def test_package_resolves_inside_the_checkout(package: str) -> None:
    """The generic package names must never resolve to somebody else's installed package."""
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_top_level_holds_only_what_the_design_names() -> None:
    """A stranger finds eight things at the top, and each is where the design says."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name.split("/")[0] for name in tracked} == {
        ".ci", ".gitignore", "LICENSE", "README.md", "artifacts", "pipeline", "pyproject.toml", "stream", "tests", "tools",
    }  # fmt: skip


def test_no_file_is_longer_than_its_one_idea() -> None:
    """A file over 300 lines holds two ideas."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("pipeline", "stream", "tools", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert long == {}


@pytest.mark.parametrize("document", ["README.md", "artifacts/README.md"])
def test_documents_are_finished_and_their_links_lead_somewhere(document: str) -> None:
    """No placeholder is left, and what is linked inside the repository is there."""
    path = ROOT / document
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"@[A-Z]+@", text) == []
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []
