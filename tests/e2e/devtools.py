"""Drives a page in headless Chromium over its DevTools pipe, without a network: clicks, keys, what it says and asks for.

    with open_page(path, width=1280, height=900) as page:
        page.click("#case-filters select")
        assert page.run("document.title") == "…"
    assert page.complaints == []

No library is needed: Chromium reads JSON, each message ended by a zero byte, from its file 3 and writes to its file 4. No name
is ever resolved (``browser.FLAGS``); a request that would leave this machine is listed in ``leaving``.
"""

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import FLAGS, find_chromium, skip_reason

TIMEOUT_S = 60
OWN = ("file://", "data:", "blob:", "about:")
WITH_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


class PageError(RuntimeError):
    """A script that failed in the page, or a Chromium that does not answer."""


class Page:
    """A page that is open: ``complaints`` are its errors and warnings, ``leaving`` the addresses it asked for elsewhere."""

    def __init__(self, process: subprocess.Popen[bytes], reads: int, writes: int) -> None:
        self.process, self._reads, self._writes = process, reads, writes
        self.complaints: list[str] = []
        self.leaving: list[str] = []
        self.loaded = False
        self._number, self._buffer, self._session = 0, b"", ""

    def start(self, address: str, width: int, height: int, scripts: bool) -> None:
        """Open an address and wait until it is loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.loaded = False
        self.send("Page.navigate", url=address)
        self.wait(lambda: self.loaded, "the page to load")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": self._number, "method": method, "params": params, **session}
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
        raise PageError(f"{method}: no answer within {TIMEOUT_S} s")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._reads, 1 << 20)
            if not piece:
                raise PageError(f"Chromium ended with status {self.process.wait()}")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: Mapping[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(each.get("value", each.get("description"))) for each in told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent" and not told["request"]["url"].startswith(OWN):
            self.leaving.append(told["request"]["url"])

    def run(self, expression: str) -> Any:
        """Return what an expression in the page comes to, a promise's value where it is one."""
        done = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in done:
            details = done["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return done["result"].get("value")

    def wait(self, ready: Any, what: str, seconds: float = TIMEOUT_S) -> None:
        """Wait until a function, or an expression in the page, is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ready() if callable(ready) else self.run(ready):
                return
            self.send("Page.getFrameTree")  # so that what the page has told meanwhile is read
            time.sleep(0.02)
        raise PageError(f"waited {seconds:g} s for {what}")

    def place(self, selector: str) -> tuple[float, float]:
        """Return the middle of an element in the window, after scrolling to it."""
        found = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null; "
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        if found is None:
            raise PageError(f"no element {selector}")
        return found[0], found[1]

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wheel(self, selector: str, down: float) -> None:
        """Turn the wheel over an element."""
        x, y = self.place(selector)
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=down)

    def choose(self, selector: str, value: str) -> None:
        """Give a field a value, as a user does."""
        self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.value = {json.dumps(value)}; "
            "e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def press(self, key: str) -> None:
        """Press a key, such as Tab or Enter."""
        code = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38}.get(key, 0)
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, picture: Path) -> None:
        """Write what the window shows as PNG."""
        picture.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def open_page(
    page: Path, width: int = 1280, height: int = 900, scripts: bool = True, webgl: bool = True, fragment: str = ""
) -> Iterator[Page]:
    """Open a file of this machine in a fresh Chromium, which ends with the block."""
    program = find_chromium()
    if program is None:
        raise RuntimeError(skip_reason())
    flags = [flag for flag in FLAGS if flag != "--disable-gpu" or not webgl]
    flags += WITH_WEBGL if webgl else ("--disable-3d-apis",)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    to_read, to_write = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *flags, *sandbox, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # Chromium expects the pipe's ends as its files 3 and 4.
        moved = f'exec 3<&{to_read[0]} 4>&{to_write[1]}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", moved, "chromium", *command],
            pass_fds=(to_read[0], to_write[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read[0])
        os.close(to_write[1])
        shown = Page(process, to_write[0], to_read[1])
        try:
            shown.start(page.resolve().as_uri() + fragment, width, height, scripts)
            yield shown
        finally:
            process.terminate()
            process.wait(timeout=TIMEOUT_S)
            os.close(to_read[1])
            os.close(to_write[0])
