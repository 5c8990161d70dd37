"""The command line: precedence of settings, exit statuses, and sentences instead of tracebacks."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NOBODY = "127.0.0.1:{port}"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command as a person would start it."""
    return subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        cwd=ROOT,
        env=os.environ | environment,  # noqa: TID251  (a child's environment, not ours)
        capture_output=True,
        text=True,
        check=False,
    )


def reached(done: subprocess.CompletedProcess[str]) -> str:
    """Which of the addresses where nobody listens the command tried, by the sentence that it ends with."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    return next(port for port in ("1", "2", "3", "9092") if NOBODY.format(port=port) in done.stderr)


def test_command_line_wins_over_environment_over_file(tmp_path: Path) -> None:
    """The broker that is not there is named, and it is the one of the strongest setting."""
    settings = tmp_path / "settings.toml"
    settings.write_text('bootstrap_servers = "127.0.0.1:1"\n', encoding="utf-8")
    file = ("--settings", str(settings), "topics", "--check")
    assert reached(run(*file)) == "1"
    assert reached(run(*file, PAWSIGHT_BOOTSTRAP_SERVERS="127.0.0.1:2")) == "2"
    assert reached(run(*file, "--bootstrap-servers", "127.0.0.1:3", PAWSIGHT_BOOTSTRAP_SERVERS="127.0.0.1:2")) == "3"


def test_a_settings_table_wins_over_its_top_level(tmp_path: Path) -> None:
    """[topics] is stronger than what holds for every command."""
    settings = tmp_path / "settings.toml"
    settings.write_text('bootstrap_servers = "127.0.0.1:1"\n[topics]\nbootstrap_servers = "127.0.0.1:2"\n', encoding="utf-8")
    assert reached(run("topics", "--check", PAWSIGHT_SETTINGS=str(settings))) == "2"


def test_a_typo_in_the_settings_ends_every_command(tmp_path: Path) -> None:
    """Nothing runs on settings that were misread."""
    settings = tmp_path / "settings.toml"
    settings.write_text('bootstrap_server = "127.0.0.1:1"\n', encoding="utf-8")
    done = run("--settings", str(settings), "topics")
    assert done.returncode == 2
    assert "bootstrap_server" in done.stderr


def test_a_missing_checkpoint_and_a_missing_video_are_named(tmp_path: Path) -> None:
    """One sentence with the path, exit status 2."""
    video = tmp_path / "none.mp4"
    done = run("watch", str(video))
    assert (done.returncode, str(video) in done.stderr.replace("\n", "")) == (2, True), done
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    done = run("ask", str(picture), "--model", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nothing" in done.stderr


def test_an_unknown_option_is_wrong_use() -> None:
    """Exit status 2 and the usage."""
    done = run("watch", "--modle", "x")
    assert done.returncode == 2
    assert "--modle" in done.stderr


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    """An interrupted command says so in a word and ends with 130."""
    command = [sys.executable, "-m", "tools", "scenes", "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        while not list(tmp_path.glob("*.mp4")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
