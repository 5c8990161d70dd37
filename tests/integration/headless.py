"""A headless Chromium, spoken to over its debugging pipe: what a page shows, asks of the network and complains about."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LAY = """
import fcntl, os, sys
theirs = [fcntl.fcntl(int(descriptor), fcntl.F_DUPFD, 5) for descriptor in sys.argv[1:3]]  # above 4, so that neither is lost
for descriptor, place in zip(theirs, (3, 4)):
    os.dup2(descriptor, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Lays the pipes where the browser looks for them: it reads commands from descriptor 3 and writes to 4."""
PHONE, DESKTOP = (390, 844), (1280, 900)


def find_browser() -> str | None:
    """The first that is on PATH."""
    return next((path for name in BROWSERS if (path := shutil.which(name)) is not None), None)


@dataclass
class Page:
    """One open page; each command is answered before the next."""

    to_browser: int
    from_browser: int
    session: str = ""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, the page's own file and data URIs among them."""
    complaints: list[str] = field(default_factory=list)
    """Errors and warnings of the console, refusals of the page's policy among them."""
    _left: bytes = b""
    _number: int = 0

    def call(self, method: str, **parameters: Any) -> Any:
        """Give what a command of the DevTools protocol answers; events are noted on the way."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self.to_browser, json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        while (said := self._read()).get("id") != self._number:
            self._note(said)
        assert "error" not in said, said
        return said["result"]

    def open(self, path: Path, size: tuple[int, int], scheme: str) -> None:
        """Show a file in a window of a size, light or dark."""
        is_phone = size == PHONE
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1 + is_phone, mobile=is_phone
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self._note(self._read()) != "Page.loadEventFired":
            pass

    def tell(self, expression: str) -> Any:
        """Give the value of an expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def _read(self) -> Any:
        while b"\0" not in self._left:
            more = os.read(self.from_browser, 1 << 16)
            assert more, "the browser has gone"
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, said: Any) -> str:
        method: str = said.get("method", "")
        if method == "Network.requestWillBeSent":
            self.requests.append(said["params"]["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(said["params"]["entry"]["text"])
        elif method in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.complaints.append(json.dumps(said["params"]))
        return method


@contextmanager
def opened(browser: str, folder: Path) -> Iterator[Page]:
    """Start a browser with a profile in `folder`, and end it."""
    theirs_in, to_browser = os.pipe()
    from_browser, theirs_out = os.pipe()
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--remote-debugging-pipe",
    ]
    descriptors = (str(theirs_in), str(theirs_out))
    command = [sys.executable, "-c", _LAY, *descriptors, browser, *flags, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL) as process:
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            page = Page(to_browser, from_browser)
            target = next(each for each in page.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
            page.session = page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Log", "Runtime"):
                page.call(f"{domain}.enable")
            yield page
        finally:
            process.terminate()
            os.close(to_browser)
            os.close(from_browser)
