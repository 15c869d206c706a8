"""Chromium without a window, driven over its own protocol through two pipes: pages are opened, pressed and looked at.

A key that is pressed here goes the way of a key of a keyboard: what has the focus gets it, and Tab moves the focus. Every
request that a page makes is written down.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WAIT = 180.0  # seconds for one answer, on a busy machine
_KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    " ": (32, " "),
    "Escape": (27, ""),
    "ArrowRight": (39, ""),
    "ArrowLeft": (37, ""),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    "End": (35, ""),
    "Home": (36, ""),
}


def program() -> str | None:
    """The browser that is installed here; None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


@dataclass
class Page:
    """An open page.

    Attributes:
        requests: addresses that it asked for, its own included.
        complaints: what it wrote on its console, and errors of its scripts.
        downloads: folder that files are saved in.
    """

    browser: "Browser"
    session: str
    downloads: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its answer."""
        return self.browser.call(method, self.session, **parameters)

    def value(self, script: str) -> Any:
        """What an expression of JavaScript comes to; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", answer["exceptionDetails"]).get("description"))
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """One key down and up again."""
        code, text = _KEYS[key]
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot as PNG, of the whole page or of what the window shows."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def saved(self, name: str, seconds: float = 20.0) -> Path:
        """A file that the page has saved, once it is there whole.

        Raises:
            TimeoutError: it does not come.
        """
        path, end = self.downloads / name, time.monotonic() + seconds
        while time.monotonic() < end:
            if path.is_file() and not list(self.downloads.glob("*.crdownload")):
                return path
            self.value("new Promise((done) => setTimeout(done, 50))")
        raise TimeoutError(f"{name} was not saved; there are {sorted(one.name for one in self.downloads.iterdir())}")


class Browser:
    """A running Chromium; see `launched`."""

    def __init__(self, process: "subprocess.Popen[bytes]", write: int, read: int, folder: Path) -> None:
        self._process, self._write, self._read, self._folder = process, write, read, folder
        self._number, self._rest, self._pages = 0, b"", dict[str, Page]()

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """One command of the protocol, and its answer.

        Raises:
            RuntimeError: the browser refuses it, or has ended.
        """
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], _WAIT)
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser does not answer" if not ready else "the browser has ended")
            self._rest += part
        first, self._rest = self._rest.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        page, said = self._pages.get(event.get("sessionId", "")), event.get("params", {})
        if page is None:
            return
        match event["method"]:
            case "Network.requestWillBeSent":
                page.requests.append(said["request"]["url"])
            case "Log.entryAdded":
                page.complaints.append(said["entry"]["text"])
            case "Runtime.exceptionThrown":
                page.complaints.append(said["exceptionDetails"].get("exception", {}).get("description", "an error"))
            case "Runtime.consoleAPICalled":
                page.complaints.append(" ".join(str(one.get("value")) for one in said["args"]))

    @contextlib.contextmanager
    def opened(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
        """A file in a window of its own; up to 600 pixels wide it is a phone's."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        downloads = Path(tempfile.mkdtemp(prefix="saved-", dir=self._folder))
        self.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=context, downloadPath=str(downloads))
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, downloads)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            phone = width <= 600
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=2 if phone else 1,
                mobile=phone,
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.call("Emulation.setEmulatedMedia", features=[scheme])
            page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            page.call("Page.navigate", url=path.resolve().as_uri())
            page.value("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
            yield page
        finally:
            self.call("Target.closeTarget", targetId=target)
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def end(self) -> None:
        """Close it, whatever state it is in."""
        with contextlib.suppress(OSError, RuntimeError):
            self.call("Browser.close")
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    """A browser with a profile of its own, which is gone afterwards.

    Raises:
        FileNotFoundError: none is installed.
    """
    found = program()
    if found is None:
        raise FileNotFoundError(f"no Chromium is installed (looked for {', '.join(PROGRAMS)})")
    commands, answers = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        # The protocol's pipes are the descriptors 3 and 4. Root may not have a sandbox; what is opened here is made here.
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            "--hide-scrollbars",
            "--no-first-run",
        ]
        options += ["--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={folder}/profile"]
        line = 'exec "$0" "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'
        pipes = {"COMMANDS": str(commands[0]), "ANSWERS": str(answers[1])}
        process = subprocess.Popen(
            ["bash", "-c", line, found, *options],
            env=os.environ | pipes,
            pass_fds=(commands[0], answers[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands[0])
        os.close(answers[1])
        browser = Browser(process, commands[1], answers[0], Path(folder))
        try:
            yield browser
        finally:
            browser.end()
