"""tools/run on machines that lack something: one sentence that says what to do, exit status 2."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NEEDED = ["sh", "cat", "cmp", "dirname", "df", "awk", "rm"]


def machine(folder: Path, **programs: str) -> tuple[Path, dict[str, str]]:
    """A checkout without .venv and a PATH with the basic tools and `programs` (name -> shell script) only."""
    checkout, path = folder / "checkout", folder / "bin"
    (checkout / "tools").mkdir(parents=True)
    path.mkdir()
    for name in ("pyproject.toml", "tools/run", "tools/install.py", "tools/constraints.txt"):
        shutil.copy(ROOT / name, checkout / name)
    for name in NEEDED:
        if name not in programs:
            found = shutil.which(name)
            assert found is not None, name
            (path / name).symlink_to(found)
    for name, script in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (path / name).chmod(0o755)
    return checkout, {"PATH": str(path)}


def refused(checkout: Path, environment: dict[str, str]) -> str:
    """What tools/run says when it gives up."""
    done = subprocess.run([checkout / "tools" / "run", "demo"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    return done.stderr.strip()


def test_a_machine_without_python_is_told_to_install_one(tmp_path: Path) -> None:
    """One sentence with the remedy."""
    said = refused(*machine(tmp_path))
    assert "no Python >= 3.11 found: install one" in said
    assert len(said.splitlines()) == 1


def test_an_old_python_is_no_python(tmp_path: Path) -> None:
    """An interpreter that fails the version check is passed over."""
    assert "no Python >= 3.11 found" in refused(*machine(tmp_path, python3="exit 1"))


def test_a_python_without_venv_is_told_which_package_has_it(tmp_path: Path) -> None:
    """Debian ships venv apart."""
    only_version = 'case "$2" in *version_info*) exit 0;; *) exit 1;; esac'
    assert "has no venv module: install it" in refused(*machine(tmp_path, python3=only_version))


def test_a_full_disk_is_named_before_anything_is_made(tmp_path: Path) -> None:
    """5 GB do not fit into 100 MiB; nothing is left behind."""
    df = "echo header; echo /dev/disk 1000 900 100 90% /"
    checkout, environment = machine(tmp_path, python3="exit 0", df=df)
    assert "100 MiB free" in refused(checkout, environment)
    assert not (checkout / ".venv").exists()


def test_a_second_call_installs_nothing(tmp_path: Path) -> None:
    """With the environment in place the script goes straight to the command."""
    checkout, environment = machine(tmp_path)
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "ran $*"\n', encoding="utf-8")
    python.chmod(0o755)
    wanted = [checkout / "pyproject.toml", checkout / "tools" / "constraints.txt", checkout / "tools" / "install.py"]
    (checkout / ".venv" / ".pawsight-run").write_bytes(b"".join(file.read_bytes() for file in wanted))
    done = subprocess.run(
        [checkout / "tools" / "run", "watch", "a b.mp4"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "ran -P -m tools watch a b.mp4\n"
    assert os.fspath(python.parent) not in done.stderr


def test_bench_installs_what_draws_and_the_tests_hold_it(tmp_path: Path) -> None:
    """A worker's environment is not enough for bench; the gate's is, so the two never install in turns."""
    checkout, environment = machine(tmp_path, python3="exit 0", df="echo; echo / 1 1 9000 1% /")
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "ran ${1##*/} $2"\n', encoding="utf-8")
    python.chmod(0o755)
    said = [
        subprocess.run(
            [checkout / "tools" / "run", command], env=environment, capture_output=True, text=True, check=True
        ).stdout.splitlines()[:-1]
        for command in ("watch", "bench", "test", "bench", "watch")
    ]
    assert said == [["ran install.py run"], ["ran install.py analysis"], ["ran install.py test"], [], []]
