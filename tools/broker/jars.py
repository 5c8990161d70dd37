"""Apache Kafka's jars: resolved once through Maven at the versions that pom.xml pins, then taken from a cache folder.

Knows nothing of how a broker is configured or started.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.errors import CommandError
from tools.screen import err

POM = Path(__file__).parent / "pom.xml"
MAVEN_TIMEOUT_S = 900.0
"""44 MB from a mirror: seconds; the bound is for a network that hangs."""


def kafka_version(pom: Path = POM) -> str:
    """Version of Apache Kafka that the pom pins."""
    found = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)</version>", pom.read_text(encoding="utf-8"))
    assert found is not None, pom
    return found[1]


def resolve_jars(cache: Path) -> Path:
    """Give the folder with the broker's jars, fetching them if they are not all there.

    Args:
        cache: folder for what can be made again; the jars lie in `kafka-VERSION` under it.

    Raises:
        CommandError: Maven is missing or failed, or the folder cannot be written.
    """
    folder = cache / f"kafka-{kafka_version()}"
    if _is_complete(folder):
        return folder
    with err.status(f"fetching Apache Kafka {kafka_version()} (44 MB, the first time only)"):
        try:
            cache.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".kafka-", dir=cache))
        except OSError as error:
            msg = f"cannot write the cache folder {cache}: {error.strerror}. Set PAWSIGHT_CACHE to a folder that can be written"
            raise CommandError(msg) from error
        try:
            _fetch(staging)
            _publish(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder


def _is_complete(folder: Path) -> bool:
    """Whether the folder was filled from this very pom; the pom is the last thing written into it."""
    kept = folder / POM.name
    return kept.is_file() and kept.read_bytes() == POM.read_bytes()


def _fetch(folder: Path) -> None:
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), "dependency:copy-dependencies"]
    command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MAVEN_TIMEOUT_S)
    except FileNotFoundError as error:
        msg = "Maven's `mvn` was not found on PATH: install it (Debian, Ubuntu: apt install maven)"
        raise CommandError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"Maven did not fetch Apache Kafka within {MAVEN_TIMEOUT_S:.0f} s: check the network and Maven's mirror settings"
        raise CommandError(msg) from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        msg = f"Maven could not fetch Apache Kafka {kafka_version()} (exit status {done.returncode}). Its last lines:\n{tail}"
        raise CommandError(msg)
    shutil.copyfile(POM, folder / POM.name)


def _publish(staging: Path, folder: Path) -> None:
    """Move the filled folder to its name at once; another process may have been faster."""
    if folder.exists() and not _is_complete(folder):
        shutil.rmtree(folder)
    try:
        staging.rename(folder)
    except OSError:
        if not _is_complete(folder):
            raise
